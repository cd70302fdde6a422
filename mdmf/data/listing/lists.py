"""Videos from published lists, matched to the files on disk by class and name.

TRX and CMN lists have lines `class/video` or `test18/195025`, those of CLIP-FSAR `test0//path/video.mp4`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mdmf.class_names import class_key, nearest_hint
from mdmf.data.listing.formats import (
    DiskVideo,
    Found,
    ListedVideo,
    SplitChooser,
    by_split,
    classes_by_key,
    name_stem,
    required_file,
    scan,
)
from mdmf.data.listing.splits import ClassSplit, check_class_split
from mdmf.structures import SPLITS

_LIST_DEPTH = 4  # how deep below data.root a listed video may lie
_NUMBERED_CLASS = re.compile(rf"({'|'.join(SPLITS)})(\d+)")
_CLIP_TIMES = re.compile(r"_\d{6}_\d{6}$")  # Kinetics: start and end second after the YouTube id


class _Line(NamedTuple):
    """One video of a list: `label` is its class name, or its split and number (`test0`); `path` is what follows."""

    where: str
    split: str
    text: str
    label: str
    path: tuple[str, ...]


def find_in_lists(root: Path, lists: dict[str, Path] | None, chooser: SplitChooser) -> Found:
    """The listed videos that are on disk, and those that are not; classes come from the split, or from the lists."""
    if chooser.is_set and chooser.given is None:
        raise ValueError("lists say which classes are in which split, so data.class_split cannot be 'random'")
    lines = _read_lists(lists)
    named = chooser.given or _split_of_lines(lines)
    split = {name: named[name] if any(line.split == name for line in lines) else () for name in SPLITS}
    by_key = classes_by_key(named)
    folder_keys = {*by_key, *(f"{name}{place}" for name, names in named.items() for place in range(len(names)))}
    scanned, n_other = scan(str(root), "", depth=_LIST_DEPTH, class_keys=folder_keys)
    lookup = _Lookup(scanned, folder_keys)
    videos: list[ListedVideo] = []
    absent: list[tuple[str, str]] = []
    listed: dict[tuple[str, str], _Line] = {}
    for line in lines:
        class_name = _class_of_line(line, named, by_key)
        match = lookup.find(line, class_name)
        first = listed.setdefault(("", match.video_id) if match else (class_name, name_stem(line.path[-1])), line)
        if first is not line:
            raise ValueError(f"{first.where} and {line.where} give the same video, {line.text!r}; remove one")
        if match:
            videos.append(ListedVideo(class_name, match.video_id))
        else:
            absent.append((class_name, line.text))
    return Found(videos, split, by_split(absent, split), n_ignored_files=n_other)


def _read_lists(lists: dict[str, Path] | None) -> list[_Line]:
    if not lists or set(lists) - set(SPLITS):
        raise ValueError(f"data.lists must name a file for one or more of {', '.join(SPLITS)}; got {list(lists or ())}")
    lines = []
    for split in SPLITS:
        if split in lists:
            path = required_file(lists[split], f"data.lists.{split}")
            texts = path.read_text(encoding="utf-8-sig").splitlines()
            of_file = [_parse_line(text, split, f"{path}, line {i}") for i, text in enumerate(texts, 1) if text.strip()]
            if not of_file:
                raise ValueError(f"{path} (data.lists.{split}) is empty; expected one video a line")
            lines += of_file
    return lines


def _parse_line(text: str, split: str, where: str) -> _Line:
    text = text.strip()
    parts = tuple(part for part in text.split("/") if part)
    if text.startswith("/") or ".." in parts or re.match("[A-Za-z]:", text):
        raise ValueError(f"{where}: {text!r} leads out of data.root; expected class/video or {split}0//path/video.mp4")
    if len(parts) < 2:
        raise ValueError(f"{where}: expected class/video or {split}0//path/video.mp4, got {text!r}")
    if _NUMBERED_CLASS.fullmatch(parts[0]):
        return _Line(where, split, text, parts[0], parts[1:])
    return _Line(where, split, text, parts[-2], parts)


def _split_of_lines(lines: Iterable[_Line]) -> ClassSplit:
    """The class split that lists with class names imply; a class may be written in several ways."""
    names: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
    for line in lines:
        if _NUMBERED_CLASS.fullmatch(line.label):
            raise ValueError(
                f"{line.where}: {line.label!r} is the number of a class; set data.class_split, which names it"
            )
        names[line.split].setdefault(class_key(line.label), line.label)
    split = {name: tuple(sorted(by_key.values())) for name, by_key in names.items()}
    check_class_split(split, source="data.lists")
    return split


def _class_of_line(line: _Line, split: ClassSplit, by_key: dict[str, str]) -> str:
    class_name = by_key.get(class_key(line.label))
    numbered = _NUMBERED_CLASS.fullmatch(line.label) if class_name is None else None
    if numbered:
        numbered_split, place = numbered[1], int(numbered[2])
        if place >= len(split[numbered_split]):
            raise ValueError(
                f"{line.where}: {numbered_split!r} has {len(split[numbered_split])} classes, got {line.label!r}"
            )
        class_name = split[numbered_split][place]
        in_path = by_key.get(class_key(line.path[-2])) if len(line.path) > 1 else None
        if in_path not in (None, class_name):
            raise ValueError(
                f"{line.where}: {line.label!r} is {class_name!r} in data.class_split, but the path says {in_path!r}; "
                "the class split must be the one that the list was made with"
            )
    if class_name is None:
        raise ValueError(
            f"{line.where}: class {line.label!r} is not in data.class_split{nearest_hint(line.label, by_key.values())}"
        )
    if class_name not in split[line.split]:
        raise ValueError(f"{line.where}: class {class_name!r} is not a class of {line.split!r} in data.class_split")
    return class_name


class _Lookup:
    """Finds a listed video on disk: in the folder of its class, else outside of all class folders (SSv2 has none)."""

    def __init__(self, videos: Sequence[DiskVideo], folder_keys: Collection[str]) -> None:
        self._videos = videos
        self._folder_keys = folder_keys
        self._tables: dict[Callable[[str], str], dict[str, list[DiskVideo]]] = {}

    def find(self, line: _Line, class_name: str) -> DiskVideo | None:
        own_folders = (class_key(class_name), class_key(line.label))
        stem = name_stem(line.path[-1])
        for form in (str, str.casefold, _without_times):  # the exact name first
            same_name = [video for video in self._table(form).get(form(stem), ()) if _may_be_one_clip(video.stem, stem)]
            in_class = [video for video in same_name if class_key(video.folder) in own_folders]
            outside = [video for video in same_name if class_key(video.folder) not in self._folder_keys]
            if in_class or outside:
                return _only_one(in_class or outside, line)
        return None

    def _table(self, form: Callable[[str], str]) -> dict[str, list[DiskVideo]]:
        """Form of a name -> the videos that have it; made when first asked for, since most lists match exactly."""
        if form not in self._tables:
            table = self._tables.setdefault(form, {})
            for video in self._videos:
                table.setdefault(form(video.stem), []).append(video)
        return self._tables[form]


def _without_times(stem: str) -> str:
    return _CLIP_TIMES.sub("", stem)


def _may_be_one_clip(disk_stem: str, listed_stem: str) -> bool:
    """Kinetics lists differ in whether a name ends in the clip's times; two different times are two clips."""
    if disk_stem.casefold() == listed_stem.casefold():
        return True
    return bool(_CLIP_TIMES.search(disk_stem)) != bool(_CLIP_TIMES.search(listed_stem))


def _only_one(candidates: Sequence[DiskVideo], line: _Line) -> DiskVideo:
    listed = "/" + "/".join(line.path)
    exact = [video for video in candidates if f"/{video.video_id}".endswith(listed)]
    for choice in (exact, candidates):
        if len(choice) == 1:
            return choice[0]
    ids = sorted(video.video_id for video in candidates)
    raise ValueError(f"{line.where}: {line.text!r} could be {ids[0]!r} or {ids[1]!r}; remove or rename one")
