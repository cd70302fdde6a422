"""Videos in a CSV with the columns `path,class[,split][,group]`; paths are below root or absolute."""

from __future__ import annotations

import csv
import functools
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mdmf.class_names import nearest_hint
from mdmf.data.listing.faults import Fault
from mdmf.data.listing.formats import Entry, Listing, ListingFormat, ListingSettings, read_text
from mdmf.data.listing.splits import ClassSplit
from mdmf.registry import LISTING_FORMATS
from mdmf.structures import SPLITS

Row = Mapping[Any, Any]


def read_csv(settings: ListingSettings, classes: ClassSplit | None) -> Listing:
    """The rows of the CSV. A split column takes the place of a class split."""
    listing = Listing()
    with listing.collect_faults():
        reader = csv.DictReader(io.StringIO(read_text(settings.csv, "data.csv")), skipinitialspace=True)
        try:
            _read_rows(reader, settings, classes, listing)
        except csv.Error as error:
            where = f"{settings.csv}, after line {reader.line_num}"
            raise Fault(where, f"the rest cannot be read: {error}", "close the double quotes there") from None
    return listing


def _read_rows(
    reader: csv.DictReader[str], settings: ListingSettings, classes: ClassSplit | None, listing: Listing
) -> None:
    columns = [column.strip() for column in reader.fieldnames or ()]
    if not {"path", "class"} <= set(columns):
        problem = f"expected column names, comma separated, with 'path' and 'class', got {columns}"
        raise Fault(f"{settings.csv}, line 1", problem, "write them (and 'split', 'group' if known) in the first line")
    if "split" in columns and classes is not None:
        problem = "it has a split column, and data.class_split is set as well"
        listing.faults.append(Fault(str(settings.csv), problem, "use one of the two"))
    reader.fieldnames = columns
    names_in = functools.cache(functools.partial(_names_in, settings.root))  # cheaper than asking for every file
    for row in reader:
        with listing.collect_faults():
            listing.add(_entry(row, f"{settings.csv}, line {reader.line_num}", settings.root, names_in))
    if not listing.entries and not listing.faults:
        raise Fault(str(settings.csv), "it has no rows", "write one video a line")


def _entry(row: Row, where: str, root: Path, names_in: Callable[[str], frozenset[str]]) -> Entry:
    """The video of a row.

    Args:
        row: column -> text; None -> texts beyond the last column.
        where: the row is.
        root: of the videos.
        names_in: folder below root -> names in it.

    Raises:
        Fault: if a text is missing, or is not what its column holds.
    """
    if None in row:
        raise Fault(where, "more cells than columns", "write a text with a comma in double quotes")
    cells = {column: (text or "").strip() for column, text in row.items()}
    for column in ("path", "class", "split"):
        if cells.get(column) == "":
            raise Fault(where, f"the column {column!r} is empty", "fill it in, or remove the line")
    split = cells.get("split")
    if split is not None and split not in SPLITS:
        expected = f"the split must be one of {', '.join(SPLITS)}"
        raise Fault(where, f"{expected}, got {split!r}{nearest_hint(split, SPLITS)}", "correct it")
    video_id = _video_id(root, cells["path"])
    folder, _, name = video_id.rpartition("/")
    path = root / video_id if name in names_in(folder) else None
    return Entry(where, cells["class"], video_id, path, split, cells.get("group") or None)


def _video_id(root: Path, text: str) -> str:
    """The path below root, or the whole path where it lies elsewhere; with `/` between the parts."""
    full = os.path.normpath(os.path.join(str(root), text))  # noqa: PTH118, pathlib cannot fold `..` without the disk
    return full.removeprefix(f"{root}{os.sep}").replace(os.sep, "/")


def _names_in(root: Path, folder: str) -> frozenset[str]:
    path = root / folder
    return frozenset(each.name for each in path.iterdir()) if path.is_dir() else frozenset()


LISTING_FORMATS.add("csv", ListingFormat(read_csv, needs=("csv",)), module=__name__)
