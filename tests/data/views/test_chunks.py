"""Pictures of a long video chunk by chunk: the same as of a clip as a whole, in one pass."""

import numpy as np
import pytest
from PIL import Image
from video_files import write_video

from mdmf.data.sources.flow import FlowSource
from mdmf.data.sources.frames import FramesSource
from mdmf.data.video import stream
from mdmf.data.video.opening import VideoError
from mdmf.data.video.stream import open_stream
from mdmf.data.views.chunks import picture_chunks
from mdmf.data.views.loader import SourceView, load_clip_views
from mdmf.structures import Preprocess, ViewRule

PREPROCESS = Preprocess(crop_size=32, resize_size=32)
RGB = SourceView(FramesSource(), PREPROCESS)


def test_the_file_is_gone_through_once(tmp_path, monkeypatch):
    """However many chunks there are: reading chunk by chunk would decode the beginning again for each."""
    path = write_video(tmp_path / "a.mp4", 60, gop=60)
    n_opened = []
    real = stream.open_video_stream
    monkeypatch.setattr(stream, "open_video_stream", lambda path: n_opened.append(1) or real(path))
    with open_stream(path) as video:
        n_opened.clear()
        chunks = list(picture_chunks(video, np.arange(60), {"rgb": RGB}, chunk_frames=7))
    assert [len(chunk["rgb"]) for chunk in chunks] == [7] * 8 + [4]
    assert len(n_opened) == 1


def test_images_that_differ_in_size_are_refused_as_in_a_whole_clip(tmp_path):
    for number, side in enumerate((40, 40, 48)):
        Image.fromarray(np.zeros((side, 40, 3), np.uint8)).save(tmp_path / f"{number}.png")
    sources = {"rgb": RGB}
    with pytest.raises(VideoError, match="differ in size"):
        load_clip_views(tmp_path, video_id="a", sources=sources, rule=ViewRule(n_frames=3))
    with open_stream(tmp_path) as video:
        assert len(list(picture_chunks(video, np.arange(2), sources))) == 1
        with pytest.raises(VideoError, match="differ in size"):
            list(picture_chunks(video, np.arange(3), sources, chunk_frames=1))


@pytest.mark.parametrize("step", [1, 5, 40])
@pytest.mark.parametrize("chunk_frames", [1, 3, 100])
def test_pictures_of_frames_and_flow_are_those_of_the_clip_loader(tmp_path, step, chunk_frames):
    """The oracle reads the same frames as the views of a whole clip; flow at the end of a video looks back."""
    path = write_video(tmp_path / "a.mp4", 30)
    sources = {"rgb": RGB, "flow": SourceView(FlowSource(step=step, short_side=32), PREPROCESS)}
    whole = load_clip_views(path, video_id="a", sources=sources, rule=ViewRule(n_frames=30, decoder="pyav"))
    with open_stream(path) as video:
        chunks = list(picture_chunks(video, np.arange(30), sources, chunk_frames=chunk_frames))
    for source in sources:
        streamed = np.concatenate([chunk[source] for chunk in chunks])
        np.testing.assert_array_equal(streamed, whole.views[source][0])
