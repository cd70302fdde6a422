"""The interface of readers of frames, its checks, and the error for videos that cannot be read."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np


class VideoError(ValueError):
    """A video that cannot be read, with the reason as a readable sentence. It can be pickled."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


class VideoReader(ABC):
    """The frames of one video by number, 0 to `n_frames` - 1 in presentation order.

    A reader works only in the process that opened it: decord hangs in a fork, and no decoder can be pickled.

    Attributes:
        n_frames: number of frames. For an incomplete file it is the number of the complete one, so frames spread over
            the whole video are an error, and are not taken from the beginning without a warning.
        fps: average frames per second; None if unknown.
    """

    n_frames: int
    fps: float | None

    def __init__(self, path: Path, *, n_frames: int, fps: float | None) -> None:
        self.path = path
        self.n_frames = n_frames
        self.fps = fps
        self._process: int | None = os.getpid()

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Frames by number, in any order, possibly repeated; every part of the file is decoded at most once.

        Returns:
            (len(indices), H, W, 3) uint8, RGB.

        Raises:
            ValueError: for a number outside the video.
            VideoError: if a frame cannot be decoded, or frames differ in size.
            RuntimeError: if the reader was opened in another process, or is closed.
        """
        if self._process is None:
            raise RuntimeError(f"the reader of {self.path} is closed")
        if os.getpid() != self._process:
            raise RuntimeError(f"the reader of {self.path} was opened in another process; open it where it is used")
        numbers = self._checked(indices)
        distinct, places = np.unique(numbers, return_inverse=True)
        frames = self._read_sorted(distinct.tolist())
        self._check_one_size(distinct, frames)
        return np.stack([frames[place] for place in places])

    @abstractmethod
    def _read_sorted(self, numbers: list[int]) -> list[np.ndarray]:
        """Frames (H, W, 3) of ascending, distinct numbers."""

    def close(self) -> None:
        """Close the file."""
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        numbers = np.asarray(indices)
        if numbers.ndim != 1 or numbers.size == 0 or not np.issubdtype(numbers.dtype, np.integer):
            raise ValueError(f"expected a non-empty list of whole frame numbers, got {indices!r}")
        if numbers.min() < 0 or numbers.max() >= self.n_frames:
            raise ValueError(
                f"{self.path.name} has frames 0 to {self.n_frames - 1}, "
                f"requested were {numbers.min()} to {numbers.max()}"
            )
        return numbers

    def _check_one_size(self, numbers: np.ndarray, frames: list[np.ndarray]) -> None:
        for number, frame in zip(numbers, frames, strict=True):
            if frame.shape != frames[0].shape:
                first, later = ("x".join(map(str, picture.shape[1::-1])) for picture in (frames[0], frame))
                raise VideoError(
                    self.path, f"frames differ in size: frame {numbers[0]} is {first}, frame {number} is {later}"
                )
