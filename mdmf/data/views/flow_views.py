"""Views of the flow of a video, cut as those of its frames are. Imports OpenCV: import it only where flow is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import cv2
import numpy as np

from mdmf.data.views.flow_files import FlowFolder
from mdmf.data.views.optical_flow import draw_flow, mirror_flow, neighbour_frames, optical_flow, remove_camera_motion
from mdmf.data.views.preprocess import CropBox, random_crop, resize_crop
from mdmf.data.views.view_plan import ViewPlan
from mdmf.structures import FlowRule, Preprocess


def frame_pairs(plan: ViewPlan, rule: FlowRule) -> np.ndarray:
    """(A*T, 2) numbers of the two frames whose flow stands for each frame of the plan.

    Raises:
        ValueError: if the video has fewer than 2 frames.
    """
    return np.stack(neighbour_frames(plan.numbers.ravel(), plan.n_available, rule.step), axis=-1)


def computed_flow_views(
    numbers: np.ndarray, frames: np.ndarray, *, plan: ViewPlan, rule: FlowRule, preprocess: Preprocess
) -> np.ndarray:
    """Views of flow that is computed from frames, once for each pair of frames.

    Args:
        numbers: (n,) the frames' numbers, ascending.
        frames: (n, H, W, 3) uint8, all those of `frame_pairs`.

    Returns:
        (A, T, S, S, 3) uint8.
    """
    pairs, places = np.unique(frame_pairs(plan, rule), axis=0, return_inverse=True)
    with _one_thread():
        flows = [optical_flow(frames[first], frames[second], rule) for first, second in np.searchsorted(numbers, pairs)]
    places = places.reshape(plan.numbers.shape)
    return _cut_views(
        flows, places, crops=plan.crops(frames.shape[1], frames.shape[2], preprocess), rule=rule, preprocess=preprocess
    )


def disk_flow_views(
    folder: FlowFolder,
    *,
    plan: ViewPlan,
    rule: FlowRule,
    preprocess: Preprocess,
    frame_size: tuple[int, int] | None,
) -> np.ndarray:
    """Views of flow that lies on disk.

    Flow i stands for frame i, the last one also for the last frame. Where the folder has another number of flows than
    this needs, as decoders count frames differently, the same parts of the video are shown.

    Args:
        frame_size: height and width of the video's frames; None where they are unknown: the flow's own.

    Returns:
        (A, T, S, S, 3) uint8.

    Raises:
        ValueError: if a flow cannot be read, or the folder is of less than half or more than twice the video.
    """
    n_expected = plan.n_available - 1
    if not n_expected / 2 <= folder.n_flows <= 2 * max(n_expected, 1):
        raise ValueError(
            f"there are {folder.n_flows} flows of a video of {plan.n_available} frames, expected about {n_expected}; "
            f"compute its flow again"
        )
    moments = plan.numbers * (folder.n_flows + 1) // plan.n_available  # frame i itself, where the counts agree
    wanted, places = np.unique(np.minimum(moments, folder.n_flows - 1), return_inverse=True)
    with _one_thread():
        flows = [remove_camera_motion(flow, rule.camera) for flow in folder.read(wanted)]
    height, width = frame_size or flows[0].shape[:2]
    places = places.reshape(plan.numbers.shape)
    return _cut_views(flows, places, crops=plan.crops(height, width, preprocess), rule=rule, preprocess=preprocess)


def _cut_views(
    flows: Sequence[np.ndarray],
    places: np.ndarray,
    *,
    crops: Sequence[tuple[CropBox, bool]],
    rule: FlowRule,
    preprocess: Preprocess,
) -> np.ndarray:
    """(h, w, 2) flows and (A, T) places in them -> (A, T, S, S, 3)."""

    @cache
    def picture(place: int, mirrored: bool) -> np.ndarray:
        flow = mirror_flow(flows[place]) if mirrored else flows[place]
        return draw_flow(flow, clip=rule.clip, drawing=rule.drawing)

    views = [np.stack([resize_crop(picture(place, False), preprocess) for place in places[0].tolist()])]
    for (box, mirrored), view_places in zip(crops, places[1:].tolist(), strict=True):
        own_box = _mirrored_box(box) if mirrored else box  # the picture is mirrored before it is cut, not after
        views.append(np.stack([random_crop(picture(place, mirrored), preprocess, own_box) for place in view_places]))
    return np.stack(views)


def _mirrored_box(box: CropBox) -> CropBox:
    return CropBox(top=box.top, left=max(0.0, 1 - box.left - box.width), height=box.height, width=box.width)


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV on one thread: decode workers run side by side, and flow must not depend on the number of threads."""
    n_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(n_threads)
