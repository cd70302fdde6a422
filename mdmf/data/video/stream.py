"""The frames of a long video in order, decoded once, without holding all of them in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mdmf.data.sources.loader import SourceView
from mdmf.data.sources.preprocess import resize_crop
from mdmf.data.sources.view_plan import ViewPlan
from mdmf.data.video.av_stream import open_video_stream
from mdmf.data.video.frame_folder import FrameFolderReader
from mdmf.data.video.packets import read_packet_table
from mdmf.data.video.pyav_reader import PyavReader, decoding_runs
from mdmf.data.video.reader import VideoError

CHUNK_FRAMES = 16  # 100 MB of full HD

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


@dataclass(frozen=True)
class _Chunk:
    """Frame numbers of one step, and what each source needs for them (ascending, different)."""

    numbers: np.ndarray
    needed: dict[str, np.ndarray]

    @property
    def all_needed(self) -> np.ndarray:
        return np.unique(np.concatenate(list(self.needed.values())))


def picture_chunks(
    video: FrameStream, numbers: np.ndarray, sources: Mapping[str, SourceView], *, chunk_frames: int = CHUNK_FRAMES
) -> Iterator[dict[str, np.ndarray]]:
    """What the encoders see of some frames, a few at a time, in one pass through the video.

    A frame's flow points to its neighbour in the whole video, not in a window of it.

    Args:
        numbers: (F,) ascending, different.
        sources: source -> what it asks for; no flow from disk.

    Yields:
        source -> (n, S, S, 3) uint8, for the next n numbers.

    Raises:
        VideoError: if a frame cannot be decoded.
        ValueError: if flow is asked of a single frame.
    """
    parts = np.split(numbers, range(chunk_frames, len(numbers), chunk_frames))
    chunks = [_Chunk(part, {name: _needed(part, asked, video) for name, asked in sources.items()}) for part in parts]
    every = np.unique(np.concatenate([chunk.all_needed for chunk in chunks]))
    # Flow at the end of a video looks back, so a frame is held until no later chunk asks for it.
    oldest = np.minimum.accumulate([chunk.all_needed[0] for chunk in reversed(chunks)])[::-1]
    frames = video.stream(every.tolist())
    held: dict[int, np.ndarray] = {}
    latest = -1
    for chunk, first_needed in zip(chunks, oldest.tolist(), strict=True):
        held = {number: frame for number, frame in held.items() if number >= first_needed}
        while latest < chunk.all_needed[-1]:
            latest, frame = next(frames)
            held[latest] = frame
        yield {source: _pictures(chunk, source, asked, video, held) for source, asked in sources.items()}


def _plan(numbers: np.ndarray, video: FrameStream) -> ViewPlan:
    return ViewPlan(video.n_frames, numbers[None], (), crop_scale_min=1.0, flip=False)


def _needed(numbers: np.ndarray, asked: SourceView, video: FrameStream) -> np.ndarray:
    if asked.flow is None:
        return numbers
    from mdmf.data.sources.flow import frame_pairs

    return np.unique(frame_pairs(_plan(numbers, video), asked.flow))


def _pictures(
    chunk: _Chunk, source: str, asked: SourceView, video: FrameStream, held: Mapping[int, np.ndarray]
) -> np.ndarray:
    """(n, S, S, 3) of one source."""
    needed = chunk.needed[source]
    if asked.flow is None:
        return np.stack([resize_crop(held[number], asked.preprocess) for number in needed.tolist()])
    from mdmf.data.sources.flow import computed_flow_views

    frames = np.stack([held[number] for number in needed.tolist()])
    plan = _plan(chunk.numbers, video)
    return computed_flow_views(needed, frames, plan=plan, rule=asked.flow, preprocess=asked.preprocess)[0]
