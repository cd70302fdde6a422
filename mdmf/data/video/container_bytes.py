"""Properties of a video file that PyAV does not expose: whether its end is missing, and the unit types of H.264."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def is_cut(path: Path, format_name: str) -> bool:
    """Whether a file is shorter than its header states: `mov` (MP4), `avi` or `matroska`; False for other formats."""
    if format_name == "mov":
        return any(end > path.stat().st_size for _, end in _mp4_boxes(path))
    if format_name == "avi":
        return path.stat().st_size < _riff_end(path)
    if format_name == "matroska":
        end = _matroska_end(path)
        return end is not None and path.stat().st_size < end
    return False


def lacks_mp4_index(path: Path) -> bool:
    """Whether a file is an MP4 (it has an `ftyp` box) without a complete `moov` box."""
    boxes = _mp4_boxes(path)
    has_index = any(name == b"moov" and end <= path.stat().st_size for name, end in boxes)
    return any(name == b"ftyp" for name, _ in boxes) and not has_index


def h264_unit_types(data: bytes, n_length_bytes: int) -> Iterator[int]:
    """Types of the units of an H.264 packet; a length or (`n_length_bytes` = 0) a start code precedes each unit."""
    if n_length_bytes == 0:
        yield from (match[1][0] & 31 for match in re.finditer(rb"\x00\x00\x01(.)", data, re.DOTALL))
        return
    start = n_length_bytes
    while start < len(data):
        yield data[start] & 31
        start += int.from_bytes(data[start - n_length_bytes : start], "big") + n_length_bytes


def _mp4_boxes(path: Path) -> list[tuple[bytes, int]]:
    """Name and end of each box at the top level, up to the first one without a size."""
    boxes, offset, n_bytes = [], 0, path.stat().st_size
    with path.open("rb") as file:
        while offset + 8 <= n_bytes:
            file.seek(offset)
            size, name = int.from_bytes(file.read(4), "big"), file.read(4)
            if size == 1:  # the size follows, in 64 bits
                size = int.from_bytes(file.read(8), "big")
            if size < 8:  # no size: the box extends to the end, or the file is no MP4
                break
            offset += size
            boxes.append((name, offset))
    return boxes


def _riff_end(path: Path) -> int:
    with path.open("rb") as file:
        header = file.read(8)
    return int.from_bytes(header[4:8], "little") + 8


def _matroska_end(path: Path) -> int | None:
    """The end of the segment; None if its size is unknown, as in a live recording."""
    with path.open("rb") as file:
        file.seek(4)  # the identifiers of the header and of the segment have 4 bytes each
        file.seek((_matroska_number(file) or 0) + 4, 1)
        size = _matroska_number(file)
        return None if size is None else file.tell() + size


def _matroska_number(file: BinaryIO) -> int | None:
    """A variable-length number (n zero bits for n further bytes, a one, the number); None if its bits are all ones."""
    first = file.read(1)[0]
    n_further = 8 - first.bit_length()
    n_values = 1 << 7 * (n_further + 1)
    number = int.from_bytes(bytes([first]) + file.read(n_further), "big") % n_values
    return None if number == n_values - 1 else number
