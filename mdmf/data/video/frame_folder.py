"""A folder of frame images read as a video."""

from __future__ import annotations

import itertools
import re
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from PIL import Image

from mdmf.data.video.reader import VideoError, VideoReader

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")
# Pillow tries these formats only: some of its other readers start programs (Ghostscript for PostScript).
IMAGE_FORMATS = ("JPEG", "PNG")


class FrameFolderReader(VideoReader):
    """Reader of the images of a folder, in the order of the numbers in their names (2 before 10).

    Raises:
        VideoError: if the folder has no images, or their names do not determine an order.
    """

    def __init__(self, path: Path) -> None:
        self._files = numbered_images(path)
        super().__init__(path, n_frames=len(self._files), fps=None)

    def _read_sorted(self, numbers: list[int]) -> list[np.ndarray]:
        return [self._read_image(self._files[number]) for number in numbers]

    def _read_image(self, file: Path) -> np.ndarray:
        try:
            with Image.open(file, formats=IMAGE_FORMATS) as image:
                return np.array(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # the errors of Pillow
            raise VideoError(self.path, f"frame image {file.name} cannot be read: {error}") from error


def numbered_images(folder: Path, pattern: str = "*") -> list[Path]:
    """The images of a folder in the order of the numbers in their names; hidden files are none.

    Raises:
        VideoError: if there are none, or their names do not say in which order they come.
    """
    images = [file for file in folder.iterdir() if file.suffix.lower() in FRAME_SUFFIXES and file.name[0] != "."]
    files = sorted(
        (file for file in images if fnmatchcase(file.name, pattern)), key=lambda file: _numbers_in(file.stem)
    )
    if not files:
        of_pattern = "" if pattern == "*" else f" named {pattern}"
        raise VideoError(folder, f"the folder holds no frame images{of_pattern} ({', '.join(FRAME_SUFFIXES)})")
    _check_order_is_known(folder, files)
    return files


def _numbers_in(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"[0-9]+", name)]


def _check_order_is_known(folder: Path, files: list[Path]) -> None:
    """Check that names differ in their numbers only: `flow_x_1.jpg` and `img_1.jpg` are two videos in one folder."""
    by_pattern = {re.sub(r"[0-9]+", "#", file.stem): file.name for file in files}
    if len(by_pattern) > 1:
        examples = " and ".join(list(by_pattern.values())[:2])
        raise VideoError(folder, f"the folder mixes differently named images ({examples}); keep one kind in a folder")
    for earlier, later in itertools.pairwise(files):
        if _numbers_in(earlier.stem) == _numbers_in(later.stem):
            raise VideoError(folder, f"frame images {earlier.name} and {later.name} have the same number")
