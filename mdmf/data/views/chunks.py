"""What the encoders see of the frames of a long video, a few frames at a time, in one pass through the video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mdmf.data.video.stream import FrameStream
from mdmf.data.views.loader import SourceView
from mdmf.data.views.view_plan import Footage, ViewPlan

CHUNK_FRAMES = 16  # 100 MB of full HD


@dataclass(frozen=True)
class _Chunk:
    """The plan of one step, and which frames each source needs for it (ascending, different)."""

    plan: ViewPlan
    needed: dict[str, np.ndarray]

    @property
    def all_needed(self) -> np.ndarray:
        return np.unique(np.concatenate(list(self.needed.values())))


def picture_chunks(
    video: FrameStream, numbers: np.ndarray, sources: Mapping[str, SourceView], *, chunk_frames: int = CHUNK_FRAMES
) -> Iterator[dict[str, np.ndarray]]:
    """The pictures of some frames, chunk by chunk.

    A frame's flow points to its neighbour in the whole video, not in a window of it.

    Args:
        numbers: (F,) ascending, different.
        sources: source -> what it asks for; all of them are made from frames.

    Yields:
        source -> (n, S, S, 3) uint8, for the next n numbers.

    Raises:
        VideoError: if a frame cannot be decoded.
        ValueError: if flow is asked of a single frame.
    """
    parts = np.split(numbers, range(chunk_frames, len(numbers), chunk_frames))
    chunks = [_chunk(ViewPlan(video.n_frames, part[None]), sources) for part in parts]
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
        yield {name: _pictures(chunk, name, view, held) for name, view in sources.items()}


def _chunk(plan: ViewPlan, sources: Mapping[str, SourceView]) -> _Chunk:
    return _Chunk(plan, {name: np.unique(view.source.needed_frames(plan)) for name, view in sources.items()})


def _pictures(chunk: _Chunk, name: str, view: SourceView, held: Mapping[int, np.ndarray]) -> np.ndarray:
    """(n, S, S, 3) of one source."""
    needed = chunk.needed[name]
    frames = np.stack([held[number] for number in needed.tolist()])
    return view.source.views(Footage("", chunk.plan, needed, frames), view.preprocess)[0]
