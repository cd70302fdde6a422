"""A user's own clips on disk: the examples of each action, and the clips to name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mdmf.class_names import class_key, some_of
from mdmf.data.listing.disk import scan
from mdmf.data.video.opening import FRAME_SUFFIXES, VIDEO_SUFFIXES

SupportClips = str | Path | Mapping[str, Iterable[str | Path] | str | Path]

_CLIP_KINDS = f"videos ({', '.join(sorted(VIDEO_SUFFIXES))}), or folders of frame images (00001.jpg)"


@dataclass(frozen=True)
class SupportListing:
    """The example clips of each class.

    Attributes:
        clips: class -> its clips; classes and clips are sorted by name.
        notes: remarks on files that are not used.
    """

    clips: dict[str, tuple[Path, ...]]
    notes: tuple[str, ...] = ()


def list_support(support: SupportClips) -> SupportListing:
    """The example clips of each action; any number of classes from two on, and of clips per class.

    Args:
        support: a folder with a folder of clips per action (`kick/one.mp4`, or `kick/one/00001.jpg` for frames), or
            class -> clips.

    Raises:
        FileNotFoundError: for a folder or clip that does not exist.
        ValueError: for fewer than two classes, a class without clips, or two that differ only in spelling.
    """
    listing = _list_mapping(support) if isinstance(support, Mapping) else _list_folder(Path(support).expanduser())
    name_by_key: dict[str, str] = {}
    for name in listing.clips:
        if (other := name_by_key.setdefault(class_key(name), name)) != name:
            raise ValueError(f"classes {other!r} and {name!r} differ only in spelling; merge them, or rename one")
    if len(listing.clips) == 1:
        raise ValueError(
            f"there is one class only, {next(iter(listing.clips))!r}, and the answer would always be this class; add a "
            f"second class, such as `other` with clips of what else happens"
        )
    return listing


def list_queries(paths: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    """The clips to name, each once: files as given, and every clip below a folder, sorted by name.

    A folder of videos stands for its videos and those in its sub-folders, a folder of frame images only for one clip.

    Raises:
        FileNotFoundError: for a path that does not exist.
        ValueError: for no path, or a folder without a clip.
    """
    places = [paths] if isinstance(paths, str | Path) else list(paths)
    if not places:
        raise ValueError("there is no clip to be named; give files, or folders of clips")
    if "" in places:
        raise ValueError("a clip has no name; give `.` for the current folder")
    clip_by_path: dict[str, Path] = {}
    for path in (Path(place).expanduser() for place in places):
        if not path.exists():
            raise FileNotFoundError(f"the clip {path} does not exist")
        clips = _clips_below(path, set()) if path.is_dir() else [path]
        if not clips:
            raise ValueError(f"the folder {path} holds no clip; expected {_CLIP_KINDS}")
        for clip in clips:
            clip_by_path.setdefault(os.path.abspath(clip), clip)  # noqa: PTH100, resolve() would follow links
    return tuple(clip_by_path.values())


def shown_path(path: Path) -> str:
    """The path as text that every file and terminal accepts, even if the name of the file is not valid text."""
    return str(path).encode(errors="surrogateescape").decode(errors="replace")


def _list_mapping(support: Mapping[str, Iterable[str | Path] | str | Path]) -> SupportListing:
    clips = {}
    for name in sorted(support):
        of_class = support[name]
        paths = [of_class] if isinstance(of_class, str | Path) else of_class
        clips[name] = tuple(sorted(Path(path).expanduser() for path in paths))
        if not clips[name]:
            raise ValueError(f"class {name!r} has no clip; give it one, or leave the class out")
        if missing := [clip for clip in clips[name] if not clip.exists()]:
            raise FileNotFoundError(f"the clip {missing[0]} of class {name!r} does not exist")
    if not clips:
        raise ValueError("there is no class; give at least two, each with a clip")
    return SupportListing(clips)


def _list_folder(root: Path) -> SupportListing:
    if not root.exists():
        raise FileNotFoundError(f"the support folder {root} does not exist")
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; the support is a folder that holds a folder of clips per action")
    folders, files = _folders_and_files(root)
    if not folders:
        content = f"files only ({some_of(files, 3)})" if files else "nothing"
        raise ValueError(
            f"the support folder {root} holds {content}; expected a folder per action with its clips in it"
        )
    notes = [f"not used, since they lie beside the folders of the actions: {some_of(files, 3)}"] if files else []
    clips = {}
    for name in folders:
        videos, n_other = scan(f"{root}/{name}", f"{name}/", depth=1)
        if not videos:
            raise ValueError(
                f"the folder {root / name} holds no clip ({n_other} other things): expected {_CLIP_KINDS} directly in "
                f"it; add a clip, or remove the folder"
            )
        if n_other:
            notes.append(f"not used in {name}: {n_other} things that are no clips")
        clips[name] = tuple(sorted(root / video.video_id for video in videos))
    return SupportListing(clips, tuple(notes))


def _clips_below(folder: Path, visited: set[Path]) -> list[Path]:
    """The clips in a folder and its sub-folders; an image is a frame only in a folder without videos."""
    if folder.resolve() in visited:  # a link to a folder above it
        return []
    visited.add(folder.resolve())
    folders, files = _folders_and_files(folder)
    clips = [folder / name for name in files if Path(name).suffix.lower() in VIDEO_SUFFIXES]
    if not clips and any(Path(name).suffix.lower() in FRAME_SUFFIXES for name in files):
        return [folder]
    return clips + [clip for name in folders for clip in _clips_below(folder / name, visited)]


def _folders_and_files(folder: Path) -> tuple[list[str], list[str]]:
    """The names of each, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        visible = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    return [name for name, is_folder in visible if is_folder], [name for name, is_folder in visible if not is_folder]
