"""The data doctor of an experiment: from its settings to all that is wrong with its data. Nothing is encoded."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from mdmf.data.features.decode_pool import BadVideo, Decoded, DecodePool, DecodeTask, Submitted
from mdmf.data.listing.index import VideoIndex
from mdmf.doctor.counts import Counts, count_findings, count_videos, missing_findings, ssv2_findings
from mdmf.doctor.files import (
    FileFacts,
    duplicate_findings,
    file_findings,
    group_findings,
    look_at_files,
    name_findings,
    short_finding,
    unreadable_finding,
)
from mdmf.doctor.findings import (
    AskedEpisodes,
    DataReport,
    Finding,
    episode_findings,
    example_of,
    most_serious_first,
    split_rows,
)
from mdmf.doctor.listing import (
    GLOBAL_NAMES,
    Listing,
    class_findings,
    listed_counts,
    read_class_split,
    read_csv,
    read_folders,
    read_lists,
    records_of,
    repeated_videos,
)
from mdmf.doctor.probe import probe_video
from mdmf.doctor.published_counts import published_counts, published_name
from mdmf.engine.workspace import Workspace, as_it_lies
from mdmf.resources import shipped_names
from mdmf.settings import DataSettings, Settings
from mdmf.structures import VideoRecord

_MAX_WORKERS = 8
_VIDEOS_PER_BATCH = 32
_BATCHES_AHEAD = 4


def check_data(settings: Settings, *, decode: bool = False, progress: bool = True) -> DataReport:
    """Look for everything in the data of an experiment that would change its result.

    A part that fails is itself a finding, and the others go on: where no index can be built, the listed files that are
    on disk are looked at all the same.

    Args:
        settings: of the experiment.
        decode: also read the first, middle and last frame of each video.
        progress: show bars.

    Raises:
        ValueError: if `data.root` is not set.
        FileNotFoundError: if the folder of the videos does not exist.
    """
    started = time.perf_counter()
    examination = _Examination(settings, decode=decode, progress=progress)
    examination.run()
    published = examination.published
    rows = split_rows(
        examination.records,
        examination.classes,
        unreadable=examination.unusable - examination.short,
        short=examination.short if decode else None,
        published=published_counts(published) if published else None,
    )
    return DataReport(
        name=settings.data.name,
        rows=rows,
        findings=most_serious_first(examination.findings),
        is_decoded=decode,
        seconds=time.perf_counter() - started,
    )


def asked_episodes(settings: Settings) -> list[AskedEpisodes]:
    """The episodes that training and testing with these settings draw."""
    episode, evaluation = settings.episode, settings.evaluation
    n_way, n_shot = evaluation.n_way or episode.n_way, evaluation.n_shot or episode.n_shot
    asked = []
    if settings.model.is_trained:
        asked.append(AskedEpisodes("training", "train", episode.n_way, episode.n_shot, episode.n_query))
        asked.append(AskedEpisodes("the choice on val", "val", episode.n_way, episode.n_shot, evaluation.n_query))
    if evaluation.after_training or not settings.model.is_trained:
        if settings.model.text_weight == "val":
            asked.append(AskedEpisodes("the choice of the text's weight", "val", n_way, n_shot, evaluation.n_query))
        asked.append(AskedEpisodes("the test", evaluation.split, n_way, n_shot, evaluation.n_query))
    return asked


class _Examination:
    """The parts of an examination, and what is known of the data so far.

    Attributes:
        published: the published data set that this one says it is, if any.
        listing: what the class folders, the CSV or the lists say, line by line.
        named_classes: split -> classes of the class split's file, unchecked; empty where the listing names them.
        index: None where none can be built.
        classes: split -> its classes: of the index, else as far as they are known.
        records: of the index, else the listed videos that are on disk.
        unusable: ids of videos that no episode can hold.
        short: ids of videos with fewer than T frames.
    """

    def __init__(self, settings: Settings, *, decode: bool, progress: bool) -> None:
        self.root = _root(settings.data)
        settings = as_it_lies(settings)  # a doctor changes nothing
        self.settings, self.decode, self.progress = settings, decode, progress
        self.workspace = Workspace(settings, progress=progress)
        self.published = published_name(settings.data.name, settings.data.class_split)
        self.findings: list[Finding] = []
        self.unusable: set[str] = set()
        self.short: set[str] = set()
        self.index = self._build_index()
        self.named_classes = _named_classes(settings.data)
        self.listing = self._read_listing()
        if self.index is not None:
            self.records: Sequence[VideoRecord] = self.index.records
            self.classes = self.index.classes
        else:
            self.records = records_of(self.listing.entries, self.root, self.named_classes)
            self.classes = _classes_of(self.records)

    def run(self) -> None:
        """Every part in turn."""
        self._part("the listing", self._listed)
        self._part("the counts", self._counts)
        self._part("the files", self._files)
        self._part("overlaps", self._overlaps)
        if self.decode:
            self._part("decoding", self._probes)
        if self.index is not None:
            self._part("the episodes", self._episodes)
            self._part("the prompts", self._prompts)

    def _part(self, what: str, examine: Callable[[], Sequence[Finding]]) -> None:
        """One part; what stops it is a finding, and the next one goes on."""
        try:
            self.findings += examine()
        except (ValueError, OSError) as error:
            self.findings.append(Finding("error", "not-checked", f"{what} could not be checked: {_one_line(error)}"))

    def _build_index(self) -> VideoIndex | None:
        try:
            return self.workspace.index
        except (ValueError, OSError) as error:
            message = f"the videos cannot be indexed, so no command runs on this data: {_one_line(error)}"
            self.findings.append(Finding("error", "index", message))
            return None

    def _read_listing(self) -> Listing:
        data = self.settings.data
        try:
            if data.kind == "csv" and data.csv is not None:
                return read_csv(data.csv.expanduser())
            if data.kind == "lists" and data.lists is not None:
                return read_lists({str(split): path for split, path in data.lists.items()}, self.named_classes)
            return read_folders(self.root)
        except (ValueError, OSError) as error:
            return Listing([], [Finding("error", "not-checked", f"the listing cannot be read: {_one_line(error)}")])

    def _listed(self) -> list[Finding]:
        merges = self.index is not None
        named = [(split, name) for split, names in self.named_classes.items() for name in names]
        entries = self.listing.entries
        return [
            *self.listing.findings,
            *class_findings(named, merges=merges),
            *class_findings(((entry.split, entry.class_name) for entry in entries), merges=merges),
            *repeated_videos(entries, names_are_global=self.published in GLOBAL_NAMES),
        ]

    def _counts(self) -> list[Finding]:
        index = self.index
        counts: Counts = count_videos(self.records, self.classes)
        findings = [] if index is None else missing_findings(index.missing, index.unused_classes, index.n_ignored_files)
        if self.published is None:
            return findings
        listed = listed_counts(self.listing.entries, self.named_classes)
        trap = ssv2_findings(listed if any(listed.values()) else counts, self.published)
        return [*trap, *findings, *count_findings(counts, self.published)]

    def _files(self) -> list[Finding]:
        facts = look_at_files(self.records, progress=self.progress)
        findings = file_findings(self.records, facts)
        self.unusable |= {each.video for finding in findings for each in finding.examples}
        findings += duplicate_findings(self.records, facts, progress=self.progress)
        return findings if self.decode else findings + self._short_folders(facts)

    def _short_folders(self, facts: Sequence[FileFacts]) -> list[Finding]:
        """Frames of a folder are counted from outside, those of a file are not."""
        pairs = zip(self.records, facts, strict=True)
        return self._short([(record, fact.n_frames) for record, fact in pairs if fact.n_frames])

    def _short(self, counted: Sequence[tuple[VideoRecord, int]]) -> list[Finding]:
        frames = self.settings.frames
        findings = short_finding(counted, n_frames=frames.n_frames, policy=frames.short_videos)
        self.short |= {each.video for finding in findings for each in finding.examples}
        if frames.short_videos == "refuse":
            self.unusable |= self.short
        return findings

    def _overlaps(self) -> list[Finding]:
        by_name = name_findings(self.records) if self.published in GLOBAL_NAMES else []
        within_class = self.published == "ucf101" and self.settings.data.group_pattern is None  # g01 of each class
        return by_name + group_findings(
            self.records, within_class=within_class, is_published=self.published is not None
        )

    def _probes(self) -> list[Finding]:
        records = [record for record in self.records if record.video_id not in self.unusable]
        data = self.settings.data
        bad, counted = [], []
        n_workers = _n_cores() if data.n_workers is None else data.n_workers
        with DecodePool(probe_video, n_workers=min(n_workers, _MAX_WORKERS)) as pool:
            tasks = [DecodeTask(record.path, record.video_id, {"decoder": data.decoder}) for record in records]
            with tqdm(total=len(tasks), desc="decoding", unit=" videos", disable=not self.progress) as bar:
                for record, decoded in zip(records, _decoded(pool, tasks), strict=True):
                    bar.update()
                    if isinstance(decoded, BadVideo):
                        bad.append(example_of(record, decoded.reason))
                    else:
                        counted.append((record, decoded.n_frames))
        self.unusable |= {each.video for each in bad}
        return [*([unreadable_finding(bad)] if bad else []), *self._short(counted)]

    def _episodes(self) -> list[Finding]:
        return episode_findings(
            self.records,
            self.classes,
            asked_episodes(self.settings),
            unusable=self.unusable,
            group_disjoint=self.settings.episode.group_disjoint,
        )

    def _prompts(self) -> list[Finding]:
        if self.workspace.needs_text:
            try:
                self.workspace.sentences  # noqa: B018, made when first asked for
            except (ValueError, OSError) as error:
                return [Finding("error", "prompts", _one_line(error))]
        return []


def _root(data: DataSettings) -> Path:
    if data.root is None:
        raise ValueError("data.root is not set; give the folder of the videos, as in data.root=/my/videos")
    root = Path(os.path.abspath(data.root.expanduser()))  # noqa: PTH100, as in the index: links are not followed
    if data.kind == "shapes" and not root.is_dir():
        raise FileNotFoundError(f"the embedded world is not in {root} yet; mdmf extract, train or test draw it")
    if not root.is_dir():
        raise FileNotFoundError(f"the folder of videos {root} does not exist; check the setting data.root")
    return root


def _named_classes(data: DataSettings) -> dict[str, list[str]]:
    """Split -> classes as their file has them; nothing where folders are dealt by chance or a listing says it all."""
    by_name = data.name if data.kind == "folder" and data.name in shipped_names("splits") else None
    name = data.class_split or by_name
    return {} if name in (None, "random") else read_class_split(str(name))


def _classes_of(records: Sequence[VideoRecord]) -> dict[str, tuple[str, ...]]:
    """Split -> classes that have videos."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        found.setdefault(record.split, {})[record.class_name] = None
    return {split: tuple(names) for split, names in found.items()}


def _decoded(pool: DecodePool, tasks: Sequence[DecodeTask]) -> Iterator[Decoded]:
    """What became of each video, in order; some batches are decoded ahead."""
    ahead: deque[Submitted] = deque()
    for start in range(0, len(tasks), _VIDEOS_PER_BATCH):
        ahead.append(pool.submit(tasks[start : start + _VIDEOS_PER_BATCH]))
        if len(ahead) > _BATCHES_AHEAD:
            yield from pool.collect(ahead.popleft())
    while ahead:
        yield from pool.collect(ahead.popleft())


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
