"""What the ways of listing videos (folders, CSV, published lists) share: their result, and a look at the disk."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from mdmf.class_names import class_key
from mdmf.data.listing.splits import ClassSplit, random_class_split
from mdmf.data.video.opening import FRAME_SUFFIXES, VIDEO_SUFFIXES


class ListedVideo(NamedTuple):
    """A video that is on disk; its path is `root / video_id`, also where the id is a whole path."""

    class_name: str
    video_id: str
    group: str | None = None


class Found(NamedTuple):
    """What one way of listing videos gives; `split` also names classes that turned out to have no video."""

    videos: list[ListedVideo]
    split: ClassSplit
    missing_videos: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    unused_classes: tuple[str, ...] = ()
    n_ignored_files: int = 0


class SplitChooser(NamedTuple):
    """The class split of the settings: a given one, or a random one once the class names are known."""

    is_set: bool
    given: ClassSplit | None
    fractions: Sequence[float] | None
    seed: int

    def split(self, class_names: Collection[str]) -> ClassSplit:
        if self.given is not None:
            return self.given
        if self.fractions is None:
            raise ValueError(
                "it is not said which classes are for training, validation and test; set data.class_split (a shipped "
                "name or a YAML file), or data.split_fractions for a random split"
            )
        return random_class_split(class_names, self.fractions, self.seed)


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


def classes_by_key(split: ClassSplit) -> dict[str, str]:
    """Key of a class name (what is left without spelling) -> the class name of the split."""
    return {class_key(name): name for names in split.values() for name in names}


def by_split(listed: Iterable[tuple[str, str]], split: ClassSplit) -> dict[str, tuple[str, ...]]:
    """(class name, text) pairs as split -> texts; splits without any are left out."""
    split_of = {name: split_name for split_name, names in split.items() for name in names}
    texts: dict[str, list[str]] = {name: [] for name in split}
    for class_name, text in listed:
        texts[split_of[class_name]].append(text)
    return {name: tuple(values) for name, values in texts.items() if values}


def required_file(path: Path | None, setting: str) -> Path:
    """The path, if a file is there; errors name the setting that it came from."""
    if path is None:
        raise ValueError(f"data.kind needs the setting {setting}, the path of a file")
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; check the setting {setting}")
    return path


def some_of(names: Sequence[str], n_shown: int = 5) -> str:
    """The first few names for a message, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:n_shown])
    return f"{shown} and {len(names) - n_shown:,} more" if len(names) > n_shown else shown or "none"


def _is_video(entry: os.DirEntry[str], class_keys: Collection[str]) -> bool:
    if not entry.is_dir():
        return _suffix(entry.name) in VIDEO_SUFFIXES
    return class_key(entry.name) not in class_keys and _holds_frames(entry.path)


def _holds_frames(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(_suffix(entry.name) in FRAME_SUFFIXES and not entry.name.startswith(".") for entry in entries)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower() if "." in name else ""
