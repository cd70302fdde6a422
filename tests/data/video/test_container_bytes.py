"""Sizes and unit types in bytes written by hand."""

from pathlib import Path

import pytest

from mdmf.data.video.container_bytes import h264_unit_types, is_cut, lacks_mp4_index


def box(name: bytes, n_content: int, n_written: int | None = None) -> bytes:
    return (8 + n_content).to_bytes(4, "big") + name + bytes(n_content if n_written is None else n_written)


def large_box(name: bytes, n_content: int) -> bytes:
    return (1).to_bytes(4, "big") + name + (16 + n_content).to_bytes(8, "big") + bytes(n_content)


def matroska(n_stated: bytes, n_content: int) -> bytes:
    return b"\x1a\x45\xdf\xa3" + b"\x84" + bytes(4) + b"\x18\x53\x80\x67" + n_stated + bytes(n_content)


@pytest.mark.parametrize(
    ("format_name", "content", "expected"),
    [
        ("mov", box(b"ftyp", 4) + box(b"moov", 9) + box(b"mdat", 100), False),
        ("mov", box(b"ftyp", 4) + box(b"moov", 9) + box(b"mdat", 100, n_written=99), True),
        ("mov", box(b"ftyp", 4) + large_box(b"mdat", 30) + box(b"moov", 9), False),
        ("mov", box(b"ftyp", 4) + large_box(b"mdat", 30) + box(b"moov", 9, n_written=3), True),
        ("mov", box(b"ftyp", 4) + bytes(4) + b"mdat" + bytes(50), False),  # size 0: up to the end of the file
        ("avi", b"RIFF" + (20).to_bytes(4, "little") + bytes(20), False),
        ("avi", b"RIFF" + (20).to_bytes(4, "little") + bytes(19), True),
        ("matroska", matroska(b"\x8a", 10), False),
        ("matroska", matroska(b"\x8a", 9), True),
        ("matroska", matroska(b"\x41\x00", 256), False),
        ("matroska", matroska(b"\x41\x00", 255), True),
        ("matroska", matroska(b"\x01" + bytes(6) + b"\x05", 5), False),
        ("matroska", matroska(b"\x01" + bytes(6) + b"\x05", 4), True),
        ("matroska", matroska(b"\xff", 3), False),  # unknown size
        ("matroska", matroska(b"\x01" + b"\xff" * 7, 3), False),
        ("mpegts", b"\x47" * 100, False),
    ],
)
def test_a_file_shorter_than_its_sizes_say_is_cut(tmp_path: Path, format_name: str, content: bytes, expected: bool):
    (tmp_path / "v").write_bytes(content)
    assert is_cut(tmp_path / "v", format_name) is expected


def test_an_mp4_needs_its_index(tmp_path: Path):
    path = tmp_path / "v.mp4"
    for content, expected in (
        (box(b"ftyp", 4) + box(b"mdat", 20), True),
        (box(b"ftyp", 4) + box(b"mdat", 20, n_written=7), True),
        (box(b"ftyp", 4) + box(b"mdat", 20) + box(b"moov", 9, n_written=8), True),
        (box(b"ftyp", 4) + box(b"mdat", 20) + box(b"moov", 9), False),
        (b"no MP4 at all, only some text", False),
        (b"", False),
    ):
        path.write_bytes(content)
        assert lacks_mp4_index(path) is expected, content


def test_unit_types_of_both_layouts():
    units = [b"\x67\x01", b"\x68", b"\x65\x02\x03"]  # types 7, 8 and 5
    with_lengths = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    with_codes = b"".join(b"\x00\x00\x01" + unit for unit in units)
    assert list(h264_unit_types(with_lengths, 4)) == [7, 8, 5]
    assert list(h264_unit_types(with_codes, 0)) == [7, 8, 5]
    assert list(h264_unit_types(b"\x02\x41\x00\x01\x06", 1)) == [1, 6]
    assert list(h264_unit_types(b"", 4)) == []
