"""decord beside PyAV: equal pixels, and files that decord cannot read."""

import logging
import sys

import numpy as np
import pytest
from example_videos import FILES, N_FRAMES, ORDERS, PYAV_ONLY, example
from video_files import frame_numbers

from mdmf.data.video import decord_reader, opening
from mdmf.data.video.opening import VideoError, open_video


@pytest.mark.parametrize("name", FILES)
def test_decoders_agree_on_pixels_and_rate(videos, name):
    pytest.importorskip("decord")
    path = example(videos, name)
    with open_video(path, decoder="pyav") as pyav, open_video(path, decoder="decord") as decord:
        assert pyav.fps == decord.fps
        frames = [reader.read(ORDERS["spread"]).astype(int) for reader in (pyav, decord)]
    assert frames[0].shape[1:] == (240, 320, 3) if "large" in name else (64, 128, 3)
    assert np.abs(frames[0] - frames[1]).max() <= 2


@pytest.mark.parametrize("name", PYAV_ONLY)
def test_what_decord_cannot_do_is_left_to_pyav(videos, name, caplog, capfd):
    path = example(videos, name)
    with caplog.at_level(logging.DEBUG, "mdmf"), open_video(path) as reader:
        assert reader.n_frames == N_FRAMES
        assert frame_numbers(reader.read(ORDERS["random"])) == ORDERS["random"]
    if decord_reader.decord_is_installed():
        assert "PyAV replaces decord" in caplog.text
        with pytest.raises(VideoError, match="use decoder 'auto' or 'pyav'"):
            open_video(path, decoder="decord")
    assert capfd.readouterr().err == ""


def test_a_file_that_decord_fails_on_is_read_by_pyav(videos, monkeypatch, caplog):
    pytest.importorskip("decord")

    def fail(self, numbers):
        raise VideoError(self.path, "decord gave up")

    monkeypatch.setattr(decord_reader.DecordReader, "_read_sorted", fail)
    with caplog.at_level(logging.DEBUG, "mdmf"), open_video(example(videos, "h264_b_frames.mp4")) as reader:
        assert frame_numbers(reader.read([3, 39])) == [3, 39]
        assert frame_numbers(reader.read([1])) == [1]
    assert caplog.text.count("decord gave up") == 1


def test_without_decord_auto_is_pyav_and_decord_an_error_of_the_installation(videos, monkeypatch):
    decord_reader._import_decord.cache_clear()
    monkeypatch.setitem(sys.modules, "decord", None)
    try:
        with open_video(example(videos, "mpeg4.avi")) as reader:
            assert type(reader) is opening.PyavReader
            assert frame_numbers(reader.read([3])) == [3]
        with pytest.raises(ImportError, match="decord cannot be imported"):
            open_video(example(videos, "mpeg4.avi"), decoder="decord")
    finally:
        decord_reader._import_decord.cache_clear()
