"""The frames of a long video in order, decoded once, without holding all of them in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mdmf.data.video.av_stream import open_video_stream
from mdmf.data.video.frame_folder import FrameFolderReader
from mdmf.data.video.packets import read_packet_table
from mdmf.data.video.pyav_reader import PyavReader, decoding_runs
from mdmf.data.video.reader import VideoError

NumberedFrame = tuple[int, np.ndarray]


class FrameStream(Protocol):
    """A video that is read in order.

    Attributes:
        n_frames: number of frames.
        seconds: (n_frames,) time of each frame after the first one; None if unknown.
    """

    n_frames: int
    seconds: np.ndarray | None

    def stream(self, numbers: Sequence[int]) -> Iterator[NumberedFrame]:
        """Numbers and frames (H, W, 3) uint8, for ascending, distinct numbers."""


class FileStream(PyavReader):
    """A video file, decoded with PyAV, because decord cannot continue from its position in every file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, read_packet_table(path))
        self.seconds: np.ndarray | None = self._frame_seconds()

    def stream(self, numbers: Sequence[int]) -> Iterator[NumberedFrame]:
        """Numbers and frames, for ascending, distinct numbers; each part of the file is decoded once.

        Raises:
            VideoError: if a frame cannot be decoded, or frames differ in size.
        """
        if numbers[-1] >= self._table.n_readable:
            raise VideoError(self.path, f"{self._table.cut_reason()} (frame {numbers[-1]} was requested)")
        yield from _of_one_size(self.path, self._decoded(numbers))

    def _decoded(self, numbers: Sequence[int]) -> Iterator[NumberedFrame]:
        with open_video_stream(self.path) as (container, stream):
            for start, run in decoding_runs(list(numbers), self._table.starts):
                requested = iter(run)
                awaited = next(requested, None)
                for number, frame in self._numbered_frames(container, stream, start):
                    if awaited is None or number > awaited:
                        break
                    if number == awaited:
                        yield number, self._picture(number, frame)
                        awaited = next(requested, None)
                        if awaited is None:
                            break
                if awaited is not None:
                    raise VideoError(
                        self.path, f"the file is damaged: frame {awaited} of {self.n_frames} cannot be decoded"
                    )

    def _frame_seconds(self) -> np.ndarray | None:
        times = self._table.times
        if times is None:
            return None if not self.fps else np.arange(self.n_frames) / self.fps
        with open_video_stream(self.path) as (_, stream):
            if stream.time_base is None:
                return None
            return (times - times[0]) * float(stream.time_base)


class FolderStream(FrameFolderReader):
    """A folder of frame images, without times."""

    seconds: np.ndarray | None = None

    def stream(self, numbers: Sequence[int]) -> Iterator[NumberedFrame]:
        """Numbers and frames, for ascending, distinct numbers.

        Raises:
            VideoError: if an image cannot be read, or images differ in size.
        """
        yield from _of_one_size(self.path, ((number, self.read([number])[0]) for number in numbers))


def _of_one_size(path: Path, frames: Iterator[NumberedFrame]) -> Iterator[NumberedFrame]:
    """The frames; a change of size is an error, as in a clip that is read at once."""
    size: tuple[int, ...] | None = None
    for number, picture in frames:
        size = size or picture.shape
        if picture.shape != size:
            raise VideoError(path, f"frames differ in size: {size[:2]}, then {picture.shape[:2]}")
        yield number, picture


def open_stream(path: Path) -> FileStream | FolderStream:
    """A stream of a video file or of a folder of frame images, to be used as a context manager.

    Raises:
        VideoError: with the reason, if the video cannot be read.
    """
    return FolderStream(path) if path.is_dir() else FileStream(path)
