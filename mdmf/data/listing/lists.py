"""Videos from published lists, matched to the files on disk by class and name.

TRX and CMN lists have lines `class/video` or `test18/195025`, those of CLIP-FSAR `test0//path/video.mp4`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mdmf.class_names import class_key, nearest_hint
from mdmf.data.listing.disk import DiskVideo, name_stem, scan
from mdmf.data.listing.faults import Fault
from mdmf.data.listing.formats import Entry, Listing, ListingFormat, ListingSettings, read_text
from mdmf.data.listing.splits import ClassSplit
from mdmf.registry import LISTING_FORMATS
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


def read_lists(settings: ListingSettings, classes: ClassSplit | None) -> Listing:
    """The videos of the lists; `classes` names the numbered classes, else lists name their classes themselves."""
    listing = Listing()
    lists = settings.lists or {}
    lines = [line for split in SPLITS if split in lists for line in _read_list(lists[split], split, listing)]
    names = classes or dict.fromkeys(SPLITS, ())
    by_key = {class_key(name): name for of_split in names.values() for name in of_split}
    folder_keys = {*by_key, *(class_key(line.label) for line in lines)}
    folder_keys |= {f"{split}{place}" for split, of_split in names.items() for place in range(len(of_split))}
    on_disk, listing.n_ignored_files = scan(str(settings.root), "", depth=_LIST_DEPTH, class_keys=folder_keys)
    table: dict[str, list[DiskVideo]] = {}
    for each in on_disk:
        table.setdefault(_name_key(each.stem), []).append(each)
    for line in lines:
        class_name, video = line.label, None
        with listing.collect_faults():
            class_name = _class_of_line(line, classes, by_key)
        with listing.collect_faults():
            video = _find(line, class_name, table, folder_keys)
        if video:
            path = settings.root / video.video_id
            listing.add(Entry(line.where, class_name, video.video_id, path, line.split))
        else:
            missing = Entry(line.where, class_name, line.text, None, line.split)
            listing.add(missing, key=(class_key(class_name), name_stem(line.path[-1])))
    return listing


def _read_list(path: Path, split: str, listing: Listing) -> list[_Line]:
    """The lines of one list that can be read; the others are faults."""
    lines: list[_Line] = []
    with listing.collect_faults():
        texts = read_text(path, f"data.lists.{split}").splitlines()
        for number, text in enumerate(texts, 1):
            if text.strip():
                with listing.collect_faults():
                    lines.append(_parse_line(text.strip(), split, f"{path}, line {number}"))
        if not any(map(str.strip, texts)):
            raise Fault(f"{path} (data.lists.{split})", "the file is empty", "write one video a line")
    return lines


def _parse_line(text: str, split: str, where: str) -> _Line:
    expected = f"class/video or {split}0//path/video.mp4"
    parts = tuple(part for part in text.split("/") if part)
    if text.startswith("/") or ".." in parts or re.match("[A-Za-z]:", text):
        raise Fault(where, f"{text!r} leads out of data.root", f"write {expected}", split=split)
    if len(parts) < 2:
        raise Fault(where, f"expected {expected}, got {text!r}", "write the class before the video", split=split)
    if _NUMBERED_CLASS.fullmatch(parts[0]):
        return _Line(where, split, text, parts[0], parts[1:])
    return _Line(where, split, text, parts[-2], parts)


def _class_of_line(line: _Line, classes: ClassSplit | None, by_key: Mapping[str, str]) -> str:
    """The class of a line: as the line writes it, or by its number in the class split.

    Raises:
        Fault: if the class split does not have it, or has it in another split than the line's.
    """
    numbered = _NUMBERED_CLASS.fullmatch(line.label) if class_key(line.label) not in by_key else None
    if classes is None:
        if numbered:
            fix = "set data.class_split, which names it"
            raise Fault(line.where, f"{line.label!r} is the number of a class", fix, split=line.split)
        return line.label
    class_name = _numbered_class(line, int(numbered[2]), classes[numbered[1]], by_key) if numbered else line.label
    if class_key(class_name) not in by_key:
        problem = f"class {line.label!r} is not in data.class_split{nearest_hint(line.label, by_key.values())}"
        raise Fault(line.where, problem, "correct the line, or use the class split of the list", split=line.split)
    if by_key[class_key(class_name)] not in classes[line.split]:
        problem = f"class {class_name!r} is not a class of {line.split!r} in data.class_split"
        raise Fault(line.where, problem, "use the class split that the list was made with", split=line.split)
    return class_name


def _numbered_class(line: _Line, place: int, names: Sequence[str], by_key: Mapping[str, str]) -> str:
    """The class at a place of a split; a path that names another one shows that the class split is another one."""
    fix = "use the class split that the list was made with"
    if place >= len(names):
        raise Fault(
            line.where, f"{line.label!r} is no class: the split has {len(names)} classes", fix, split=line.split
        )
    in_path = by_key.get(class_key(line.path[-2])) if len(line.path) > 1 else None
    if in_path not in (None, names[place]):
        problem = f"{line.label!r} is {names[place]!r} in data.class_split, but the path says {in_path!r}"
        raise Fault(line.where, problem, fix, split=line.split)
    return names[place]


def _find(
    line: _Line, class_name: str, table: Mapping[str, Sequence[DiskVideo]], folder_keys: Collection[str]
) -> DiskVideo | None:
    """The video of a line on disk: in the folder of its class, else outside of all class folders (SSv2 has none).

    Args:
        line: of a list.
        class_name: of the line.
        table: key of a video's name (`_name_key`) -> the videos on disk.
        folder_keys: keys of the names of class folders.

    Raises:
        Fault: if it could be two.
    """
    own_folders = (class_key(class_name), class_key(line.label))
    stem = name_stem(line.path[-1])
    alike = [video for video in table.get(_name_key(stem), ()) if _may_be_one_clip(video.stem, stem)]
    for form in (str, str.casefold, _without_times):  # the exact name first
        same_name = [video for video in alike if form(video.stem) == form(stem)]
        in_class = [video for video in same_name if class_key(video.folder) in own_folders]
        outside = [video for video in same_name if class_key(video.folder) not in folder_keys]
        if in_class or outside:
            return _only_one(in_class or outside, line)
    return None


def _name_key(stem: str) -> str:
    """What all spellings of a video's name share."""
    return _without_times(stem.casefold())


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
    problem = f"{line.text!r} could be {ids[0]!r} or {ids[1]!r}"
    raise Fault(line.where, problem, "remove or rename one", split=line.split)


LISTING_FORMATS.add("lists", ListingFormat(read_lists, needs=("lists",)), module=__name__)
