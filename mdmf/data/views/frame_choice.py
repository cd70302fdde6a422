"""Which frames of a video are looked at. All functions give frame numbers, counted from 0 in presentation order."""

from __future__ import annotations

import numpy as np

FRAME_RULES = ("uniform", "linspace_inner")
SHORT_POLICIES = ("repeat", "refuse")


def choose_frames(n_available: int, n_frames: int, *, rule: str = "uniform", short: str = "repeat") -> np.ndarray:
    """The `n_frames` = T frames that stand for a video.

    - `uniform`: the centre of each of T equal segments, `floor((t + 0.5) * n / T)`.
    - `linspace_inner`: the integer part of `linspace(1, n - 2, T)`, kept inside the video: it leaves out the first and
      the last frame (the published code's choice). Of a video of two frames it takes both, the second one once.

    Args:
        n_available: frames of the video, n.
        n_frames: frames wanted, T.
        rule: `uniform` or `linspace_inner`.
        short: what happens to a video with n < T: `repeat` lets the rule repeat frames, `refuse` is an error.

    Returns:
        (T,) int64, non-decreasing.

    Raises:
        ValueError: for a video without frames, T < 1, an unknown rule or policy, or a short video under `refuse`.
    """
    _check_counts(n_available, n_frames)
    if rule not in FRAME_RULES:
        raise ValueError(f"unknown frame rule {rule!r}; expected one of {FRAME_RULES}")
    if short not in SHORT_POLICIES:
        raise ValueError(f"unknown policy for short videos {short!r}; expected one of {SHORT_POLICIES}")
    if short == "refuse" and n_available < n_frames:
        raise ValueError(
            f"the video has {n_available} frames, fewer than the T = {n_frames} asked for; "
            "take a smaller T or let short videos repeat frames (short='repeat')"
        )
    if rule == "uniform":
        return (2 * np.arange(n_frames, dtype=np.int64) + 1) * n_available // (2 * n_frames)
    inner = np.linspace(1, n_available - 2, n_frames).astype(np.int64)
    return np.sort(np.clip(inner, 0, n_available - 1))  # with n < 3 the line runs backwards


def jitter_frames(n_available: int, n_frames: int, *, rng: np.random.Generator) -> np.ndarray:
    """One random frame in each of `n_frames` = T equal segments: `floor((t + u) * n / T)`, u uniform in [0, 1).

    Returns:
        (T,) int64, non-decreasing; a video with n < T repeats frames.

    Raises:
        ValueError: for a video without frames, or T < 1.
    """
    _check_counts(n_available, n_frames)
    segments = np.arange(n_frames, dtype=np.int64)
    positions = (segments + rng.random(n_frames)) * n_available / n_frames
    last_of_segment = -(-(segments + 1) * n_available // n_frames) - 1
    return np.minimum(positions.astype(np.int64), last_of_segment)  # rounding can lift u = 1 - 1e-16 over the edge


def _check_counts(n_available: int, n_frames: int) -> None:
    if n_available < 1:
        raise ValueError(f"a video needs at least 1 frame, got n_available = {n_available}")
    if n_frames < 1:
        raise ValueError(f"at least 1 frame must be asked for, got n_frames = {n_frames}")
