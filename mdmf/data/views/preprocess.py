"""From a decoded frame to the square picture an encoder takes, as Pillow resizes it. numpy and Pillow only.

`resize_crop` gives, to the last grey level, what the encoders' own libraries give: torchvision's `Resize` and
`CenterCrop` on a Pillow image (open_clip, OpenAI's CLIP), or a resize of both sides (SigLIP).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mdmf.structures import Preprocess

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class CropBox:
    """A part of a frame, in fractions of its height (`top`, `height`) and width (`left`, `width`)."""

    top: float
    left: float
    height: float
    width: float

    def __post_init__(self) -> None:
        for start, size in ((self.top, self.height), (self.left, self.width)):
            if not (0 < size <= 1 and 0 <= start <= 1 - size + 1e-9):
                raise ValueError(f"expected a box inside the frame, in fractions of its sides; got {self}")


def resize_crop(frame: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """The test view of a frame: resized as `preprocess` says, then its centre.

    Args:
        frame: (H, W, 3) uint8, RGB.

    Returns:
        (S, S, 3) uint8, S = `preprocess.crop_size`.
    """
    _check_frame(frame)
    height, width = _resized_size(frame.shape[0], frame.shape[1], preprocess)
    resized = Image.fromarray(frame).resize((width, height), _FILTERS[preprocess.interpolation])
    size = preprocess.crop_size
    top, left = round((height - size) / 2), round((width - size) / 2)  # halves to the even number, as torchvision
    return np.array(resized.crop((left, top, left + size, top + size)))


def random_crop(frame: np.ndarray, preprocess: Preprocess, box: CropBox, *, flip: bool = False) -> np.ndarray:
    """A part of a frame, resized to what the encoder takes; `flip` mirrors it left to right.

    Args:
        frame: (H, W, 3) uint8, RGB.
        box: the part; its edges may lie between pixels.

    Returns:
        (S, S, 3) uint8, S = `preprocess.crop_size`.
    """
    _check_frame(frame)
    height, width = frame.shape[:2]
    left, top = box.left * width, box.top * height
    right, bottom = min(left + box.width * width, width), min(top + box.height * height, height)
    size = preprocess.crop_size
    view = np.array(
        Image.fromarray(frame).resize((size, size), _FILTERS[preprocess.interpolation], box=(left, top, right, bottom))
    )
    return np.ascontiguousarray(view[:, ::-1]) if flip else view


def cut_views(
    pictures: Sequence[np.ndarray] | np.ndarray,
    places: np.ndarray,
    crops: Sequence[tuple[CropBox, bool]],
    preprocess: Preprocess,
) -> np.ndarray:
    """The test view and random views of some pictures.

    Args:
        pictures: (H, W, 3) uint8 each.
        places: (A, T) the picture that stands at each place of a view.
        crops: of each of views 1…: its box, and whether it is mirrored.

    Returns:
        (A, T, S, S, 3) uint8.
    """
    test_places, *random_places = places.tolist()
    views = [np.stack([resize_crop(pictures[place], preprocess) for place in test_places])]
    for (box, mirrored), of_view in zip(crops, random_places, strict=True):
        views.append(np.stack([random_crop(pictures[place], preprocess, box, flip=mirrored) for place in of_view]))
    return np.stack(views)


def draw_box(height: int, width: int, preprocess: Preprocess, *, scale_min: float, rng: np.random.Generator) -> CropBox:
    """A random place for `random_crop` in frames of one size.

    The box is a square of side U(scale_min, 1) times the shortest side; where the encoder squashes frames (`squash`) it
    is that part of each side, so that training crops are squashed as the test view is.
    """
    scale, place_down, place_right = rng.uniform(scale_min, 1), rng.random(), rng.random()
    square_side = scale * min(height, width)
    is_squashed = preprocess.resize_mode == "squash"
    part_of_height = scale if is_squashed else square_side / height
    part_of_width = scale if is_squashed else square_side / width
    return CropBox(
        top=place_down * (1 - part_of_height),
        left=place_right * (1 - part_of_width),
        height=part_of_height,
        width=part_of_width,
    )


def _resized_size(height: int, width: int, preprocess: Preprocess) -> tuple[int, int]:
    """Height and width after the resize; the longer side is rounded down, as in torchvision."""
    size = preprocess.resize_size
    if preprocess.resize_mode == "squash":
        return size, size
    if width <= height:
        return int(size * height / width), size
    return size, int(size * width / height)


def _check_frame(frame: np.ndarray) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise ValueError(f"expected a frame of shape (H, W, 3) and type uint8, got {frame.shape} {frame.dtype}")
