"""Sliding windows over a long video: their times, and the frames that are encoded for each."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mdmf.data.views.frame_choice import choose_frames
from mdmf.structures import ViewRule

_TOLERANCE = 1e-6  # seconds; times are sums of rounded numbers
_MOST_WINDOWS_PER_FRAME = 2  # a stride shorter than half a frame would only repeat the same frames


class Moment(NamedTuple):
    """The part of a clip that one window shows.

    `end_frame` is the first frame after it. The seconds are None if the clip has no frame times. All values are None
    for a clip that cannot be read.
    """

    first_frame: int | None = None
    end_frame: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None


NO_MOMENT = Moment()


@dataclass(frozen=True)
class WindowRule:
    """Length and stride of windows, both in seconds (`unit` `s`) or both in frames (`f`)."""

    length: float
    stride: float
    unit: str

    @classmethod
    def parse(cls, window: str, stride: str | None = None) -> WindowRule:
        """The rule of `2s` (seconds) or `48f` (frames); the default stride is half of the window.

        Raises:
            ValueError: for another form, two units, or a stride longer than the window.
        """
        length, unit = _read(window, "window")
        if stride is None:
            return cls(length, length / 2 if unit == "s" else max(1, length // 2), unit)
        step, step_unit = _read(stride, "stride")
        if step_unit != unit:
            raise ValueError(f"window and stride need the same unit, got {window!r} and {stride!r}")
        if step > length:
            raise ValueError(f"a stride of {stride} leaves out moments between windows of {window}; take a smaller one")
        return cls(length, step, unit)

    def __str__(self) -> str:
        return f"{self.length:g}{self.unit} every {self.stride:g}{self.unit}"


def _read(text: str, name: str) -> tuple[float, str]:
    """The number and the unit; a number larger than any video is long is refused."""
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?([sf])", text.strip())
    if match is None or not float(match[1]) > 0 or float(match[1]) > 1e9 or (match[2] == "f" and float(match[1]) % 1):
        raise ValueError(
            f"cannot read the {name} {text!r}; write seconds, as in 2s or 0.5s, or whole frames, as in 48f"
        )
    return float(match[1]), match[2]


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of one video, in order.

    Attributes:
        numbers: (W, T) the frames that are encoded for each window.
        first_frame, end_frame: (W,) see `Moment`.
        start_seconds, end_seconds: (W,) counted from the first frame of the video; not a number for unknown times.
    """

    numbers: np.ndarray
    first_frame: np.ndarray
    end_frame: np.ndarray
    start_seconds: np.ndarray
    end_seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def moments(self) -> list[Moment]:
        """The frames and seconds of each window."""
        columns = (self.first_frame, self.end_frame, self.start_seconds, self.end_seconds)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [Moment(*(None if math.isnan(value) else value for value in row)) for row in rows]


def plan_windows(
    rule: WindowRule,
    n_available: int,
    *,
    seconds: np.ndarray | None,
    view_rule: ViewRule,
) -> Windows:
    """Windows that begin every `stride`; the last one is moved back so that it ends with the video.

    A video that is shorter than a window is one window. Windows in seconds use the times of the frames, so a variable
    frame rate shifts no window; a window in which no frame begins gets the frame that is shown at its start.

    Args:
        n_available: frames of the video.
        seconds: (n_available,) when each frame is shown, from the first one on; None: unknown.
        view_rule: which frames stand for a window.

    Raises:
        ValueError: if the windows are in seconds and the times are unknown, or as `choose_frames`.
    """
    if rule.unit == "s":
        if seconds is None:
            raise ValueError("it does not say how many frames a second has; give the window in frames, as in 48f")
        spans = _time_spans(rule, seconds)
        frames = np.array([_frames_shown(seconds, start, end) for start, end in spans])
    else:
        frames = _frame_spans(int(rule.length), int(rule.stride), n_available)
        spans = np.full(frames.shape, np.nan) if seconds is None else _shown_until(seconds)[frames]
    T, frame_rule, short = view_rule.n_frames, view_rule.frame_rule, view_rule.short
    numbers = [first + choose_frames(end - first, T, rule=frame_rule, short=short) for first, end in frames.tolist()]
    return Windows(np.stack(numbers), frames[:, 0], frames[:, 1], spans[:, 0], spans[:, 1])


def _shown_until(seconds: np.ndarray) -> np.ndarray:
    """(n + 1,) times of the frames, and the end of the last one, which is shown for the median time of a frame."""
    last = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    return np.append(seconds, seconds[-1] + last)


def _time_spans(rule: WindowRule, seconds: np.ndarray) -> np.ndarray:
    """(W, 2) starts and ends in seconds."""
    duration = float(_shown_until(seconds)[-1])
    if duration <= rule.length + _TOLERANCE:
        return np.array([[0.0, duration]])
    if duration / rule.stride > _MOST_WINDOWS_PER_FRAME * len(seconds):
        raise ValueError(
            f"a window every {rule.stride:g} s is far more often than a frame ({len(seconds)} in {duration:.3g} s); "
            f"take a longer stride"
        )
    n_whole = int((duration - rule.length + _TOLERANCE) / rule.stride) + 1
    starts = np.arange(n_whole) * rule.stride
    if seconds[-1] >= starts[-1] + rule.length - _TOLERANCE:  # there are frames after the last window
        starts = np.append(starts, duration - rule.length)
    return np.stack([starts, np.minimum(starts + rule.length, duration)], axis=1)


def _frames_shown(seconds: np.ndarray, start: float, end: float) -> tuple[int, int]:
    """The first frame of a time span, and the first one after it."""
    first, after = np.searchsorted(seconds, [start - _TOLERANCE, end - _TOLERANCE]).tolist()
    return (first, after) if first < after else (max(first - 1, 0), max(first, 1))


def _frame_spans(length: int, stride: int, n_available: int) -> np.ndarray:
    """(W, 2) first frames and ends."""
    starts = np.arange(0, max(n_available - length, 0) + 1, stride)
    if starts[-1] + length < n_available:
        starts = np.append(starts, n_available - length)
    return np.stack([starts, np.minimum(starts + length, n_available)], axis=1)
