"""The data doctor of an experiment: from its settings to all that is wrong with its data. Nothing is encoded.

A check is a function that yields findings about a `Subject`; `CHECKS` lists them in the order of the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from mdmf.data.listing.splits import published_counts
from mdmf.doctor.counts import count_findings, count_videos, missing_findings, ssv2_findings
from mdmf.doctor.files import duplicate_findings, file_findings, group_findings, short_finding, unreadable_finding
from mdmf.doctor.findings import (
    DataReport,
    Finding,
    RequestedEpisodes,
    episode_findings,
    example_of,
    most_serious_first,
    split_rows,
)
from mdmf.doctor.listing import listing_findings
from mdmf.doctor.subject import Subject, one_line
from mdmf.engine.recipes import sentences_of
from mdmf.settings import Settings

GLOBAL_NAMES = ("kinetics100", "ssv2_small", "ssv2_full")
"""Data sets in which a file name is one video, whatever folder it lies in."""


def check_data(settings: Settings, *, decode: bool = False, progress: bool = True) -> DataReport:
    """Look for everything in the data of an experiment that would change its result.

    A check that fails is a finding, and the next ones are run. If no index can be built, the listed files that are on
    disk are checked.

    Args:
        settings: of the experiment.
        decode: also read the first, middle and last frame of each video.
        progress: show bars.

    Raises:
        ValueError: if `data.root` is not set.
        FileNotFoundError: if the folder of the videos does not exist.
    """
    started = time.perf_counter()
    subject = Subject(settings, decode=decode, progress=progress)
    findings = [finding for what, check in CHECKS for finding in _findings(what, check, subject)]
    rows = split_rows(
        subject.records,
        subject.classes,
        unreadable=subject.unreadable,
        short=subject.short if subject.decode else None,
        published=published_counts(subject.published) if subject.published else None,
    )
    return DataReport(
        name=settings.data.name,
        rows=rows,
        findings=most_serious_first(findings),
        is_decoded=subject.decode,
        seconds=time.perf_counter() - started,
    )


def requested_episodes(settings: Settings) -> list[RequestedEpisodes]:
    """The episodes that training and testing with these settings draw."""
    episode, evaluation = settings.episode, settings.evaluation
    n_way, n_shot = evaluation.n_way or episode.n_way, evaluation.n_shot or episode.n_shot
    requests = []
    if settings.model.is_trained:
        requests.append(RequestedEpisodes("training", "train", episode.n_way, episode.n_shot, episode.n_query))
        requests.append(
            RequestedEpisodes("the choice on val", "val", episode.n_way, episode.n_shot, evaluation.n_query)
        )
    if evaluation.after_training or not settings.model.is_trained:
        if settings.model.text_weight == "val":
            requests.append(
                RequestedEpisodes("the choice of the text's weight", "val", n_way, n_shot, evaluation.n_query)
            )
        requests.append(RequestedEpisodes("the test", evaluation.split, n_way, n_shot, evaluation.n_query))
    return requests


def check_listing(subject: Subject) -> Iterator[Finding]:
    """Whether an index can be built, every fault of the listing, and videos that are listed under two names."""
    if subject.index is None:
        message = f"the videos cannot be indexed, so no command runs on this data: {subject.index_error}"
        yield Finding("error", "index", message)
    yield from listing_findings(subject.listing, names_are_global=subject.published in GLOBAL_NAMES)


def check_counts(subject: Subject) -> Iterator[Finding]:
    """What is missing or not used, and the counts beside the published ones."""
    index, listing = subject.index, subject.listing
    if subject.published is not None:
        yield from ssv2_findings(count_videos(listing.resolved(), listing.classes), subject.published)
    if index is not None:
        yield from missing_findings(index.missing, index.unused_classes, index.n_ignored_files)
    if subject.published is not None:
        yield from count_findings(count_videos(subject.records, subject.classes), subject.published)


def check_files(subject: Subject) -> Iterator[Finding]:
    """Files that cannot be read, are empty, or have the content of another one."""
    yield from file_findings(subject.records, subject.facts)
    if subject.are_videos:
        yield from duplicate_findings(subject.records, subject.facts, progress=subject.progress)


def check_groups(subject: Subject) -> Iterator[Finding]:
    """Source recordings that have videos in two splits."""
    within_class = subject.published == "ucf101" and subject.settings.data.group_pattern is None  # g01 of each class
    is_published = subject.published is not None
    yield from group_findings(subject.records, within_class=within_class, is_published=is_published)


def check_frames(subject: Subject) -> Iterator[Finding]:
    """Videos that cannot be decoded, and videos with fewer than T frames."""
    frames = subject.settings.frames
    yield from unreadable_finding([example_of(record, why) for record, why in subject.probes if isinstance(why, str)])
    counted = [(record, n_frames) for record, n_frames in subject.probes if isinstance(n_frames, int)]
    yield from short_finding(counted, n_frames=frames.n_frames, policy=frames.short_videos)


def check_episodes(subject: Subject) -> Iterator[Finding]:
    """Whether the episodes of the experiment can be drawn."""
    if subject.index is not None:
        yield from episode_findings(
            subject.records,
            subject.classes,
            requested_episodes(subject.settings),
            unusable=subject.unusable,
            group_disjoint=subject.settings.episode.group_disjoint,
        )


def check_prompts(subject: Subject) -> Iterator[Finding]:
    """Whether every class has its sentences; a method of the user's own is not imported for it."""
    model, baselines = subject.settings.model, subject.settings.evaluation.baselines
    reads_text = model.text_weight != 0 or any(method.reads_text for method in (model, *baselines))
    if subject.index is not None and reads_text and subject.settings.data.class_text is None:
        try:
            sentences_of(subject.settings, subject.index)
        except (ValueError, OSError) as error:
            yield Finding("error", "prompts", one_line(error))


Check = Callable[[Subject], Iterator[Finding]]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("the listing", check_listing),
    ("the counts", check_counts),
    ("the files", check_files),
    ("overlaps", check_groups),
    ("the frames", check_frames),
    ("the episodes", check_episodes),
    ("the prompts", check_prompts),
)
"""The name of each check, for the finding that it failed, and its function."""


def _findings(what: str, check: Check, subject: Subject) -> Iterator[Finding]:
    """The findings of a check; an error that stops it is a finding too."""
    try:
        yield from check(subject)
    except (ValueError, OSError) as error:
        yield Finding("error", "not-checked", f"{what} could not be checked: {one_line(error)}")
