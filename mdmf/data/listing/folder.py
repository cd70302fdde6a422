"""Videos in a folder per class: `class/video.mp4`, or `class/video/00001.jpg` for frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mdmf.class_names import some_of
from mdmf.data.listing.disk import scan
from mdmf.data.listing.faults import Fault
from mdmf.data.listing.formats import Entry, Listing, ListingFormat, ListingSettings
from mdmf.data.listing.splits import ClassSplit
from mdmf.data.video.opening import VIDEO_SUFFIXES
from mdmf.registry import LISTING_FORMATS
from mdmf.structures import SPLITS


def read_class_folders(settings: ListingSettings, classes: ClassSplit | None) -> Listing:
    """The videos in the folders directly below root. One clip in two forms (`1.avi`, `1.mp4`) is listed twice."""
    with os.scandir(settings.root) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    listing = Listing()
    for folder in folders:
        videos, n_ignored = scan(f"{settings.root}/{folder}", f"{folder}/", depth=1)
        listing.n_ignored_files += n_ignored
        listing.empty_classes += [] if videos else [folder]
        for video in sorted(videos):
            entry = Entry(video.video_id, folder, video.video_id, settings.root / video.video_id)
            listing.add(entry, key=(folder, video.stem))
    if not listing.entries:
        listing.faults.append(_no_videos(settings.root, folders, listing.n_ignored_files))
    return listing


def _no_videos(root: Path, folders: Sequence[str], n_ignored: int) -> Fault:
    problem = "no videos in class folders: it has " + (f"the folders {some_of(folders)}" if folders else "no folders")
    if n_ignored:
        problem += f" with {n_ignored:,} other files and folders"
    if set(folders) & {*SPLITS, "videos"}:
        problem += "; class folders must lie directly in data.root, so give one of these folders, or a CSV"
    fix = f"expected class/video with {', '.join(sorted(VIDEO_SUFFIXES))}, or class/video/00001.jpg"
    return Fault(f"{root} (data.root)", problem, fix)


for name in ("folder", "shapes"):  # `shapes` is the embedded world, which is written before it is listed
    LISTING_FORMATS.add(name, ListingFormat(read_class_folders, class_folders=True), module=__name__)
