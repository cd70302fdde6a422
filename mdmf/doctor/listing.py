"""Findings about the listing: every fault, and videos that are listed under two names."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from mdmf.data.listing.disk import name_stem
from mdmf.data.listing.faults import Fault
from mdmf.data.listing.formats import Entry, Listing
from mdmf.doctor.findings import Example, Finding, finding_about

_MESSAGES = {
    "class-in-two-splits": "classes are in two splits; a class belongs to one split",
    "class-spelling": "class names differ only by case, space, underscore or the like; write them alike, or rename one",
    "video-in-two-splits": "videos are listed in two splits; a video belongs to one split",
    "video-in-two-classes": "videos are listed in two classes; one of the two labels is wrong",
    "listed-twice": "videos are listed twice, or are there in two forms; keep one of each",
}
_OTHER_MESSAGE = "places of the listing or the class split cannot be used; mend them"


def listing_findings(listing: Listing, *, names_are_global: bool) -> Iterator[Finding]:
    """A finding for each kind of fault, with every place.

    Args:
        listing: what was read.
        names_are_global: the file name alone says which video it is, whatever folder it lies in.
    """
    by_kind: dict[tuple[str, str], list[Example]] = {}
    for fault in listing.faults:
        by_kind.setdefault(("error" if fault.is_error else "warning", fault.code), []).append(_example(fault))
    for code, example in _repeated_videos(listing, names_are_global=names_are_global):
        by_kind.setdefault(("error", code), []).append(example)
    for (level, code), examples in by_kind.items():
        yield from finding_about(examples, level, code, _MESSAGES.get(code, _OTHER_MESSAGE))


def _example(fault: Fault) -> Example:
    if fault.class_name:
        return Example(class_name=fault.class_name, split=fault.split, detail=str(fault))
    return Example(fault.where, split=fault.split, detail=f"{fault.problem}; {fault.fix}")


def _repeated_videos(listing: Listing, *, names_are_global: bool) -> Iterator[tuple[str, Example]]:
    """Different files that are probably one video: their paths differ by suffix, or their names are the same.

    The index accepts them; the finding's code says whether they are in two splits, two classes or one.
    """
    by_video: dict[str, list[Entry]] = {}
    for entry in listing.resolved():
        folder, _, name = posixpath.normpath(entry.video_id).rpartition("/")
        video = name_stem(name).casefold() if names_are_global else f"{folder}/{name_stem(name)}"
        if entry.split is not None:
            by_video.setdefault(video, []).append(entry)
    for same in [entries for entries in by_video.values() if len(entries) > 1]:
        code = "video-in-two-classes" if len({entry.class_name for entry in same}) > 1 else "listed-twice"
        code = "video-in-two-splits" if len({entry.split for entry in same}) > 1 else code
        where = " and ".join(entry.where for entry in same)
        yield code, Example(same[0].video_id, same[0].class_name, str(same[0].split), where)
