"""Somebody's own clips: a folder per action to go by, and files or folders of clips to be named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mdmf.class_names import class_key, some_of
from mdmf.data.listing.disk import scan
from mdmf.data.video.opening import FRAME_SUFFIXES, VIDEO_SUFFIXES

SupportClips = str | Path | Mapping[str, Iterable[str | Path] | str | Path]


@dataclass(frozen=True)
class OwnClips:
    """Clips by class.

    Attributes:
        of_class: class -> its clips; classes and clips in order of their names, however they were given.
        notes: what lies there and is not used.
    """

    of_class: dict[str, tuple[Path, ...]]
    notes: tuple[str, ...] = ()


def find_support(support: SupportClips) -> OwnClips:
    """The clips that say what each action looks like; any number of classes, and of clips for each.

    Args:
        support: a folder with a folder of clips per action (`kick/one.mp4`, or `kick/one/00001.jpg` for frames), or
            class -> clips.

    Raises:
        FileNotFoundError: for a folder or clip that does not exist.
        ValueError: for fewer than two classes, a class without clips, or two that differ only in spelling.
    """
    found = _of_mapping(support) if isinstance(support, Mapping) else _of_folder(Path(support).expanduser())
    by_key: dict[str, str] = {}
    for name in found.of_class:
        if (twin := by_key.setdefault(class_key(name), name)) != name:
            raise ValueError(f"classes {twin!r} and {name!r} differ only in spelling; merge them, or rename one")
    if len(found.of_class) == 1:
        (only,) = found.of_class
        raise ValueError(
            f"there is one class only, {only!r}: an action is told from other actions, and with nothing to compare "
            f"every clip would be {only!r} with certainty 1; add a second class, such as `other` with clips of what "
            f"else happens"
        )
    return found


def find_queries(paths: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    """The clips to be named: files as given, and every clip below a folder, in order of their names; each once.

    A folder of videos stands for its videos (also those in folders below), one of frame images alone for one clip.

    Raises:
        FileNotFoundError: for a path that does not exist.
        ValueError: for no path, or a folder without a clip.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise ValueError("there is no clip to be named; give files, or folders of clips")
    found: dict[str, Path] = {}
    if "" in given:
        raise ValueError("a clip has no name; give `.` for the current folder")
    for path in (Path(one).expanduser() for one in given):
        if not path.exists():
            raise FileNotFoundError(f"the clip {path} does not exist")
        clips = _clips_below(path) if path.is_dir() else [path]
        if not clips:
            raise ValueError(f"the folder {path} holds no clip; expected {_KINDS}")
        for clip in clips:
            found.setdefault(os.path.abspath(clip), clip)  # noqa: PTH100, resolve() would take a link for its target
    return tuple(found.values())


_KINDS = f"videos ({', '.join(sorted(VIDEO_SUFFIXES))}), or folders of frame images (00001.jpg)"


def _of_mapping(support: Mapping[str, Iterable[str | Path] | str | Path]) -> OwnClips:
    of_class: dict[str, tuple[Path, ...]] = {}
    for name in sorted(support):
        clips = support[name]
        paths = [Path(clips)] if isinstance(clips, str | Path) else [Path(clip) for clip in clips]
        if not paths:
            raise ValueError(f"class {name!r} has no clip; give it one, or leave the class out")
        for path in paths:
            if not path.expanduser().exists():
                raise FileNotFoundError(f"the clip {path} of class {name!r} does not exist")
        of_class[name] = tuple(sorted(path.expanduser() for path in paths))
    if not of_class:
        raise ValueError("there is no class; give at least two, each with a clip")
    return OwnClips(of_class)


def _of_folder(root: Path) -> OwnClips:
    if not root.exists():
        raise FileNotFoundError(f"the support folder {root} does not exist")
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; the support is a folder that holds a folder of clips per action")
    with os.scandir(root) as entries:
        seen = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    folders, files = ([name for name, is_dir in seen if is_dir == wanted] for wanted in (True, False))
    if not folders:
        what = f"files only ({some_of(files, 3)})" if files else "nothing"
        raise ValueError(f"the support folder {root} holds {what}; expected a folder per action with its clips in it")
    notes = [f"not used, since they lie beside the folders of the actions: {some_of(files, 3)}"] if files else []
    of_class = {}
    for name in folders:
        videos, n_other = scan(f"{root}/{name}", f"{name}/", depth=1)
        if not videos:
            raise ValueError(
                f"the folder {root / name} holds no clip ({n_other} other things): expected {_KINDS} directly in it; "
                f"add a clip, or remove the folder"
            )
        if n_other:
            notes.append(f"not used in {name}: {n_other} things that are no clips")
        of_class[name] = tuple(sorted(root / video.video_id for video in videos))
    return OwnClips(of_class, tuple(notes))


def _clips_below(folder: Path, seen: set[Path] | None = None) -> list[Path]:
    """In a folder of videos an image is a thumbnail, in one without videos it is a frame."""
    seen = set() if seen is None else seen
    if folder.resolve() in seen:  # a link to a folder above it
        return []
    seen.add(folder.resolve())
    with os.scandir(folder) as entries:
        names = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    files = [folder / name for name, is_dir in names if not is_dir]
    clips = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if not clips and any(path.suffix.lower() in FRAME_SUFFIXES for path in files):
        return [folder]
    return clips + [clip for name, is_dir in names if is_dir for clip in _clips_below(folder / name, seen)]


def shown_path(path: Path) -> str:
    """A path as text that any file and terminal takes, also where the name of the file is no text."""
    return str(path).encode(errors="surrogateescape").decode(errors="replace")
