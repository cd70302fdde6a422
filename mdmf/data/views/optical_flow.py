"""Optical flow between two frames, and the picture of it that an image encoder takes. numpy and OpenCV only.

A flow is (h, w, 2) float32: how far each pixel of the first frame has moved in the second one, x to the right and y
down, in pixels of the size at which it was computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

# Length of each passage of Middlebury's wheel, and the colours between which it passes (Baker et al., "A Database and
# Evaluation Methodology for Optical Flow", IJCV 2011, and the colour code published with it).
_WHEEL_PASSAGES = (15, 6, 4, 11, 13, 6)
_WHEEL_COLOURS = ((255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255), (255, 0, 0))

# In small frames DIS chooses its scales from the width alone and then reads outside of frames such as 12 x 100: the
# process dies (opencv/opencv#14554, back in 5.0). Padded frames at full resolution leave it no choice; at half the
# resolution, its preset, frames of 16 x 60 also have three times the error.
_DIS_SMALLEST_SIDE = 16
_DIS_FULL_RESOLUTION_BELOW = 128

_GRID_POINTS_PER_SIDE = 32
_MIN_HOMOGRAPHY_POINTS = 16
_MIN_HOMOGRAPHY_INLIERS = 0.25
# Pixels. An object moves only a few pixels from frame to frame; OpenCV's usual 3 would count it to the background.
_RANSAC_THRESHOLD = 1.0


def check_flow_method(method: str) -> None:
    """See whether the installed OpenCV has a method, before any video is opened.

    Raises:
        ImportError: if it has not; says what to install.
    """
    if method == "tvl1" and not hasattr(cv2, "optflow"):
        raise ImportError(
            "flow method 'tvl1' is not in the installed OpenCV; `pip uninstall opencv-python-headless`, then "
            "`pip install opencv-contrib-python-headless`, or choose dis or farneback"
        )


def optical_flow(
    first: np.ndarray, second: np.ndarray, *, method: str = "dis", camera: str = "keep", short_side: int = 256
) -> np.ndarray:
    """Flow from one frame to another, the camera's motion taken off; it is not clipped yet.

    Args:
        first: (H, W, 3) uint8, RGB.
        second: (H, W, 3) uint8, RGB.
        method: `dis`, `farneback`, or `tvl1` (needs opencv-contrib).
        camera: see `remove_camera_motion`.
        short_side: frames are shrunk, never enlarged, until their shortest side is at most this many pixels.

    Returns:
        (h, w, 2) float32, pixels of the shrunk frame from `first` to `second`.

    Raises:
        ValueError: if the frames are no pictures of one size, or OpenCV fails on them.
        ImportError: if the method needs an OpenCV that is not installed.
    """
    _check_frames(first, second)
    compute = {"dis": _dis_flow, "farneback": _farneback_flow, "tvl1": _tvl1_flow}[method]
    try:
        flow = compute(_shrunk_grey(first, short_side), _shrunk_grey(second, short_side))
        return remove_camera_motion(np.asarray(flow, dtype=np.float32), camera)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot compute the flow of these frames: {' '.join(str(error).split())}") from error


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV on one thread: decode workers run side by side, and flow must not depend on the number of threads."""
    n_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(n_threads)


def remove_camera_motion(flow: np.ndarray, camera: str) -> np.ndarray:
    """What is left of a flow without the motion of the camera.

    `keep` takes nothing off, `median` the median x and median y. `homography` fits a plane's motion to a grid of points
    by RANSAC; in frames too small for it, or where fewer than a quarter of the points follow one plane, it is `median`.

    Args:
        flow: (h, w, 2).

    Returns:
        (h, w, 2) float32.

    Raises:
        ValueError: if the flow is of another shape or not finite.
    """
    _check_flow(flow)
    if camera == "keep":
        return flow.astype(np.float32, copy=False)
    motion = _plane_motion(flow) if camera == "homography" else None
    if motion is None:
        motion = np.median(flow, axis=(0, 1))
    return (flow - motion).astype(np.float32)


def draw_flow(flow: np.ndarray, *, clip: float, drawing: str) -> np.ndarray:
    """A flow as a picture; displacements longer than `clip` are drawn as ones of that length in the same direction.

    `wheel`: the direction is a colour of Middlebury's wheel, the length its saturation; rest is white. The wheel has
    its published small seam: motion to the right and a hair upwards is 43 levels bluer than motion to the right.
    `channels`: red is x and green is y, -clip to clip as 0 to 255 with rest at 128; blue is the length, 0 to 255.

    Args:
        flow: (h, w, 2), x to the right and y down.
        clip: pixels.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        ValueError: if the flow is of another shape or not finite.
    """
    _check_flow(flow)
    x, y = flow[..., 0].astype(np.float64), flow[..., 1].astype(np.float64)
    length = np.hypot(x, y)
    if drawing == "wheel":
        return _wheel_picture(x, y, radius=np.minimum(length / clip, 1))
    shrink = 1 / np.maximum(length, clip)  # to [-1, 1]
    return _to_bytes(np.stack([(1 + x * shrink) / 2, (1 + y * shrink) / 2, length * shrink], axis=-1))


def mirror_flow(flow: np.ndarray) -> np.ndarray:
    """The flow of frames mirrored left to right: its columns reversed and x negated.

    Args:
        flow: (h, w, 2).

    Returns:
        (h, w, 2), the flow's type.
    """
    mirrored = flow[:, ::-1].copy()
    np.negative(mirrored[..., 0], out=mirrored[..., 0])
    return mirrored


def _check_frames(first: np.ndarray, second: np.ndarray) -> None:
    for frame in (first, second):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise ValueError(f"expected frames of shape (H, W, 3) and type uint8, got {frame.shape} {frame.dtype}")
    if first.shape != second.shape:
        raise ValueError(f"optical flow needs two frames of one size, got {first.shape} and {second.shape}")


def _check_flow(flow: np.ndarray) -> None:
    if flow.ndim != 3 or flow.shape[2] != 2 or 0 in flow.shape:
        raise ValueError(f"expected a flow of shape (h, w, 2), got {flow.shape}")
    if not np.isfinite(flow).all():
        raise ValueError(f"expected a finite flow, got {np.count_nonzero(~np.isfinite(flow))} infinite or NaN values")


def _shrunk_grey(frame: np.ndarray, short_side: int) -> np.ndarray:
    """(H, W, 3) -> (h, w) with the shortest side at most `short_side`."""
    height, width = frame.shape[:2]
    scale = short_side / min(height, width)
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    if scale >= 1:
        return grey
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def _dis_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Kroeger et al., "Fast Optical Flow using Dense Inverse Search" (2016); frames under 16 pixels are padded."""
    height, width = first.shape
    down, right = max(0, _DIS_SMALLEST_SIDE - height), max(0, _DIS_SMALLEST_SIDE - width)
    if down or right:
        first, second = (
            cv2.copyMakeBorder(frame, 0, down, 0, right, cv2.BORDER_REPLICATE) for frame in (first, second)
        )
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if min(first.shape) < _DIS_FULL_RESOLUTION_BELOW:
        search.setFinestScale(0)
    return search.calc(first, second, None)[:height, :width]  # type: ignore[call-overload]


def _farneback_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion" (2003), 5 scales of half the size each."""
    return cv2.calcOpticalFlowFarneback(  # type: ignore[call-overload]
        first, second, None, pyr_scale=0.5, levels=5, winsize=15, iterations=3, poly_n=7, poly_sigma=1.5, flags=0
    )


def _tvl1_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Zach et al., "A Duality Based Approach for Realtime TV-L1 Optical Flow" (2007), with OpenCV's settings."""
    check_flow_method("tvl1")
    contrib: Any = cv2.optflow  # type: ignore[attr-defined]
    return contrib.DualTVL1OpticalFlow_create().calc(first, second, None)


def _plane_motion(flow: np.ndarray) -> np.ndarray | None:
    """Displacement (h, w, 2) of every pixel by the homography that most points follow; None where there is none."""
    height, width = flow.shape[:2]
    rows, columns = (
        np.unique(np.linspace(0, side - 1, min(side, _GRID_POINTS_PER_SIDE)).round().astype(int))
        for side in (height, width)
    )
    if min(len(rows), len(columns)) < 2 or len(rows) * len(columns) < _MIN_HOMOGRAPHY_POINTS:
        return None
    points = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2).astype(np.float64)  # x, y
    moved = points + flow[np.ix_(rows, columns)].reshape(-1, 2)
    homography, is_inlier = cv2.findHomography(points, moved, cv2.RANSAC, _RANSAC_THRESHOLD)
    if homography is None or np.mean(is_inlier) < _MIN_HOMOGRAPHY_INLIERS:
        return None
    return _displacement(homography, height, width)


def _displacement(homography: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """Where a homography moves each pixel, less where it was: (h, w, 2); None if it takes a pixel to infinity."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    places = np.stack([x, y, np.ones_like(x)], axis=-1) @ homography.T  # (h, w, 3) homogeneous
    depth = places[..., 2:]
    if not (np.isfinite(places).all() and depth.min() > 0):
        return None
    return places[..., :2] / depth - np.stack([x, y], axis=-1)


@cache
def _wheel() -> np.ndarray:
    """(55, 3) colours of Middlebury's wheel in [0, 1]; as published, whole levels, rounded down within a passage."""
    passages = []
    for length, (start, end) in zip(_WHEEL_PASSAGES, pairwise(_WHEEL_COLOURS), strict=True):
        change = np.sign(np.subtract(end, start))
        passages.append(start + change * (255 * np.arange(length) // length)[:, None])
    return np.concatenate(passages) / 255


def _wheel_picture(x: np.ndarray, y: np.ndarray, *, radius: np.ndarray) -> np.ndarray:
    """(h, w) each, radius in [0, 1] -> (h, w, 3) uint8. Adding 0 makes -0 to 0, or rest in y would cross the seam."""
    wheel = _wheel()
    place = (np.arctan2(-(y + 0.0), -(x + 0.0)) / np.pi + 1) / 2 * (len(wheel) - 1)
    before = place.astype(int)
    part = (place - before)[..., None]
    colour = (1 - part) * wheel[before] + part * wheel[(before + 1) % len(wheel)]
    return _to_bytes(1 - radius[..., None] * (1 - colour))


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    """[0, 1] -> 0..255, to the nearest level, halves up."""
    return np.floor(picture * 255 + 0.5).astype(np.uint8)
