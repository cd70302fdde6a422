"""The data that the checks of the data doctor share: each part is computed once, when a check first needs it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property

from tqdm import tqdm

from mdmf.data.features.decode_pool import BadVideo, Decoded, DecodePool, DecodeTask, Submitted
from mdmf.data.listing.formats import ListingFormat
from mdmf.data.listing.index import VideoIndex, index_of
from mdmf.data.listing.reading import read_listing
from mdmf.data.listing.splits import ClassSplit
from mdmf.doctor.counts import published_name
from mdmf.doctor.files import FileFacts, look_at_files
from mdmf.doctor.probe import probe_video
from mdmf.engine.recipes import listing_settings
from mdmf.registry import LISTING_FORMATS
from mdmf.settings import Settings
from mdmf.structures import SPLITS, VideoRecord

NO_SPLIT = "?"
"""The split of a video whose class no split names."""

_MAX_WORKERS = 8
_VIDEOS_PER_BATCH = 32
_BATCHES_AHEAD = 4


class Subject:
    """The data of an experiment.

    If no index can be built, the videos are those that are listed and on disk.

    Args:
        settings: of the experiment.
        decode: decode three frames of each video.
        progress: show bars.

    Attributes:
        are_videos: whether the listing format lists videos.
        decode: whether videos are decoded.
        listing: the listed videos, and every fault.
        index: None if none can be built.
        index_error: the reason, on one line.
        published: name of the published data set that this is, by its name or class split.

    Raises:
        ValueError: if `data.root` is not set.
        FileNotFoundError: if the folder of the videos does not exist.
    """

    def __init__(self, settings: Settings, *, decode: bool, progress: bool) -> None:
        listing_format: ListingFormat = LISTING_FORMATS[settings.data.kind]
        self.settings, self.progress = settings, progress
        self.are_videos = listing_format.are_videos
        self.decode = decode and self.are_videos
        self.published = published_name(settings.data.name, settings.data.class_split)
        of_listing = listing_settings(settings)
        if settings.data.kind == "shapes" and not of_listing.root.is_dir():
            message = f"the embedded world is not in {of_listing.root} yet; mdmf extract, train or test draw it"
            raise FileNotFoundError(message)
        self.listing = read_listing(of_listing)
        self.index: VideoIndex | None = None
        self.index_error = ""
        try:
            self.index = index_of(self.listing, of_listing)
        except ValueError as error:
            self.index_error = one_line(error)

    @cached_property
    def records(self) -> Sequence[VideoRecord]:
        """The videos."""
        if self.index is not None:
            return self.index.records
        return [
            VideoRecord(entry.video_id, entry.path, entry.class_name, entry.split or NO_SPLIT, entry.group)
            for entry in self.listing.resolved()
            if entry.path is not None
        ]

    @cached_property
    def classes(self) -> ClassSplit:
        """Split -> classes that have videos."""
        if self.index is not None:
            return self.index.classes
        names: dict[str, dict[str, None]] = {split: {} for split in (*SPLITS, NO_SPLIT)}
        for record in self.records:
            names[record.split][record.class_name] = None
        return {split: tuple(of_split) for split, of_split in names.items()}

    @cached_property
    def facts(self) -> Sequence[FileFacts]:
        """Size and problem of each video's file, which is not opened, in the order of the records."""
        return look_at_files(self.records, progress=self.progress)

    @cached_property
    def openable(self) -> Sequence[tuple[VideoRecord, FileFacts]]:
        """The videos whose files exist, may be read and are not empty."""
        pairs = zip(self.records, self.facts, strict=True)
        return [(record, fact) for record, fact in pairs if not fact.problem and not fact.n_empty]

    @cached_property
    def probes(self) -> Sequence[tuple[VideoRecord, int | str]]:
        """Openable videos, each with its number of frames or the reason why it cannot be decoded.

        If videos are not opened: folders of frames only.
        """
        if not self.decode:
            return [(record, fact.n_frames) for record, fact in self.openable if fact.n_frames]
        data, records = self.settings.data, [record for record, _ in self.openable]
        n_workers = _n_cores() if data.n_workers is None else data.n_workers
        tasks = [DecodeTask(record.path, record.video_id, {}, self.settings.view_rule) for record in records]
        with DecodePool(probe_video, n_workers=min(n_workers, _MAX_WORKERS)) as pool:
            bar = tqdm(_in_batches(pool, tasks), "decoding", len(tasks), unit=" videos", disable=not self.progress)
            answers = [decoded.reason if isinstance(decoded, BadVideo) else decoded.n_frames for decoded in bar]
        return list(zip(records, answers, strict=True))

    @cached_property
    def short(self) -> set[str]:
        """Ids of videos that are known to have fewer than T frames."""
        n_frames = self.settings.frames.n_frames
        return {record.video_id for record, probe in self.probes if isinstance(probe, int) and probe < n_frames}

    @cached_property
    def unreadable(self) -> set[str]:
        """Ids of videos that cannot be read."""
        readable = {record.video_id for record, _ in self.openable}
        undecodable = {record.video_id for record, probe in self.probes if isinstance(probe, str)}
        return {record.video_id for record in self.records} - (readable - undecodable)

    @property
    def unusable(self) -> set[str]:
        """Ids of videos that no episode can hold."""
        return self.unreadable | (self.short if self.settings.frames.short_videos == "refuse" else set())


def one_line(error: Exception) -> str:
    """The message of an error without line breaks."""
    return " ".join(str(error).split())


def _in_batches(pool: DecodePool, tasks: Sequence[DecodeTask]) -> Iterator[Decoded]:
    """The results in the order of the tasks; some batches are decoded ahead."""
    ahead: deque[Submitted] = deque()
    for start in range(0, len(tasks), _VIDEOS_PER_BATCH):
        ahead.append(pool.submit(tasks[start : start + _VIDEOS_PER_BATCH]))
        if len(ahead) > _BATCHES_AHEAD:
            yield from pool.collect(ahead.popleft())
    while ahead:
        yield from pool.collect(ahead.popleft())


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
