"""Views of the optical flow of a video, cut as those of its frames are. Imports OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from mdmf.data.views.flow_files import FlowFolder
from mdmf.data.views.optical_flow import draw_flow, mirror_flow, one_thread, optical_flow, remove_camera_motion
from mdmf.data.views.preprocess import CropBox, random_crop, resize_crop
from mdmf.data.views.view_plan import Footage, ViewPlan
from mdmf.structures import Preprocess

if TYPE_CHECKING:
    from mdmf.data.sources.flow import FlowSource


def neighbour_frames(numbers: np.ndarray, n_available: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The two frames whose flow stands for each frame; the first one always comes earlier, so flow points forward.

    Frame i has the pair (i, i + step); where that leaves the video, (i - step, i). A step that is longer than the video
    is lowered to n_available - 1; a frame from which it leaves a short video on both sides has the last pair that
    fits, so that displacements of one video are all over the same time.

    Args:
        numbers: (T,) frame numbers, 0 to n_available - 1.
        n_available: frames of the video.
        step: at least 1.

    Returns:
        (T,) numbers of the first frames and (T,) of the second ones.

    Raises:
        ValueError: if the video has fewer than 2 frames.
    """
    if n_available < 2:
        raise ValueError(f"a video needs at least 2 frames for optical flow, this one has {n_available}; drop it")
    step = min(step, n_available - 1)
    backward = np.where(numbers >= step, numbers - step, n_available - 1 - step)
    first = np.where(numbers + step < n_available, numbers, backward)
    return first, first + step


def frame_pairs(plan: ViewPlan, step: int) -> np.ndarray:
    """(A*T, 2) numbers of the two frames whose flow stands for each frame of the plan.

    Raises:
        ValueError: if the video has fewer than 2 frames.
    """
    return np.stack(neighbour_frames(plan.numbers.ravel(), plan.n_available, step), axis=-1)


def computed_flow_views(footage: Footage, source: FlowSource, preprocess: Preprocess) -> np.ndarray:
    """Views (A, T, S, S, 3) uint8 of flow that is computed from frames, once for each pair of frames."""
    plan, frames = footage.plan, footage.frames
    pairs, places = np.unique(frame_pairs(plan, source.step), axis=0, return_inverse=True)
    rule = {"method": source.method, "camera": source.camera, "short_side": source.short_side}
    with one_thread():
        flows = [optical_flow(frames[i], frames[j], **rule) for i, j in np.searchsorted(footage.numbers, pairs)]  # type: ignore[arg-type]
    crops = plan.crops(frames.shape[1], frames.shape[2], preprocess)
    return _cut_views(flows, places.reshape(plan.numbers.shape), crops, source, preprocess)


def disk_flow_views(footage: Footage, folder: FlowFolder, source: FlowSource, preprocess: Preprocess) -> np.ndarray:
    """Views (A, T, S, S, 3) uint8 of flow that lies on disk.

    Flow i stands for frame i, the last one also for the last frame. Where the folder has another number of flows than
    this needs, as decoders count frames differently, the same parts of the video are shown.

    Raises:
        ValueError: if a flow cannot be read, or the folder is of less than half or more than twice the video.
    """
    plan, n_expected = footage.plan, footage.plan.n_available - 1
    if not n_expected / 2 <= folder.n_flows <= 2 * max(n_expected, 1):
        raise ValueError(
            f"there are {folder.n_flows} flows of a video of {plan.n_available} frames, expected about {n_expected}; "
            f"compute its flow again"
        )
    moments = plan.numbers * (folder.n_flows + 1) // plan.n_available  # frame i itself, where the counts agree
    wanted, places = np.unique(np.minimum(moments, folder.n_flows - 1), return_inverse=True)
    with one_thread():
        flows = [remove_camera_motion(flow, source.camera) for flow in folder.read(wanted)]
    height, width = footage.frame_size or flows[0].shape[:2]
    crops = plan.crops(height, width, preprocess)
    return _cut_views(flows, places.reshape(plan.numbers.shape), crops, source, preprocess)


def _cut_views(
    flows: Sequence[np.ndarray],
    places: np.ndarray,
    crops: Sequence[tuple[CropBox, bool]],
    source: FlowSource,
    preprocess: Preprocess,
) -> np.ndarray:
    """(h, w, 2) flows and (A, T) places in them -> (A, T, S, S, 3)."""

    @cache
    def picture(place: int, mirrored: bool) -> np.ndarray:
        flow = mirror_flow(flows[place]) if mirrored else flows[place]
        return draw_flow(flow, clip=source.clip, drawing=source.drawing)

    views = [np.stack([resize_crop(picture(place, False), preprocess) for place in places[0].tolist()])]
    for (box, mirrored), of_view in zip(crops, places[1:].tolist(), strict=True):
        cut_box = _mirrored_box(box) if mirrored else box  # the picture is mirrored before it is cut, not after
        views.append(np.stack([random_crop(picture(place, mirrored), preprocess, cut_box) for place in of_view]))
    return np.stack(views)


def _mirrored_box(box: CropBox) -> CropBox:
    return CropBox(top=box.top, left=max(0.0, 1 - box.left - box.width), height=box.height, width=box.width)
