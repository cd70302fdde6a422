"""A look at the disk: which files and folders are videos. No video is opened."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

from mdmf.class_names import class_key
from mdmf.data.video.opening import FRAME_SUFFIXES, VIDEO_SUFFIXES


class DiskVideo(NamedTuple):
    """A video file or a folder of frames: its path below root, the folder it lies in, its name without suffix."""

    video_id: str
    folder: str
    stem: str


def scan(
    folder: str, prefix: str, *, depth: int, class_keys: Collection[str] = frozenset()
) -> tuple[list[DiskVideo], int]:
    """Videos in a folder and in its sub-folders, and the number of things that are something else.

    A sub-folder that holds an image is one video, unless it has a class's name (there an image is a stray one).

    Args:
        folder: where to look.
        prefix: `folder` relative to the root of the data set, empty or ending in `/`; video ids begin with it.
        depth: 1 looks at this folder alone, each one more at another level of sub-folders.
        class_keys: keys of folder names that are never taken for a folder of frames.
    """
    videos: list[DiskVideo] = []
    n_ignored = 0
    name = os.path.basename(folder)  # noqa: PTH119, called for every folder
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_video(entry, class_keys):
                videos.append(DiskVideo(prefix + entry.name, name, name_stem(entry.name)))
            elif depth > 1 and entry.is_dir():
                below, n_below = scan(entry.path, f"{prefix}{entry.name}/", depth=depth - 1, class_keys=class_keys)
                videos += below
                n_ignored += n_below
            else:
                n_ignored += 1
    return videos, n_ignored


def name_stem(name: str) -> str:
    """The name without a video suffix; other dots belong to the name."""
    suffix = _suffix(name)
    return name[: -len(suffix)] if suffix in VIDEO_SUFFIXES else name


def _is_video(entry: os.DirEntry[str], class_keys: Collection[str]) -> bool:
    if not entry.is_dir():
        return _suffix(entry.name) in VIDEO_SUFFIXES
    return class_key(entry.name) not in class_keys and _holds_frames(entry.path)


def _holds_frames(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(_suffix(entry.name) in FRAME_SUFFIXES and not entry.name.startswith(".") for entry in entries)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower() if "." in name else ""
