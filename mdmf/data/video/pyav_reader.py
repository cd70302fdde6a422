"""Frames of a video file by number, decoded with PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mdmf.data.video.av_stream import decoded_frames, open_video_stream
from mdmf.data.video.packets import INDEXED_FORMATS, PacketTable
from mdmf.data.video.reader import VideoError, VideoReader

# Decoding a few unused frames is faster than a seek.
_FRAMES_WORTH_A_SEEK = 8

Run = tuple[int, list[int]]


class PyavReader(VideoReader):
    """Reader that decodes from the last reliable key frame before a requested frame, or from the start."""

    def __init__(self, path: Path, table: PacketTable) -> None:
        super().__init__(path, n_frames=table.n_frames, fps=table.fps)
        self._table = table

    def _read_sorted(self, numbers: list[int]) -> list[np.ndarray]:
        if numbers[-1] >= self._table.n_readable:
            raise VideoError(self.path, f"{self._table.cut_reason()} (frame {numbers[-1]} was requested)")
        frames: dict[int, np.ndarray] = {}
        with open_video_stream(self.path) as (container, stream):
            for start, requested in decoding_runs(numbers, self._table.starts):
                frames |= self._read_run(container, stream, start, requested)
        return [frames[number] for number in numbers]

    def _read_run(
        self, container: InputContainer, stream: VideoStream, start: int, requested: list[int]
    ) -> dict[int, np.ndarray]:
        frames: dict[int, np.ndarray] = {}
        for number, frame in self._numbered_frames(container, stream, start):
            if number in requested:
                frames[number] = self._picture(number, frame)
            if number >= requested[-1]:
                break
        missing = [number for number in requested if number not in frames]
        if missing:
            raise VideoError(self.path, f"the file is damaged: frame {missing[0]} of {self.n_frames} cannot be decoded")
        return frames

    def _numbered_frames(
        self, container: InputContainer, stream: VideoStream, start: int
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Numbers and frames from the key frame `start` on."""
        times = self._table.times
        if times is None:
            pass_damage = self._table.format not in INDEXED_FORMATS
            yield from enumerate(decoded_frames(self.path, container, stream, pass_leading_damage=pass_damage))
            return
        if start > 0:
            container.seek(int(times[start]), stream=stream)
        number_at = {int(time): number for number, time in enumerate(times)}
        for frame in decoded_frames(self.path, container, stream, pass_leading_damage=False):
            if frame.pts in number_at:
                yield number_at[frame.pts], frame

    def _picture(self, number: int, frame: VideoFrame) -> np.ndarray:
        """The picture (H, W, 3) uint8, with the rotation stored in the file."""
        if frame.is_corrupt:
            raise VideoError(self.path, f"the file is damaged: frame {number} of {self.n_frames} is incomplete")
        picture = frame.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(picture, k=round(frame.rotation / 90)))


def decoding_runs(numbers: list[int], starts: np.ndarray) -> list[Run]:
    """Frames that are decoded together: (number of the key frame to start from, ascending requested frames).

    A new run starts if it skips enough frames to be faster than decoding them.
    """
    runs: list[Run] = []
    for number in numbers:
        start = int(starts[np.searchsorted(starts, number, side="right") - 1])
        if not runs:
            runs.append((start if start > _FRAMES_WORTH_A_SEEK else 0, [number]))
        elif start > runs[-1][1][-1] + _FRAMES_WORTH_A_SEEK:
            runs.append((start, [number]))
        else:
            runs[-1][1].append(number)
    return runs
