"""Making a feature store: by any number of processes at once, each of which may die at any moment.

The videos are cut into chunks of consecutive rows. A process claims a chunk by a file lock (which the system releases
if the process dies), writes its features, and only then its record `progress/<chunk>.json`: a chunk without a record
is done again. The process that finds all records writes the table and the manifest, under the store's lock, and
removes `progress/`. `features.npy` is made whole before the first chunk; every other file is replaced whole.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

import mdmf
from mdmf.data.features.store import (
    COLUMNS,
    FEATURES,
    FORMAT,
    MANIFEST,
    N_EXAMPLES,
    VIDEOS,
    StoreSettings,
    VideoTable,
    check_same_settings,
    check_videos,
    open_features,
    read_manifest,
    read_table,
    write_atomically,
)
from mdmf.files import is_partial
from mdmf.structures import VideoRecord

PROGRESS, STORE_LOCK = "progress", "store.lock"
_UNFINISHED_FEATURES = f"{FEATURES}.tmp"
TARGET_NORM = 10.0
FRAMES_PER_CHUNK = 256  # what a SIGKILL can lose per process, against the number of record files
_LIBRARIES = (
    *("numpy", "torch", "decord", "av", "pillow", "open_clip_torch", "transformers", "safetensors", "h5py"),
    *("opencv-python-headless", "opencv-contrib-python-headless"),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoOutcome:
    """What became of a video: bad if there is a `reason`."""

    reason: str = ""
    n_frames: int | None = None
    fps: float | None = None


@dataclass(frozen=True)
class Claim:
    """A chunk of rows that no other process works on until it is released (leaving `with` releases it)."""

    chunk: int
    rows: range
    lock: FileLock

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let others have the chunk; releasing twice does nothing."""
        self.lock.release()


class StoreBuilder:
    """A store in the making, shared by all processes that make it.

    Attributes:
        settings: what the store is made with.
        table: the videos in the order of their rows; their status is on disk once the store is finished.
        rows_per_chunk: videos of a chunk, the unit of work; the last chunk may have fewer.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], table: VideoTable) -> None:
        self.folder = folder
        self.settings = StoreSettings.from_json(manifest["settings"])
        self.table = table
        features = open_features(folder, manifest)
        self._shape: tuple[int, ...] = features.shape
        self._data_offset: int = features.offset
        self.rows_per_chunk = int(manifest["rows_per_chunk"])
        self._finished: set[int] = set()
        self._refresh()

    @classmethod
    def create_or_open(cls, folder: Path, *, settings: StoreSettings, records: Sequence[VideoRecord]) -> StoreBuilder:
        """Make the files of a new store, or go on with the one that is there (a finished one too).

        Raises:
            StoreMismatch: if the one there has other settings or videos.
            ValueError: for no records, a video id that comes twice, or a folder that is something else.
            OSError: if the disk is too small.
        """
        folder = Path(folder)
        _check_records(records)
        if not (folder / MANIFEST).is_file():
            _check_folder(folder)
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / STORE_LOCK):
                if not (folder / MANIFEST).is_file():  # another process may have been faster
                    _create(folder, settings, records)
        manifest = read_manifest(folder)
        check_same_settings(folder, manifest, settings)
        table = read_table(folder)
        check_videos(folder, table, records)
        return cls(folder, manifest, table)

    @property
    def complete(self) -> bool:
        """Whether the store is finished, by whichever process."""
        return bool(read_manifest(self.folder)["complete"])

    @property
    def n_finished(self) -> int:
        """Videos with a record, as far as this process has seen."""
        n_lacking = self.n_chunks * self.rows_per_chunk - len(self.table) if self.n_chunks - 1 in self._finished else 0
        return len(self._finished) * self.rows_per_chunk - n_lacking

    @property
    def n_chunks(self) -> int:
        """Units of work."""
        return math.ceil(len(self.table) / self.rows_per_chunk)

    def lacks(self, chunk: int) -> bool:
        """Whether a chunk has no record, as far as this process has seen."""
        return chunk not in self._finished

    def try_claim(self, chunk: int) -> Claim | None:
        """Claim a chunk, without waiting.

        Returns:
            None if the chunk is finished, or another process holds it: it `lacks` a record only in the second case.
        """
        if not self.lacks(chunk):
            return None
        progress = self.folder / PROGRESS
        progress.mkdir(exist_ok=True)
        lock = FileLock(progress / f"{chunk:06d}.lock")
        with contextlib.suppress(FileNotFoundError):  # the folder goes as another process finishes the store
            try:
                lock.acquire(blocking=False)
            except Timeout:
                return None
        if self._record_path(chunk).is_file() or self.complete:  # finished by another since the last look
            self._finished.add(chunk)
            lock.release()
        return Claim(chunk, self._rows(chunk), lock) if lock.is_locked else None

    def write(self, claim: Claim, features: np.ndarray, outcomes: Sequence[VideoOutcome]) -> None:
        """Store a chunk, then record it as finished.

        Args:
            claim: the chunk; its lock is still held afterwards.
            features: (rows of the chunk, A, T, D), float; those of bad videos are ignored and stored as zeros.
            outcomes: one a row. A good video whose features are not finite becomes bad.

        Raises:
            ValueError: if the features have another shape, or are too large for float16 (naming the video).
        """
        expected = (len(claim.rows), *self._shape[1:])
        if features.shape != expected or len(outcomes) != len(claim.rows):
            raise ValueError(
                f"expected features {expected} and {len(claim.rows)} outcomes, got {features.shape}, {len(outcomes)}"
            )
        outcomes = [_judged(outcome, of_video) for outcome, of_video in zip(outcomes, features, strict=True)]
        block = np.zeros(expected, dtype=np.float16)
        for place, (row, outcome) in enumerate(zip(claim.rows, outcomes, strict=True)):
            if not outcome.reason:
                block[place] = _to_float16(features[place], self.table.video_id[row])
        self._write_rows(claim.rows, block)
        norms = np.linalg.norm(block[:, 0].astype(np.float64), axis=-1).mean(axis=-1)  # (rows, T, D) -> (rows,)
        videos = [asdict(outcome) | {"mean_norm": norm} for outcome, norm in zip(outcomes, norms.tolist(), strict=True)]
        write_atomically(self._record_path(claim.chunk), json.dumps(videos))
        self._finished.add(claim.chunk)

    def finish(self) -> bool:
        """Finish the store if all its chunks are; it happens once, however many processes try.

        Returns:
            Whether the store is finished now.

        Raises:
            ValueError: if every video is bad; the records are dropped so that the next run tries again.
        """
        if not self.complete:
            self._refresh()
            if len(self._finished) < self.n_chunks:
                return False
            with FileLock(self.folder / STORE_LOCK):
                if not self.complete and not self._consolidate():
                    return False
        # `complete` never goes back: who still holds or waits for one of these locks finds that nothing is left to do.
        shutil.rmtree(self.folder / PROGRESS, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.folder / STORE_LOCK).unlink()
        return True

    def _consolidate(self) -> bool:
        """Records -> table and manifest. False if another process dropped the records meanwhile."""
        self._refresh()
        if len(self._finished) < self.n_chunks:
            return False
        videos = [video for chunk in range(self.n_chunks) for video in self._read_record(chunk)]
        norms = [video["mean_norm"] for video in videos if not video["reason"]]
        if not norms:
            self._refuse_all_bad(videos)
        mean_norm = math.fsum(norms) / len(norms)
        if mean_norm == 0:
            raise ValueError(
                f"the encoder gave nothing but zeros for the {len(norms)} readable videos of {self.folder}; "
                f"check its weights, then delete the folder to encode again"
            )
        _write_table(self.folder, self.table, videos)
        manifest = read_manifest(self.folder) | {
            "complete": True,
            "feature_scale": TARGET_NORM / mean_norm,
            "n_ok": len(norms),
            "n_bad": len(videos) - len(norms),
        }
        write_atomically(self.folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        return True

    def _refuse_all_bad(self, videos: Sequence[Mapping[str, Any]]) -> None:
        for chunk in range(self.n_chunks):
            self._record_path(chunk).unlink(missing_ok=True)
        source = self.settings.source
        reasons = [f"  {self.table.video_id[row]}: {video['reason']}" for row, video in enumerate(videos[:N_EXAMPLES])]
        raise ValueError(
            "\n".join([f"every one of the {len(videos)} videos is bad for {source!r}; the first of them:", *reasons])
            + f"\ncheck the data folder, the decoder setting and sources.{source}, then run again"
        )

    def _refresh(self) -> None:
        if self.complete:
            self._finished = set(range(self.n_chunks))
        else:
            self._finished = {int(path.stem) for path in (self.folder / PROGRESS).glob("*.json")}

    def _rows(self, chunk: int) -> range:
        start = chunk * self.rows_per_chunk
        return range(start, min(start + self.rows_per_chunk, len(self.table)))

    def _record_path(self, chunk: int) -> Path:
        return self.folder / PROGRESS / f"{chunk:06d}.json"

    def _read_record(self, chunk: int) -> list[dict[str, Any]]:
        return json.loads(self._record_path(chunk).read_text(encoding="utf-8"))

    def _write_rows(self, rows: range, block: np.ndarray) -> None:
        # Not through the memory map: on a full disk that ends the process by a signal, where a write raises OSError.
        with (self.folder / FEATURES).open("r+b") as file:
            file.seek(self._data_offset + rows.start * block[0].nbytes)
            file.write(block.tobytes())
            file.flush()
            os.fsync(file.fileno())


def _judged(outcome: VideoOutcome, features: np.ndarray) -> VideoOutcome:
    if outcome.reason or np.isfinite(features).all():
        return outcome
    return VideoOutcome("the encoder's features of it are not finite", outcome.n_frames, outcome.fps)


def _to_float16(features: np.ndarray, video_id: str) -> np.ndarray:
    largest, limit = float(np.abs(features).max()), float(np.finfo(np.float16).max)
    if largest > limit:
        raise ValueError(
            f"a feature of video {video_id!r} is {largest:g}, float16 holds up to {limit:g}; "
            f"scale the encoder's features down"
        )
    return features.astype(np.float16)


def _check_records(records: Sequence[VideoRecord]) -> None:
    if not records:
        raise ValueError("there are no videos to encode")
    seen: set[str] = set()
    for record in records:
        if record.video_id in seen:
            raise ValueError(f"video id {record.video_id!r} comes twice; every video needs its own")
        seen.add(record.video_id)


def _check_folder(folder: Path) -> None:
    """Refuse to mix a store with somebody's files; what a creation that was interrupted left is fine."""
    if folder.is_dir():
        known = {FEATURES, VIDEOS, PROGRESS, STORE_LOCK, MANIFEST, _UNFINISHED_FEATURES}
        foreign = sorted(path.name for path in folder.iterdir() if path.name not in known and not is_partial(path))
        if foreign:
            raise ValueError(
                f"{folder} is no feature store and holds other files ({foreign[0]!r}); give another folder"
            )


def _create(folder: Path, settings: StoreSettings, records: Sequence[VideoRecord]) -> None:
    if settings.feature_size is None:
        raise ValueError("a new feature store needs feature_size: load the encoder first")
    rule = settings.rule
    shape = (len(records), rule.n_variants, rule.n_frames, settings.feature_size)
    n_bytes, n_free = math.prod(shape) * 2, shutil.disk_usage(folder).free
    if n_bytes > n_free:
        raise OSError(f"the features need {n_bytes / 1e9:.1f} GB, the disk of {folder} has {n_free / 1e9:.1f} GB free")
    (folder / PROGRESS).mkdir(exist_ok=True)
    temporary = folder / _UNFINISHED_FEATURES
    np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
    temporary.replace(folder / FEATURES)
    _write_pending_table(folder, records)
    manifest = {
        "format": FORMAT,
        "complete": False,
        "settings": settings.to_json(),
        "shape": shape,
        "dtype": "float16",
        "rows_per_chunk": max(1, FRAMES_PER_CHUNK // (rule.n_variants * rule.n_frames)),
        "feature_scale": None,
        "versions": _versions(),
    }
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")  # last: with it the store exists


def _versions() -> dict[str, str]:
    versions = {"mdmf": mdmf.__version__}
    for library in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[library] = metadata.version(library)
    return versions


def _write_pending_table(folder: Path, records: Sequence[VideoRecord]) -> None:
    _write_csv(folder, ((r.video_id, r.class_name, r.group or "", "", "", "pending", "") for r in records))


def _write_table(folder: Path, table: VideoTable, videos: Sequence[Mapping[str, Any]]) -> None:
    names = zip(table.video_id, table.class_name, table.group, strict=True)
    _write_csv(
        folder,
        (
            (
                *named[:2],
                named[2] or "",
                video["n_frames"],
                video["fps"],
                "bad" if video["reason"] else "ok",
                video["reason"],
            )
            for named, video in zip(names, videos, strict=True)
        ),
    )


def _write_csv(folder: Path, lines: Iterator[tuple[Any, ...]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((row, *line) for row, line in enumerate(lines))
    write_atomically(folder / VIDEOS, text.getvalue())
