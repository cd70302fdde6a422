"""Runs of frames that PyAV decodes together, and the rotation of pictures."""

import struct

import numpy as np
import pytest
from example_videos import N_FRAMES, ORDERS, example, patched
from video_files import frame_numbers

from mdmf.data.video.opening import open_video
from mdmf.data.video.pyav_reader import decoding_runs


def test_runs_leave_out_what_nobody_asked_for():
    starts = np.array([0, 12, 24, 36, 48])
    assert decoding_runs([3, 5, 30, 31, 49], starts) == [(0, [3, 5]), (24, [30, 31]), (48, [49])]
    assert decoding_runs([13], starts) == [(12, [13])]
    assert decoding_runs([9, 13], starts) == [(0, [9, 13])]  # going to frame 12 would save two frames
    assert decoding_runs([5, 13, 40], np.array([0])) == [(0, [5, 13, 40])]


def test_pyav_decodes_no_more_than_the_groups_it_needs(videos, monkeypatch):
    from mdmf.data.video import pyav_reader

    n_decoded = []
    decode = pyav_reader.decoded_frames

    def count(*arguments, **settings):
        for frame in decode(*arguments, **settings):
            n_decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(pyav_reader, "decoded_frames", count)
    with open_video(example(videos, "h264_b_frames.mp4"), decoder="pyav") as reader:
        reader.read([14, 38, 14])
    assert len(n_decoded) == 3 + 3  # 12..14, 36..38
    n_decoded.clear()
    with open_video(example(videos, "mpeg4_b_frames_large.avi"), decoder="pyav") as reader:
        reader.read(ORDERS["random"])
    assert len(n_decoded) == N_FRAMES


@pytest.mark.parametrize(("matrix", "n_turns"), [((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3)])
def test_phone_videos_are_turned_as_they_are_to_be_shown(videos, tmp_path, decoder, matrix, n_turns):
    """The matrix in the MP4's track header turns pictures clockwise; turned back they are the written ones."""
    first, second, third, fourth = (value * 0x10000 for value in matrix)
    values = struct.pack(">9i", first, second, 0, third, fourth, 0, 0, 0, 0x40000000)
    path = patched(example(videos, "h264_b_frames.mp4"), tmp_path / "turned.mp4", b"tkhd", 40, values)
    with open_video(path, decoder=decoder) as reader:
        frames = reader.read([5, 30])
    assert frames.shape[1:3] == ((64, 128) if n_turns == 2 else (128, 64))
    assert frame_numbers(np.rot90(frames, n_turns, axes=(1, 2))) == [5, 30]
