"""Videos from a CSV with the columns `path,class[,split][,group]`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from csv import DictReader
from pathlib import Path
from typing import NamedTuple

from mdmf.class_names import class_key, nearest_hint
from mdmf.data.listing.formats import Found, ListedVideo, SplitChooser, by_split, classes_by_key
from mdmf.data.listing.splits import ClassSplit, check_class_split
from mdmf.structures import SPLITS


class _Row(NamedTuple):
    line: int
    path: str
    class_name: str
    split: str | None
    group: str | None


def find_in_csv(root: Path, path: Path, chooser: SplitChooser) -> Found:
    """The videos of a CSV that are on disk, and those that are not."""
    by_id: dict[str, _Row] = {}
    for row in _read_rows(path):
        first = by_id.setdefault(_video_id(root, row.path), row)
        if first is not row:
            raise ValueError(f"{path}: lines {first.line} and {row.line} give the same video {row.path!r}; remove one")
    if not by_id:
        raise ValueError(f"{path} (data.csv) has no rows; expected one video a line")
    split = _split_of_rows(path, by_id.values(), chooser)
    by_key = classes_by_key(split)
    present = _present(root, by_id)
    videos: list[ListedVideo] = []
    absent: list[tuple[str, str]] = []
    unused: set[str] = set()
    for video_id, row in by_id.items():
        class_name = by_key.get(class_key(row.class_name))
        if class_name is None:
            unused.add(row.class_name)
        elif video_id in present:
            videos.append(ListedVideo(class_name, video_id, row.group))
        else:
            absent.append((class_name, row.path))
    return Found(videos, split, by_split(absent, split), tuple(sorted(unused)))


def _read_rows(path: Path) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = DictReader(file, skipinitialspace=True)
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        if "path" not in columns or "class" not in columns:
            raise ValueError(
                f"{path} (data.csv) must begin with a line of column names, comma separated, with 'path' and 'class' "
                f"(and 'split', 'group' if known); got {columns}"
            )
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row:
                raise ValueError(f"{where}: more cells than columns; write a text with a comma in double quotes")
            cells = {column: (text or "").strip() for column, text in row.items()}
            for column in ("path", "class", "split"):
                if cells.get(column) == "":
                    raise ValueError(f"{where}: the column {column!r} is empty")
            group = cells.get("group") or None
            yield _Row(reader.line_num, cells["path"], cells["class"], cells.get("split"), group)


def _split_of_rows(path: Path, rows: Collection[_Row], chooser: SplitChooser) -> ClassSplit:
    members: dict[str, set[str]] = {split: set() for split in SPLITS}
    for row in rows:
        if row.split is None:
            return chooser.split({row.class_name for row in rows})
        if row.split not in members:
            raise ValueError(
                f"{path}, line {row.line}: the split must be one of {', '.join(SPLITS)}, got {row.split!r}"
                f"{nearest_hint(row.split, SPLITS)}"
            )
        members[row.split].add(row.class_name)
    if chooser.is_set:
        raise ValueError(f"{path} has a split column and data.class_split is set as well; use one of the two")
    split = {name: tuple(sorted(class_names)) for name, class_names in members.items()}
    check_class_split(split, source=str(path))
    return split


def _video_id(root: Path, text: str) -> str:
    """The path below root, or the whole path where it lies elsewhere; with `/` between the parts."""
    full = os.path.normpath(os.path.join(str(root), text))  # noqa: PTH118, pathlib cannot fold `..` without the disk
    return full.removeprefix(f"{root}{os.sep}").replace(os.sep, "/")


def _present(root: Path, video_ids: Iterable[str]) -> set[str]:
    """Those of the ids that are on disk, by listing each folder once: cheaper than asking for every file."""
    by_folder: dict[str, list[str]] = {}
    for video_id in video_ids:
        by_folder.setdefault(video_id.rpartition("/")[0], []).append(video_id)
    present: set[str] = set()
    for folder, ids in by_folder.items():
        if (root / folder).is_dir():
            with os.scandir(root / folder) as entries:
                names = {entry.name for entry in entries}
            present.update(video_id for video_id in ids if video_id.rpartition("/")[2] in names)
    return present
