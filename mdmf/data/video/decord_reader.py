"""Frames of a video file by number, decoded with decord.

decord 0.6 is fast, but has known faults (issues of dmlc/decord), which this reader avoids:
- it counts packets as frames, and repeats the last frame for packets without one: the packet table has the number of
  frames, and `fault_tol` turns a repeated frame into an error;
- it uses the place of a key frame in the file as its number, and seeks to wrong frames if the two differ (open groups
  of pictures, MPEG-4 with B-frames): such files are decoded from the start;
- it may hang on files with missing frames: incomplete files are an error;
- it skips the first frames of MPEG transport streams: only MP4, Matroska, WebM and AVI are accepted;
- it hangs in a process forked after its use: it is imported when a reader is opened.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mdmf.data.video.packets import INDEXED_FORMATS, PacketTable
from mdmf.data.video.reader import VideoError, VideoReader

logger = logging.getLogger(__name__)

# decord reads a number below 1 as a share of all frames: no frame may be repeated.
_NO_REPEATED_FRAMES = 1e-9


class DecordReader(VideoReader):
    """Reader with decord.

    Raises:
        VideoError: for a file that decord cannot open, or whose end is missing.
        ImportError: if decord is not installed.
    """

    def __init__(self, path: Path, table: PacketTable) -> None:
        super().__init__(path, n_frames=table.n_frames, fps=table.fps)
        if table.is_cut:
            raise VideoError(path, table.cut_reason())
        if table.format not in INDEXED_FORMATS:
            raise VideoError(path, f"decord misses frames of '{table.format}' files; use decoder 'auto' or 'pyav'")
        self._codec = table.codec
        self._decord = _import_decord()
        self._video = self._open()
        if len(self._video) < table.n_frames:
            raise VideoError(
                path, f"decord finds {len(self._video)} of its {table.n_frames} frames; use decoder 'auto' or 'pyav'"
            )
        self._is_seekable = table.is_seekable and len(self._video) == table.n_frames

    def close(self) -> None:
        super().close()
        self._video = None

    def _read_sorted(self, numbers: list[int]) -> list[np.ndarray]:
        try:
            return self._read_by_seeking(numbers) if self._is_seekable else self._read_from_start(numbers)
        except (self._decord.DECORDError, self._decord.DECORDLimitReachedError, StopIteration) as error:
            raise VideoError(self.path, f"the file is damaged: decord cannot decode it ({_reason(error)})") from error

    def _read_by_seeking(self, numbers: list[int]) -> list[np.ndarray]:
        return list(self._video.get_batch(numbers).asnumpy())

    def _read_from_start(self, numbers: list[int]) -> list[np.ndarray]:
        video = self._open()  # decord cannot rewind every file
        requested = set(numbers)
        frames = []
        for number in range(numbers[-1] + 1):
            frame = video.next()
            if number in requested:
                frames.append(frame.asnumpy())
        return frames

    def _open(self) -> Any:
        decord = self._decord
        try:
            return decord.VideoReader(str(self.path), ctx=decord.cpu(0), num_threads=1, fault_tol=_NO_REPEATED_FRAMES)
        except (decord.DECORDError, RuntimeError, AssertionError) as error:
            reason = f"decord cannot open this {self._codec} video ({_reason(error)}); use decoder 'auto' or 'pyav'"
            raise VideoError(self.path, reason) from error


def decord_is_installed() -> bool:
    """Whether decord can be imported; it has no wheels for macOS and ARM."""
    try:
        _import_decord()
    except ImportError as error:
        logger.debug("decord is not used: %s", error)
        return False
    return True


@cache
def _import_decord() -> ModuleType:
    try:
        import decord
    except (ImportError, OSError, RuntimeError) as error:  # the last two: its native library cannot be loaded
        raise ImportError(
            f"decord cannot be imported ({error}); install it, or use decoder 'auto' or 'pyav'"
        ) from error
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def _reason(error: BaseException) -> str:
    """The message of decord without its time and source line."""
    return re.sub(r"\[[0-9:]+\] \S+\.cc:[0-9]+: ", "", str(error).split("\n")[0]).strip() or type(error).__name__
