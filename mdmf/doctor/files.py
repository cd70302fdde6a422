"""The data doctor on the files themselves: unreadable, empty, the same content twice; recordings in two splits."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from mdmf.data.video.opening import FRAME_SUFFIXES
from mdmf.doctor.findings import Example, Finding, example_of, finding_about
from mdmf.structures import VideoRecord

_HEAD_BYTES = 1 << 16  # hashed first: two videos of one size mostly differ there
_CHUNK_BYTES = 1 << 20
_N_THREADS = 8  # they wait for the disk
_PATHS_PER_TASK = 64

_DUPLICATES = {
    "duplicate-across-splits": ("error", "are in two splits under two names: what is tested was trained on"),
    "duplicate-across-classes": ("error", "are in two classes: one of the two labels is wrong"),
    "duplicate": ("warning", "are in their class twice: one may be support and the other query of an episode"),
}

Result = TypeVar("Result")


class FileFacts(NamedTuple):
    """What a look from outside tells of a video: a file, or a folder of `n_frames` images.

    `n_bytes` is its size, of a folder that of all images, of which `n_empty` have none; with a `problem` all are 0.
    """

    n_bytes: int = 0
    n_frames: int | None = None
    n_empty: int = 0
    problem: str = ""


def look_at_files(records: Sequence[VideoRecord], *, progress: bool = False) -> list[FileFacts]:
    """The facts of each video, in order."""
    return list(_in_threads(_facts, [record.path for record in records], "looking at files", progress))


def file_findings(records: Sequence[VideoRecord], facts: Sequence[FileFacts]) -> Iterator[Finding]:
    """Videos that cannot be opened, and files without content."""
    unreadable, empty = [], []
    for record, fact in zip(records, facts, strict=True):
        if fact.problem:
            unreadable.append(example_of(record, fact.problem))
        elif fact.n_empty:
            what = "0 bytes" if fact.n_frames is None else f"{fact.n_empty} of {fact.n_frames} images have 0 bytes"
            empty.append(example_of(record, what))
    yield from unreadable_finding(unreadable)
    message = "videos are empty (0 bytes); copy or download them again, or remove them"
    yield from finding_about(empty, "error", "empty", message)


def unreadable_finding(examples: Sequence[Example]) -> Iterator[Finding]:
    """Videos that cannot be read, if there are any."""
    message = "videos cannot be read; no episode will hold them: mend or remove them"
    yield from finding_about(examples, "error", "unreadable", message)


def short_finding(videos: Iterable[tuple[VideoRecord, int]], *, n_frames: int, policy: str) -> Iterator[Finding]:
    """Videos of fewer than `n_frames` = T frames; under the policy `refuse` they are lost, which changes a result.

    Args:
        videos: every video whose frames are known, and how many they are.
        n_frames: T.
        policy: `repeat` or `refuse`.
    """
    short = [example_of(record, f"{count} frames") for record, count in videos if count < n_frames]
    what = "no episode will hold them" if policy == "refuse" else "their frames are repeated"
    message = f"videos have fewer than T = {n_frames} frames: {what} (frames.short_videos={policy})"
    yield from finding_about(short, "error" if policy == "refuse" else "warning", "short", message)


def duplicate_findings(
    records: Sequence[VideoRecord], facts: Sequence[FileFacts], *, progress: bool = False
) -> Iterator[Finding]:
    """Videos with the same content: across splits and across classes an error, within a class a warning.

    Only files of one size are read, first their beginnings, then all of them.
    """
    whole = [pair for pair in zip(records, facts, strict=True) if not pair[1].problem and not pair[1].n_empty]
    of_one_size = _groups([record for record, _ in whole], [(fact.n_frames, fact.n_bytes) for _, fact in whole])
    begin_alike = _same_content(of_one_size, partial(_hash, n_bytes=_HEAD_BYTES), "comparing beginnings", progress)
    same = _same_content(begin_alike, partial(_hash, n_bytes=None), "comparing contents", progress)
    by_code: dict[str, list[Example]] = {}
    for first, *copies in same:
        examples = [example_of(copy, f"is {first.video_id} ({first.split}, {first.class_name})") for copy in copies]
        by_code.setdefault(_duplicate_code([first, *copies]), []).extend(examples)
    for code, (level, what) in _DUPLICATES.items():
        yield from finding_about(by_code.get(code, []), level, code, f"videos {what}; remove one of each")


def group_findings(records: Sequence[VideoRecord], *, within_class: bool, is_published: bool) -> Iterator[Finding]:
    """Source recordings that have videos in two splits, and videos whose recording is not known.

    Args:
        records: the videos.
        within_class: a group's name is only unique in its class (UCF101's g01): it cannot be in two splits.
        is_published: the splits are a published protocol, which is as it is: then it is said, not warned of.
    """
    level = "info" if is_published else "warning"
    grouped = [record for record in records if record.group is not None]
    unknown = [example_of(record) for record in records if record.group is None] if grouped else []
    yield from finding_about(unknown, level, "no-group", "videos have no known source recording; the others have one")
    shared = []
    for group in _groups(grouped, [record.group for record in grouped]):
        splits = sorted({record.split for record in group})
        if len(splits) > 1 and not within_class:
            shared.append(Example(video=str(group[0].group), detail=f"{len(group)} videos in {', '.join(splits)}"))
    message = "source recordings have videos in more than one split: places and people are known from training"
    if not is_published:
        message += "; move whole recordings, or say so with the result"
    yield from finding_about(shared, level, "group-in-two-splits", message)


def _facts(path: Path) -> FileFacts:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            files = _images(path)
            problem = "" if files else "the folder holds no frame images"
            sizes = [file.stat().st_size for file in files]
            return FileFacts(sum(sizes), len(files), sizes.count(0), problem)
        if not os.access(path, os.R_OK):
            return FileFacts(problem="no permission to read it")
        return FileFacts(status.st_size, n_empty=int(status.st_size == 0))
    except OSError as error:  # a dangling link, a folder that may not be listed
        return FileFacts(problem=error.strerror or type(error).__name__)


def _images(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.suffix.lower() in FRAME_SUFFIXES and file.name[0] != "."]
    return sorted(files)


def _groups(records: Sequence[VideoRecord], keys: Iterable[Hashable]) -> list[list[VideoRecord]]:
    """Records with the same key, where there are at least two."""
    by_key: dict[Hashable, list[VideoRecord]] = {}
    for record, key in zip(records, keys, strict=True):
        by_key.setdefault(key, []).append(record)
    return [group for group in by_key.values() if len(group) > 1]


def _same_content(
    groups: Sequence[Sequence[VideoRecord]], hash_of: Callable[[Path], str], what: str, progress: bool
) -> list[list[VideoRecord]]:
    """The groups, parted by a hash; what cannot be read has no hash and is left out."""
    flat = [(number, record) for number, group in enumerate(groups) for record in group]
    hashes = list(_in_threads(hash_of, [record.path for _, record in flat], what, progress))
    read = [(number, record, found) for (number, record), found in zip(flat, hashes, strict=True) if found]
    return _groups([record for _, record, _ in read], [(number, found) for number, _, found in read])


def _duplicate_code(group: Sequence[VideoRecord]) -> str:
    if len({record.split for record in group}) > 1:
        return "duplicate-across-splits"
    return "duplicate-across-classes" if len({record.class_name for record in group}) > 1 else "duplicate"


def _hash(path: Path, n_bytes: int | None) -> str:
    """Of the first bytes of a file, or of the first image of a folder; of all there is with None. "": unreadable."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        files = _images(path) if path.is_dir() else [path]
        for file in files[: None if n_bytes is None else 1]:
            with file.open("rb") as opened:
                while chunk := opened.read(n_bytes or _CHUNK_BYTES):
                    digest.update(chunk)
                    if n_bytes is not None:
                        break
    except OSError:
        return ""
    return digest.hexdigest()


def _in_threads(act: Callable[[Path], Result], paths: Sequence[Path], what: str, progress: bool) -> Iterator[Result]:
    """The results in order; a thread takes many paths at a time, since one alone is soon done."""

    def act_on(chunk: Sequence[Path]) -> list[Result]:
        return [act(path) for path in chunk]

    chunks = [paths[start : start + _PATHS_PER_TASK] for start in range(0, len(paths), _PATHS_PER_TASK)]
    with ThreadPoolExecutor(_N_THREADS) as threads, tqdm(total=len(paths), desc=what, disable=not progress) as bar:
        for results in threads.map(act_on, chunks):
            bar.update(len(results))
            yield from results
