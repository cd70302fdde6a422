"""Optical flows that another program has written to disk, one folder (or one array) a video. numpy and Pillow only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mdmf.data.arrays import open_npy
from mdmf.data.listing.disk import name_stem
from mdmf.data.video.frame_folder import FRAME_SUFFIXES, IMAGE_FORMATS
from mdmf.data.video.reader import VideoError

_LAYOUTS = "flow_x_00001.jpg with flow_y_00001.jpg, flow_x/00001.jpg with flow_y/00001.jpg, 00001.flo, or .npy"
_FLO_MAGIC = 202021.25
_FLO_HEADER_BYTES = 12
_FLO_PIXEL_BYTES = 8
_MAX_PIXELS = 2**26  # half a gigabyte; more is a damaged header, or no flow of a video
_LARGEST = 1e9  # pixels; Middlebury writes larger numbers where the flow is unknown
_GREY_TOLERANCE = 4  # levels between red, green and blue of a grey picture that JPEG wrote in colours

# What Pillow raises for a damaged picture.
_IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class FlowFolder:
    """The flows of one video by frame number; frame i has the i-th flow.

    What is in the folder is found by looking. The two grey pictures of a flow, x and y, say 0 to 255 for -bound to
    bound, as dense_flow writes them: value / 255 * 2 * bound - bound. No byte is exactly rest: 127 and 128, whichever
    the program took for it, are -bound / 255 and bound / 255, under a tenth of a pixel for a bound of 20. `.flo` and
    `.npy` hold pixels, and `bound` does not matter. Other pictures in the folder, such as the frames, are let be.

    Only names are kept, so it may be sent to another process.

    Attributes:
        n_flows: flows of the video; a video of n frames has n - 1.

    Raises:
        VideoError: if there are no flows, or flows of several kinds; if one is missing; if an array is damaged.
        ValueError: if `bound` is not a positive number.
    """

    def __init__(self, folder: Path, *, bound: float) -> None:
        if not 0 < bound < np.inf:
            raise ValueError(f"the bound of flow pictures must be a positive number of pixels, got {bound}")
        self.path = folder
        self._bound = bound
        self._files = _flow_files(folder)
        self._is_one_array = len(self._files) == 1 and self._files[0][0].suffix.lower() == ".npy"
        self.n_flows = self._n_in_array() if self._is_one_array else len(self._files)

    def read(self, numbers: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Flows of frames; a frame after the last flow, such as the last one of a video, takes the last flow.

        Args:
            numbers: frame numbers from 0, in any order.

        Returns:
            A flow (H, W, 2) float32 for each number, x to the right and y down, all of one size.

        Raises:
            VideoError: naming the file, if a flow is damaged, not finite, or of another size than the first one.
            ValueError: if a number is negative.
        """
        places = [min(int(number), self.n_flows - 1) for number in numbers]
        if min(places, default=0) < 0:
            raise ValueError(f"{self.path.name}: frame numbers begin at 0, got {min(numbers)}")
        flows = {place: self._read_one(place) for place in sorted(set(places))}
        for place in places:
            expected, shape = flows[places[0]].shape, flows[place].shape
            if shape != expected:
                raise VideoError(
                    self.path, f"{self._name(place)} is {_size(shape)}, {self._name(places[0])} {_size(expected)}"
                )
        return [flows[place] for place in places]

    def _read_one(self, place: int) -> np.ndarray:
        if self._is_one_array:
            array = self._opened(self._files[0][0])
            return self._checked(array[place] if array.ndim == 4 else array, place)
        files = self._files[place]
        if files[0].suffix.lower() == ".npy":
            return self._checked(self._opened(files[0]), place)
        if files[0].suffix.lower() == ".flo":
            return self._checked(_read_flo(self.path, files[0]), place)
        x, y = (_read_grey(self.path, file) for file in files)
        if x.shape != y.shape:
            raise VideoError(self.path, f"{files[0].name} is {_size(x.shape)}, {files[1].name} {_size(y.shape)}")
        return np.stack([x, y], axis=-1) * np.float32(2 * self._bound / 255) - np.float32(self._bound)

    def _n_in_array(self) -> int:
        """Flows in the one array of this video: (n, H, W, 2), or (H, W, 2) for a single one."""
        file = self._files[0][0]
        shape = self._opened(file).shape
        if len(shape) not in (3, 4) or shape[-1] != 2 or 0 in shape:
            raise VideoError(
                self.path, f"{file.name} has shape {shape}; expected (n, H, W, 2), or (H, W, 2) for one flow"
            )
        return shape[0] if len(shape) == 4 else 1

    def _opened(self, file: Path) -> np.ndarray:
        """The array in a file, mapped: a header that claims more than the file holds is refused and not allocated."""
        try:
            return open_npy(file)
        except ValueError as error:
            raise VideoError(self.path, str(error)) from error

    def _checked(self, flow: np.ndarray, place: int) -> np.ndarray:
        """A flow in pixels as float32, if it is one."""
        if flow.ndim != 3 or flow.shape[2] != 2 or 0 in flow.shape or flow.size > 2 * _MAX_PIXELS:
            raise VideoError(self.path, f"{self._name(place)} has shape {flow.shape}; expected a flow (H, W, 2)")
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            flow = np.array(flow, dtype=np.float32)  # off the mapped file
        if not (np.abs(flow) <= _LARGEST).all():  # false for NaN
            raise VideoError(
                self.path, f"{self._name(place)} has unknown, NaN or infinite displacements; write it again"
            )
        return flow

    def _name(self, place: int) -> str:
        return f"{self._files[0][0].name}[{place}]" if self._is_one_array else self._files[place][0].name


def find_flow_folder(root: Path, video_id: str) -> Path:
    """Where the flows of a video lie: under its id without the suffix, as a folder or a `.npy`, or under its whole id.

    Args:
        root: folder of all flows.
        video_id: the video's path relative to the data set's root, with `/` between parts.

    Raises:
        VideoError: if there is none; it says where it was looked for.
    """
    stem = name_stem(video_id)
    folders = list(dict.fromkeys([root / stem, root / video_id]))
    array = root / f"{stem}.npy"
    for place in folders:
        if place.is_dir():
            return place
    if array.is_file():
        return array
    looked_for = ", ".join(map(str, (*folders, array)))
    raise VideoError(root / video_id, f"no flow of {video_id}: looked for {looked_for}; check the folder of flows")


def _flow_files(folder: Path) -> list[tuple[Path, ...]]:
    """The file of each flow, or its two pictures, in the order of their numbers; a single array stands alone."""
    if folder.is_file() and folder.suffix.lower() == ".npy":
        return [(folder,)]
    if not folder.is_dir():
        raise VideoError(folder, f"{folder} is no folder of flows; expected {_LAYOUTS}")
    try:
        listings = [files for list_files in _KINDS if (files := list_files(folder))]
    except OSError as error:
        raise VideoError(folder, f"the folder cannot be listed: {error}") from error
    if not listings:
        raise VideoError(folder, f"the folder holds no flows; expected {_LAYOUTS}")
    if len(listings) > 1:
        examples = " and ".join(files[0][0].relative_to(folder).as_posix() for files in listings)
        raise VideoError(folder, f"the folder holds flows of several kinds ({examples}); keep one")
    return listings[0]


def _pictures_side_by_side(folder: Path) -> list[tuple[Path, ...]]:
    x_files, y_files = (
        [file for file in _visible_files(folder, FRAME_SUFFIXES) if re.fullmatch(rf"(flow_)?{axis}_[0-9]+", file.stem)]
        for axis in "xy"
    )
    return _pairs(folder, x_files, y_files)


def _pictures_in_two_folders(folder: Path) -> list[tuple[Path, ...]]:
    x_files, y_files = (
        list(_visible_files(folder / name, FRAME_SUFFIXES)) if (folder / name).is_dir() else []
        for name in ("flow_x", "flow_y")
    )
    return _pairs(folder, x_files, y_files)


def _flo_files(folder: Path) -> list[tuple[Path, ...]]:
    return _one_each(folder, _visible_files(folder, (".flo",)))


def _array_files(folder: Path) -> list[tuple[Path, ...]]:
    files = list(_visible_files(folder, (".npy",)))
    return [(files[0],)] if len(files) == 1 else _one_each(folder, files)


_KINDS = (_pictures_side_by_side, _pictures_in_two_folders, _flo_files, _array_files)


def _visible_files(folder: Path, suffixes: tuple[str, ...]) -> Iterable[Path]:
    """Files of a kind; hidden files, which some systems put beside others, are none."""
    return (file for file in folder.iterdir() if file.suffix.lower() in suffixes and file.name[0] != ".")


def _one_each(folder: Path, files: Iterable[Path]) -> list[tuple[Path, ...]]:
    by_number = _by_number(folder, files)
    _check_no_gap(folder, by_number)
    return [(file,) for file in by_number.values()]


def _pairs(folder: Path, x_files: Iterable[Path], y_files: Iterable[Path]) -> list[tuple[Path, ...]]:
    x_by_number, y_by_number = _by_number(folder, x_files), _by_number(folder, y_files)
    for axis, files, partners in (("y", x_by_number, y_by_number), ("x", y_by_number, x_by_number)):
        alone = next((file for number, file in files.items() if number not in partners), None)
        if alone is not None:
            raise VideoError(
                folder, f"{alone.relative_to(folder).as_posix()} has no {axis} picture beside it; write it"
            )
    _check_no_gap(folder, x_by_number)
    return [(x_by_number[number], y_by_number[number]) for number in x_by_number]


def _by_number(folder: Path, files: Iterable[Path]) -> dict[int, Path]:
    """Files by the number that ends their names, ascending."""
    by_number: dict[int, Path] = {}
    for file in sorted(files):
        digits = re.search(r"[0-9]+$", file.stem)
        if digits is None:
            raise VideoError(folder, f"{file.name} has no number at the end of its name; expected {_LAYOUTS}")
        number = int(digits[0])
        if number in by_number:
            raise VideoError(folder, f"{by_number[number].name} and {file.name} have the same number")
        by_number[number] = file
    return dict(sorted(by_number.items()))


def _check_no_gap(folder: Path, by_number: dict[int, Path]) -> None:
    """Numbers begin at 0 or 1 and leave none out; beginning at 2, the flow of frame 0 would be missed in silence."""
    if not by_number:
        return
    expected = range(min(1, *by_number), max(by_number))
    missing = next((number for number in expected if number not in by_number), None)
    if missing is not None:
        later = by_number[min(number for number in by_number if number > missing)]
        raise VideoError(
            folder, f"flow {missing} is missing, {later.name} is there; write the flows of this video again"
        )


def _read_grey(folder: Path, file: Path) -> np.ndarray:
    """A grey picture of 8 bits, (H, W) float32 in 0..255; one stored in colours must be grey."""
    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            mode = image.mode
            picture = np.array(image)
    except _IMAGE_ERRORS as error:
        raise VideoError(folder, f"flow picture {file.name} cannot be read: {error}") from error
    if mode == "RGB" and np.ptp(picture, axis=-1).max() <= _GREY_TOLERANCE:
        return picture.mean(axis=-1, dtype=np.float32)
    if mode != "L":
        raise VideoError(folder, f"{file.name} is no grey picture of 8 bits (it is {mode}); expected x or y of a flow")
    return picture.astype(np.float32)


def _read_flo(folder: Path, file: Path) -> np.ndarray:
    """A flow (H, W, 2) in Middlebury's format."""
    try:
        with file.open("rb") as stream:
            height, width = _flo_size(folder, file, stream.read(_FLO_HEADER_BYTES))
            content = stream.read(height * width * _FLO_PIXEL_BYTES)
    except OSError as error:
        raise VideoError(folder, f"{file.name} cannot be read: {error}") from error
    return np.frombuffer(content, "<f4").reshape(height, width, 2)


def _flo_size(folder: Path, file: Path, header: bytes) -> tuple[int, int]:
    """Height and width that a header says, if the file is as long as that; nothing is allocated before."""
    if len(header) < _FLO_HEADER_BYTES or np.frombuffer(header, "<f4", 1)[0] != _FLO_MAGIC:
        raise VideoError(folder, f"{file.name} does not begin as a .flo file does; it is damaged or no flow")
    width, height = (int(side) for side in np.frombuffer(header, "<i4", 2, offset=4))
    n_bytes, expected = file.stat().st_size, _FLO_HEADER_BYTES + _FLO_PIXEL_BYTES * width * height
    if min(width, height) < 1 or width * height > _MAX_PIXELS or n_bytes != expected:
        sizes = f"says {width}x{height} pixels, {expected:,} bytes, and has {n_bytes:,}"
        raise VideoError(folder, f"{file.name} {sizes}; it is damaged")
    return height, width


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"
