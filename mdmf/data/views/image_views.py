"""Views of pictures that lie beside the frames of a video, such as depth maps; cut as the frames are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mdmf.data.video.frame_folder import IMAGE_FORMATS, numbered_images
from mdmf.data.video.reader import VideoError
from mdmf.data.views.preprocess import cut_views
from mdmf.data.views.view_plan import Footage
from mdmf.structures import Preprocess

_DEEP_MODES = ("I;16", "I;16B", "I")  # Pillow's modes of grey pictures of 16 bits
_WHITE_OF_16_BITS = 65535.0


class ImageFolder:
    """The pictures of one video, in the order of the numbers in their names.

    Args:
        path: the folder.
        pattern: which files in it are pictures.
        scale: pixel value that becomes 255, larger ones too; None: 255 of pictures of 8 bits, 65535 of 16 bits.

    Raises:
        VideoError: if there are none, or their names do not say in which order they come.
    """

    def __init__(self, path: Path, *, pattern: str, scale: float | None) -> None:
        if not path.is_dir():
            raise VideoError(path, f"there is no folder {path} of pictures")
        self.path, self._scale = path, scale
        self._files = numbered_images(path, pattern)

    def __len__(self) -> int:
        return len(self._files)

    def read(self, number: int) -> np.ndarray:
        """A picture (H, W, 3) uint8; a grey one is the same in all channels.

        Raises:
            VideoError: naming the file, if it cannot be read.
        """
        file = self._files[number]
        try:
            with Image.open(file, formats=IMAGE_FORMATS) as image:
                is_deep = image.mode in _DEEP_MODES
                picture = np.array(image if is_deep else image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises
            raise VideoError(self.path, f"picture {file.name} cannot be read: {error}") from error
        if is_deep:
            picture = np.repeat(picture[..., None], 3, axis=-1)  # (H, W) -> (H, W, 3)
        scale = self._scale or (_WHITE_OF_16_BITS if is_deep else 255.0)
        if scale == 255.0 and not is_deep:
            return picture
        return np.clip(np.rint(picture * (255.0 / scale)), 0, 255).astype(np.uint8)


def image_views(footage: Footage, images: ImageFolder, preprocess: Preprocess) -> np.ndarray:
    """Views (A, T, S, S, 3) uint8 of the pictures.

    Picture i stands for frame i. Where there is another number of pictures, as decoders count frames differently, the
    same parts of the video are shown.

    Raises:
        ValueError: if a picture cannot be read, pictures differ in size, or they are fewer than half or more than twice
            the frames.
    """
    plan, n_images = footage.plan, len(images)
    if not plan.n_available / 2 <= n_images <= 2 * plan.n_available:
        raise ValueError(f"there are {n_images} pictures of a video of {plan.n_available} frames; make them again")
    wanted, places = np.unique(plan.numbers * n_images // plan.n_available, return_inverse=True)
    pictures = [images.read(number) for number in wanted.tolist()]
    for number, picture in zip(wanted.tolist(), pictures, strict=True):
        if picture.shape != pictures[0].shape:
            sizes = f"{pictures[0].shape[:2]} and {picture.shape[:2]}"
            raise VideoError(images.path, f"pictures {wanted[0] + 1} and {number + 1} differ in size: {sizes}")
    height, width = footage.frame_size or pictures[0].shape[:2]
    return cut_views(pictures, places.reshape(plan.numbers.shape), plan.crops(height, width, preprocess), preprocess)
