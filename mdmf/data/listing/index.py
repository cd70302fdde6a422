"""Which videos there are, of which class, in which split: from a folder per class, a CSV, or published lists.

Only folders are listed: no video is opened and no file is asked for its size, so 100,000 videos take about a second.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mdmf.class_names import class_key
from mdmf.data.listing.csv_file import find_in_csv
from mdmf.data.listing.folder import find_in_folders
from mdmf.data.listing.formats import Found, ListedVideo, SplitChooser, required_file, some_of
from mdmf.data.listing.lists import find_in_lists
from mdmf.data.listing.splits import ClassSplit, load_class_split
from mdmf.data.video.opening import VIDEO_SUFFIXES
from mdmf.resources import shipped_names
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


def build_index(
    *,
    name: str,
    kind: str,
    root: Path,
    csv: Path | None = None,
    lists: dict[str, Path] | None = None,
    class_split: str | Path | None = None,
    split_fractions: Sequence[float] | None = None,
    split_seed: int = 0,
    group_pattern: str | None = None,
) -> VideoIndex:
    """Find the videos of a data set.

    Args:
        name: of the data set; `hmdb51` and `ucf101` have a built-in group pattern.
        kind: `folder` (`class/video.mp4` below root), `csv`, or `lists` (published lists of videos). A folder of
            numbered frame images counts as a video.
        root: where the videos lie.
        csv: for kind `csv`: a file with the columns `path,class[,split][,group]`; paths are below root or absolute.
        lists: for kind `lists`: split -> text file with lines `class/video` or `test0//path/video.mp4`. Videos are
            matched by class and name, whatever the extension or the spaces, underscores and case of the class.
        class_split: shipped name, YAML path, or `random`; not with a CSV that has a split column. None takes the split
            of the CSV or the lists, else a random one if there are fractions.
        split_fractions: of train, val and test, for a random split of the classes.
        split_seed: of that random split.
        group_pattern: regular expression with one capture group, searched in the file name; `{class}` in it stands
            for the class. What it captures is the video's source recording. A `group` column of the CSV goes first.

    Raises:
        FileNotFoundError: if the root, the CSV or a list does not exist.
        ValueError: for impossible settings, malformed files, a video given twice, or a split without any video.
    """
    root = Path(os.path.abspath(Path(root).expanduser()))  # noqa: PTH100, resolve() would follow links and change ids
    if not root.is_dir():
        raise FileNotFoundError(f"the folder of videos {root} does not exist; check the setting data.root")
    given = None if class_split in (None, "random") else load_class_split(class_split)
    chooser = SplitChooser(class_split is not None, given, split_fractions, split_seed)
    if kind == "folder":
        found = find_in_folders(root, chooser)
    elif kind == "csv":
        found = find_in_csv(root, required_file(csv, "data.csv"), chooser)
    elif kind == "lists":
        found = find_in_lists(root, lists, chooser)
    else:
        raise ValueError(f"data.kind must be 'folder', 'csv' or 'lists', got {kind!r}")
    pattern = group_pattern or GROUP_PATTERNS.get(class_key(name)) or GROUP_PATTERNS.get(str(class_split))
    group_of = _group_finder(pattern) if pattern else None
    index = _assemble(name, root, found, group_of, _other_classes(name, given))
    if group_pattern and index.records and all(record.group is None for record in index.records):
        example = index.records[0].path.name
        raise ValueError(f"data.group_pattern {group_pattern!r} matches no file name; a name here is {example!r}")
    return index


def _other_classes(name: str, given: ClassSplit | None) -> tuple[str, ...]:
    """Shipped prompts name every class of their data set, so a part of it must still know them all."""
    shipped = load_class_split(name) if name in shipped_names("splits") else {}
    return tuple(class_name for split in (given or {}, shipped) for names in split.values() for class_name in names)


def _assemble(
    name: str,
    root: Path,
    found: Found,
    group_of: Callable[[str, str], str | None] | None,
    other_classes: tuple[str, ...],
) -> VideoIndex:
    """Sort the videos, leave out classes that have none, and refuse a split that has none at all."""
    by_class: dict[str, list[ListedVideo]] = {}
    for video in found.videos:
        by_class.setdefault(video.class_name, []).append(video)
    classes = {split: tuple(name for name in names if name in by_class) for split, names in found.split.items()}
    absent = {split: tuple(name for name in names if name not in by_class) for split, names in found.split.items()}
    for split, names in found.split.items():
        if names and not classes[split]:
            raise ValueError(_empty_split_message(name, root, split, names, found))
    records = []
    for split, names in classes.items():
        for class_name in names:
            for video in sorted(by_class[class_name], key=lambda video: video.video_id):
                path = root / video.video_id
                group = video.group or (group_of(class_name, path.name) if group_of else None)
                records.append(VideoRecord(video.video_id, path, class_name, split, group))
    return VideoIndex(
        name=name,
        records=tuple(records),
        classes=classes,
        missing=Missing({split: names for split, names in absent.items() if names}, dict(found.missing_videos)),
        unused_classes=found.unused_classes,
        n_ignored_files=found.n_ignored_files,
        other_classes=other_classes,
    )


def _empty_split_message(name: str, root: Path, split: str, names: Sequence[str], found: Found) -> str:
    message = f"split {split!r} of data set {name!r} has no video below {root}; expected classes {some_of(names)}"
    if found.missing_videos.get(split):
        message += f"; not found is for example {found.missing_videos[split][0]!r}"
    if found.unused_classes:
        message += f"; there are the classes {some_of(found.unused_classes)}, which no split names"
    if found.n_ignored_files:
        message += f"; {found.n_ignored_files:,} files there are not videos ({', '.join(sorted(VIDEO_SUFFIXES))})"
    return message + ". Check data.root and data.class_split, or leave this split out of the class split"


def _group_finder(pattern: str) -> Callable[[str, str], str | None]:
    """(class name, file name) -> what the pattern captures, None where it does not match."""

    @functools.cache
    def compiled(class_name: str) -> re.Pattern[str]:
        words = "[ _]".join(re.escape(word) for word in re.split("[ _]+", class_name))
        return re.compile(pattern.replace("{class}", words))

    try:
        n_groups = compiled("class").groups
    except re.error as error:
        raise ValueError(f"data.group_pattern {pattern!r} is not a regular expression: {error}") from error
    if n_groups != 1:
        raise ValueError(f"data.group_pattern {pattern!r} must have one capture group, has {n_groups}")

    def group_of(class_name: str, file_name: str) -> str | None:
        match = compiled(class_name).search(file_name)
        return match[1] if match else None

    return group_of
