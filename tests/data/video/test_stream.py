from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from video_files import frame_number, frame_numbers, numbered_frame, write_video

from mdmf.data.video.opening import VideoError, open_video
from mdmf.data.video.stream import open_stream


@pytest.mark.parametrize(("codec", "b_frames", "name"), [("libx264", 2, "a.mp4"), ("mpeg4", 0, "a.avi")])
def test_frames_come_in_order_with_their_numbers(tmp_path, codec, b_frames, name):
    path = write_video(tmp_path / name, 60, codec=codec, b_frames=b_frames)
    wanted = [0, 1, 7, 30, 31, 58, 59]
    with open_stream(path) as video:
        assert video.n_frames == 60
        streamed = list(video.stream(wanted))
    assert [number for number, _ in streamed] == wanted
    assert [frame_number(frame) for _, frame in streamed] == wanted
    with open_video(path, decoder="pyav") as reader:
        np.testing.assert_array_equal(np.stack([frame for _, frame in streamed]), reader.read(wanted))


def test_times_are_those_of_the_file_where_the_rate_varies(tmp_path):
    times = [Fraction(number, 10) if number < 10 else Fraction(number - 8, 2) for number in range(20)]
    path = write_video(tmp_path / "a.mkv", 20, seconds=times)
    with open_stream(path) as video:
        np.testing.assert_allclose(video.seconds, [float(time) for time in times], atol=2e-3)


def test_times_at_a_fixed_rate_and_of_images(tmp_path):
    with open_stream(write_video(tmp_path / "a.mp4", 10)) as video:
        np.testing.assert_allclose(video.seconds, np.arange(10) / 25, atol=1e-6)
    with open_stream(write_video(tmp_path / "a.avi", 10, codec="mpeg4")) as video:
        np.testing.assert_allclose(video.seconds, np.arange(10) / 25, atol=1e-6)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(numbered_frame(number)).save(folder / f"{number}.png")
    with open_stream(folder) as video:
        assert video.seconds is None
        assert frame_numbers(frame for _, frame in video.stream([1, 3])) == [1, 3]


def test_a_cut_file_and_one_that_is_none_are_refused(tmp_path):
    path = write_video(tmp_path / "a.avi", 60, codec="mpeg4")
    content = path.read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) * 2 // 3])
    with open_stream(tmp_path / "cut.avi") as video, pytest.raises(VideoError, match="incomplete"):
        list(video.stream([0, 59]))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match="no video file"):
        open_stream(tmp_path / "text.mp4")
