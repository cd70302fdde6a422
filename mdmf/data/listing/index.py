"""Which videos there are, of which class, in which split.

Only folders are listed: no video is opened and no file is asked for its size, so 100,000 videos take about a second.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mdmf.class_names import class_key, some_of
from mdmf.data.listing.formats import Listing, ListingSettings
from mdmf.data.listing.reading import read_listing
from mdmf.data.listing.splits import ClassSplit
from mdmf.data.video.opening import VIDEO_SUFFIXES
from mdmf.structures import VideoRecord

GROUP_PATTERNS = {
    "hmdb51": r"^(.+)_{class}_[fhlu]_[cn]m_np\d",  # the film that a clip was cut from
    "ucf101": r"_(g\d+)_c\d+",
}
"""Data set name -> the `group_pattern` used where none is set. `{class}` stands for the name of the video's class."""


@dataclass(frozen=True)
class Missing:
    """What a class split or a list of videos expects and the disk lacks.

    Attributes:
        classes: split -> classes without a single video; they are kept out of the index.
        videos: split -> listed videos that were not found, as they are listed.
    """

    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    videos: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoIndex:
    """The videos of a data set.

    Attributes:
        name: of the data set.
        records: in order of split (train, val, test), class (as in `classes`) and video id.
        classes: split -> names of the classes that have videos, in order; an unused split is empty.
        missing: what is expected and not on disk.
        unused_classes: found on disk or in the CSV, but in no split.
        n_ignored_files: files and folders that are neither a video nor a folder of frames.
        other_classes: of the class split, and of the shipped split of this name, though no list or CSV has them.
    """

    name: str
    records: tuple[VideoRecord, ...]
    classes: ClassSplit
    missing: Missing = field(default_factory=Missing)
    unused_classes: tuple[str, ...] = ()
    n_ignored_files: int = 0
    other_classes: tuple[str, ...] = ()

    @property
    def known_classes(self) -> tuple[str, ...]:
        """Every class name of the data set, also those without videos here or in no split: what prompts may name."""
        groups = (*self.classes.values(), *self.missing.classes.values(), self.unused_classes, self.other_classes)
        return tuple(dict.fromkeys(name for group in groups for name in group))

    def summary(self) -> str:
        """Counts per split, then one line for each thing that is missing, unused or ignored."""
        lines = [f"{self.name}: {len(self.records):,} videos of {sum(map(len, self.classes.values()))} classes"]
        counts = Counter((record.split, record.class_name) for record in self.records)
        for split, names in self.classes.items():
            if names:
                sizes = [counts[split, name] for name in names]
                lines.append(
                    f"  {split}: {len(names)} classes, {sum(sizes):,} videos ({min(sizes)} to {max(sizes)} a class)"
                )
        for split, names in self.missing.classes.items():
            lines.append(f"  missing: {len(names)} classes of {split} have no video on disk: {some_of(names)}")
        for split, names in self.missing.videos.items():
            lines.append(f"  missing: {len(names):,} listed videos of {split} are not on disk: {some_of(names, 3)}")
        if self.unused_classes:
            lines.append(f"  not used: {len(self.unused_classes)} classes in no split: {some_of(self.unused_classes)}")
        if self.n_ignored_files:
            lines.append(f"  ignored: {self.n_ignored_files:,} files or folders that are no videos")
        n_grouped = sum(record.group is not None for record in self.records)
        if 0 < n_grouped < len(self.records):
            lines.append(f"  no group: {len(self.records) - n_grouped:,} videos, whose names do not tell it")
        return "\n".join(lines)


def build_index(settings: ListingSettings) -> VideoIndex:
    """The index of the videos that the settings list.

    Raises:
        FileNotFoundError: if the root, or a file of the listing, does not exist.
        ValueError: for the first fault of the listing or the class split, or a split without any video.
    """
    return index_of(read_listing(settings), settings)


def index_of(listing: Listing, settings: ListingSettings) -> VideoIndex:
    """The index of what was listed: sorted, without the classes that have no video.

    Raises:
        ValueError: for the first fault of the listing, a split without any video, or a useless group pattern.
    """
    for fault in listing.faults:
        if fault.is_error:
            raise fault
    group_of = _group_finder(settings)
    records: list[VideoRecord] = []
    missing: dict[str, list[str]] = {split: [] for split in listing.classes}
    unused: set[str] = set()
    for entry in listing.resolved():
        if entry.split is None:
            unused.add(entry.class_name)
        elif entry.path is None:
            missing[entry.split].append(entry.video_id)
        else:
            group = entry.group or group_of(entry.class_name, entry.video_id.rpartition("/")[2])
            records.append(VideoRecord(entry.video_id, entry.path, entry.class_name, entry.split, group))
    names = [name for of_split in listing.classes.values() for name in of_split]
    place = {class_key(name): number for number, name in enumerate(names)}
    filled = {record.class_name for record in records}
    index = VideoIndex(
        name=settings.name,
        records=tuple(sorted(records, key=lambda record: (place[class_key(record.class_name)], record.video_id))),
        classes={split: tuple(filter(filled.__contains__, names)) for split, names in listing.classes.items()},
        missing=Missing(
            classes=_filled({split: [n for n in names if n not in filled] for split, names in listing.classes.items()}),
            videos=_filled(missing),
        ),
        unused_classes=tuple(sorted(unused.union(n for n in listing.empty_classes if class_key(n) not in place))),
        n_ignored_files=listing.n_ignored_files,
        other_classes=listing.other_classes,
    )
    _check(index, settings)
    return index


def _filled(names: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The splits that have a name."""
    return {split: tuple(of_split) for split, of_split in names.items() if of_split}


def _check(index: VideoIndex, settings: ListingSettings) -> None:
    """Refuse a split without any video, and a group pattern that matches none."""
    for split, names in index.missing.classes.items():
        if not index.classes[split]:
            raise ValueError(_empty_split_message(index, settings, split, names))
    if settings.group_pattern and all(record.group is None for record in index.records):
        pattern, example = settings.group_pattern, index.records[0].video_id.rpartition("/")[2]
        raise ValueError(f"data.group_pattern {pattern!r} matches no file name; a name here is {example!r}")


def _empty_split_message(index: VideoIndex, settings: ListingSettings, split: str, names: Sequence[str]) -> str:
    place = f"split {split!r} of data set {index.name!r} has no video below {settings.root}"
    message = f"{place}; expected classes {some_of(names)}"
    if index.missing.videos.get(split):
        message += f"; not found is for example {index.missing.videos[split][0]!r}"
    if index.unused_classes:
        message += f"; there are the classes {some_of(index.unused_classes)}, which no split names"
    if index.n_ignored_files:
        message += f"; {index.n_ignored_files:,} files there are not videos ({', '.join(sorted(VIDEO_SUFFIXES))})"
    return message + ". Check data.root and data.class_split, or leave this split out of the class split"


def _group_finder(settings: ListingSettings) -> Callable[[str, str], str | None]:
    """(class name, file name) -> what the group pattern finds; None where it does not match, or there is none."""
    names = (class_key(settings.name), str(settings.class_split))
    built_in = next((GROUP_PATTERNS[name] for name in names if name in GROUP_PATTERNS), None)
    pattern = settings.group_pattern or built_in
    if pattern is None:
        return lambda class_name, file_name: None

    @functools.cache
    def compiled(class_name: str) -> re.Pattern[str]:
        words = "[ _]".join(re.escape(word) for word in re.split("[ _]+", class_name))
        return re.compile(pattern.replace("{class}", words))

    def group_of(class_name: str, file_name: str) -> str | None:
        match = compiled(class_name).search(file_name)
        return match[1] if match else None

    return group_of
