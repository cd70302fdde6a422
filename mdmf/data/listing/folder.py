"""Videos from a folder per class: `class/video.mp4`, or `class/video/00001.jpg` for frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mdmf.class_names import class_key
from mdmf.data.listing.formats import DiskVideo, Found, ListedVideo, SplitChooser, classes_by_key, scan, some_of
from mdmf.data.listing.splits import ClassSplit
from mdmf.data.video.opening import VIDEO_SUFFIXES


def find_in_folders(root: Path, chooser: SplitChooser) -> Found:
    """The videos in the class folders directly below root. A random split deals the folders that have videos."""
    with os.scandir(root) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    scans = {folder: scan(f"{root}/{folder}", f"{folder}/", depth=1) for folder in folders}
    n_ignored = sum(n_other for _, n_other in scans.values())
    filled = [folder for folder, (videos, _) in scans.items() if videos]
    if not filled:
        raise ValueError(_no_class_folders_message(root, folders, n_ignored))
    for folder in filled:
        _refuse_same_stem(scans[folder][0])
    split = chooser.split(filled)
    class_of = _match_folders(split, folders)
    return Found(
        [ListedVideo(name, video.video_id) for folder, name in class_of.items() for video in scans[folder][0]],
        split,
        unused_classes=tuple(folder for folder in folders if folder not in class_of),
        n_ignored_files=n_ignored,
    )


def _no_class_folders_message(root: Path, folders: Sequence[str], n_other: int) -> str:
    message = f"no videos in the class folders of {root} (data.root): it has the folders {some_of(folders)}"
    if n_other:
        message += f" with {n_other:,} other files and folders"
    if set(folders) & {"train", "val", "test", "videos"}:
        message += "; class folders must lie directly in data.root, so give one of these folders, or a CSV"
    return f"{message}. Expected class/video with {', '.join(sorted(VIDEO_SUFFIXES))}, or class/video/00001.jpg"


def _refuse_same_stem(videos: Iterable[DiskVideo]) -> None:
    """One clip in two forms would be support and query of the same episode."""
    seen: dict[str, str] = {}
    for video in videos:
        if video.stem in seen:
            raise ValueError(
                f"{seen[video.stem]!r} and {video.video_id!r} look like one video in two forms, which could be support "
                "and query of one episode; remove or rename one"
            )
        seen[video.stem] = video.video_id


def _match_folders(split: ClassSplit, folders: Iterable[str]) -> dict[str, str]:
    """Folder name -> class name, for the folders that a class of the split names up to spelling."""
    by_key = classes_by_key(split)
    folder_of: dict[str, str] = {}
    for folder in folders:
        name = by_key.get(class_key(folder))
        if name is None:
            continue
        if name in folder_of:
            raise ValueError(
                f"class {name!r} could be the folder {folder_of[name]!r} or {folder!r}; merge or rename one"
            )
        folder_of[name] = folder
    return {folder: name for name, folder in folder_of.items()}
