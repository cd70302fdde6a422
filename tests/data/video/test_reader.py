"""The interface of all readers."""

import os
import pickle

import pytest
from example_videos import example

from mdmf.data.video.opening import VideoError, open_video


def test_impossible_numbers_are_refused(videos, decoder):
    with open_video(example(videos, "h264_b_frames.mp4"), decoder=decoder) as reader:
        for indices in ([40], [-1], [0, 40]):
            with pytest.raises(ValueError, match="has frames 0 to 39, requested were"):
                reader.read(indices)
        for indices in ([], [0.5], [[0, 1]]):
            with pytest.raises(ValueError, match="non-empty list of whole frame numbers"):
                reader.read(indices)


def test_readers_are_used_where_they_were_opened(videos, decoder, monkeypatch):
    reader = open_video(example(videos, "h264_b_frames.mp4"), decoder=decoder)
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)
    with pytest.raises(RuntimeError, match="opened in another process"):
        reader.read([0])
    monkeypatch.undo()
    reader.close()
    reader.close()
    with pytest.raises(RuntimeError, match="is closed"):
        reader.read([0])


def test_errors_survive_the_way_between_processes(tmp_path):
    error = pickle.loads(pickle.dumps(VideoError(tmp_path / "a.mp4", "broken")))
    assert str(error) == "a.mp4: broken"
    assert (error.path, error.reason) == (tmp_path / "a.mp4", "broken")
