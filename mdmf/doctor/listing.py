"""The data doctor on what lists the videos (class folders, a CSV, published lists, a class split): every fault at once.

The index stops at its first fault, as it should. Here the same files are read line by line without stopping, so that
all faults are told, and so that the videos can be looked at even where no index can be built.
"""

from __future__ import annotations

import csv
import os
import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mdmf.class_names import class_key
from mdmf.data.listing.formats import DiskVideo, name_stem, scan
from mdmf.doctor.findings import Example, Finding
from mdmf.resources import resource_folder, shipped_names
from mdmf.structures import SPLITS, VideoRecord

NO_SPLIT = "?"
"""The split of a video whose class no split names."""

GLOBAL_NAMES = ("kinetics100", "ssv2_small", "ssv2_full")
"""Data sets in which a file name is one video, whatever folder it lies in."""

_NUMBERED = re.compile(rf"({'|'.join(SPLITS)})(\d+)")
_LIST_DEPTH = 4


class Entry(NamedTuple):
    """One listed video: where it is listed, its split if that is said, its class, its path as listed."""

    where: str
    split: str | None
    class_name: str
    path: str


class Listing(NamedTuple):
    """All listed videos, and the lines that cannot be read."""

    entries: list[Entry]
    findings: list[Finding]


def read_folders(root: Path) -> Listing:
    """The videos in the class folders of `root`."""
    with os.scandir(root) as found:
        folders = sorted(entry.name for entry in found if entry.is_dir() and not entry.name.startswith("."))
    return Listing(
        [
            Entry(folder, None, folder, video.video_id)
            for folder in folders
            for video in sorted(scan(f"{root}/{folder}", f"{folder}/", depth=1)[0])
        ],
        [],
    )


def read_csv(path: Path) -> Listing:
    """The rows of a CSV with the columns `path,class[,split][,group]`."""
    entries, bad = [], []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = [column.strip() for column in reader.fieldnames or ()]
        if not {"path", "class"} <= set(columns):
            message = f"{path} must begin with a line of column names with 'path' and 'class'; got {columns}"
            return Listing([], [Finding("error", "listing", message)])
        reader.fieldnames = columns
        for row in reader:
            where = f"{path.name}, line {reader.line_num}"
            cells = {column: (text or "").strip() for column, text in row.items() if isinstance(column, str)}
            split = cells.get("split")
            if None in row:
                bad.append(Example(where, detail="more cells than columns"))
            elif not cells["path"] or not cells["class"]:
                bad.append(Example(where, detail="the path or the class is empty"))
            elif split is not None and split not in SPLITS:
                bad.append(Example(where, detail=f"the split must be one of {', '.join(SPLITS)}, got {split!r}"))
            else:
                entries.append(Entry(where, split, cells["class"], cells["path"]))
    return Listing(entries, _bad_lines(path, bad))


def read_lists(lists: Mapping[str, Path], classes: Mapping[str, Sequence[str]]) -> Listing:
    """The lines of published lists, `class/video` or `test0//path/video.mp4`.

    Args:
        lists: split -> file.
        classes: split -> its classes in order, which numbered classes are named by.
    """
    entries: list[Entry] = []
    findings: list[Finding] = []
    for split, path in lists.items():
        bad = []
        for number, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            parts = [part for part in text.strip().split("/") if part]
            where = f"{path.name}, line {number}"
            if not parts:
                continue
            if len(parts) < 2:
                bad.append(Example(where, split=split, detail=f"expected class/video, got {text.strip()!r}"))
                continue
            numbered = _NUMBERED.fullmatch(parts[0])
            name: str | None = parts[-2]
            if numbered:
                name = dict(enumerate(classes.get(numbered[1], ()))).get(int(numbered[2]))
            if name is None:
                n_classes = len(classes.get(numbered[1] if numbered else split, ()))
                bad.append(Example(where, split=split, detail=f"{parts[0]!r} is no class: there are {n_classes}"))
                continue
            entries.append(Entry(where, split, name, "/".join(parts[1:] if numbered else parts)))
        findings += _bad_lines(path, bad)
    return Listing(entries, findings)


def read_class_split(name_or_path: str) -> dict[str, list[str]]:
    """A class split as it stands in its file, also where a class is in it twice; empty if it is no split at all."""
    shipped = name_or_path in shipped_names("splits")
    path = resource_folder("splits") / f"{name_or_path}.yaml" if shipped else Path(name_or_path).expanduser()
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}  # the index says what is wrong with it
    if not isinstance(content, dict):
        return {}
    lists = {split: names for split, names in content.items() if split in SPLITS and isinstance(names, list)}
    return {split: [name.strip() for name in names if isinstance(name, str)] for split, names in lists.items()}


def class_findings(named: Iterable[tuple[str | None, str]], *, merges: bool) -> list[Finding]:
    """Classes that are in two splits, and class names that differ only in how they are written.

    Args:
        named: (split or None, class name) of every video, or of every line of a class split.
        merges: whether names that differ only so were taken for one class (a warning), or stopped the index.
    """
    spellings: dict[str, dict[str, set[str]]] = {}
    for split, name in named:
        spellings.setdefault(class_key(name), {}).setdefault(name, set()).add(split or "")
    findings = []
    in_two = []
    for by_name in spellings.values():
        splits = sorted(set().union(*by_name.values()) - {""})
        if len(splits) > 1:
            in_two.append(Example(class_name=" / ".join(by_name), detail=f"in {' and '.join(splits)}"))
    if in_two:
        message = f"{len(in_two)} classes are in two splits; a class belongs to one split"
        findings.append(Finding("error", "class-in-two-splits", message, tuple(in_two)))
    alike = [Example(class_name=name, detail=_beside(name, names)) for names in spellings.values() for name in names]
    alike = [example for example in alike if example.detail]
    if alike:
        message = f"{len(alike)} class names differ only by case, space, underscore or the like; " + (
            "they are read as one class each; write them alike" if merges else "merge them, or rename one"
        )
        findings.append(Finding("warning" if merges else "error", "class-spelling", message, tuple(alike)))
    return findings


def repeated_videos(entries: Sequence[Entry], *, names_are_global: bool) -> list[Finding]:
    """Videos that are listed twice, in one split or in two.

    Args:
        entries: listed videos.
        names_are_global: the file name alone says which video it is, whatever the class (`GLOBAL_NAMES`).
    """
    findings = []
    by_video: dict[str, list[Entry]] = {}
    for entry in entries:
        by_video.setdefault(_stem(entry) if names_are_global else _path_without_suffix(entry), []).append(entry)
    across: list[Example] = []
    twice: list[Example] = []
    for same in by_video.values():
        if len(same) < 2:
            continue
        where = " and ".join(entry.where for entry in same)
        example = Example(same[0].path, same[0].class_name, same[0].split or "", where)
        (across if len({entry.split for entry in same}) > 1 else twice).append(example)
    if across:
        message = f"{len(across):,} videos are listed in two splits; a video belongs to one split"
        findings.append(Finding("error", "video-in-two-splits", message, tuple(across)))
    if twice:
        message = f"{len(twice):,} videos are listed twice, or are there in two forms; keep one of each"
        findings.append(Finding("error", "listed-twice", message, tuple(twice)))
    return findings


def listed_counts(entries: Iterable[Entry], classes: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Split -> class -> listed videos, whether or not they are on disk; classes in the order of `classes`, if there.

    Args:
        entries: listed videos; those without a split are not counted.
        classes: split -> its classes.
    """
    counts: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    proper = {class_key(name): name for names in classes.values() for name in names}
    for entry in entries:
        if entry.split is not None:
            name = proper.get(class_key(entry.class_name), entry.class_name)
            counts[entry.split][name] = counts[entry.split].get(name, 0) + 1
    for split, of_split in counts.items():
        place = {name: number for number, name in enumerate(classes.get(split, ()))}
        counts[split] = dict(sorted(of_split.items(), key=lambda item: place.get(item[0], len(place))))
    return counts


def records_of(entries: Iterable[Entry], root: Path, classes: Mapping[str, Sequence[str]]) -> list[VideoRecord]:
    """The listed videos that are on disk, as far as they can be told without an index; each file once.

    Args:
        entries: listed videos.
        root: of the videos.
        classes: split -> its classes; a class that is in none is of split `NO_SPLIT`.
    """
    split_of = {class_key(name): split for split, names in classes.items() for name in names}
    on_disk: dict[str, list[DiskVideo]] | None = None
    records: dict[str, VideoRecord] = {}
    for entry in entries:
        full = os.path.normpath(os.path.join(str(root), entry.path))  # noqa: PTH118, pathlib folds no `..`
        video_id = full.removeprefix(f"{root}{os.sep}").replace(os.sep, "/")
        path = Path(full)
        if not path.exists() and not path.is_symlink():
            on_disk = _by_stem(root) if on_disk is None else on_disk
            same = on_disk.get(name_stem(entry.path.rsplit("/", 1)[-1]).casefold(), [])
            in_class = [video for video in same if class_key(video.folder) == class_key(entry.class_name)]
            if not same:
                continue
            video_id = (in_class or same)[0].video_id
            path = root / video_id
        split = entry.split or split_of.get(class_key(entry.class_name), NO_SPLIT)
        records.setdefault(video_id, VideoRecord(video_id, path, entry.class_name, split))
    return list(records.values())


def _by_stem(root: Path) -> dict[str, list[DiskVideo]]:
    videos: dict[str, list[DiskVideo]] = {}
    for video in scan(str(root), "", depth=_LIST_DEPTH)[0]:
        videos.setdefault(video.stem.casefold(), []).append(video)
    return videos


def _bad_lines(path: Path, bad: Sequence[Example]) -> list[Finding]:
    return [Finding("error", "listing", f"{len(bad):,} lines of {path} cannot be read", tuple(bad))] if bad else []


def _beside(name: str, alike: Collection[str]) -> str:
    others = [other for other in alike if other != name]
    return "beside " + ", ".join(repr(other) for other in others) if others else ""


def _path_without_suffix(entry: Entry) -> str:
    folder, _, name = posixpath.normpath(entry.path).rpartition("/")
    return f"{folder}/{name_stem(name)}"


def _stem(entry: Entry) -> str:
    return name_stem(entry.path.rsplit("/", 1)[-1]).casefold()
