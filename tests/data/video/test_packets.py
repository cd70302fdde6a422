"""Number of frames, start points and missing ends, from the packets of a file."""

import struct

import av
import pytest
from example_videos import LARGE, N_FRAMES, UNEVEN_SECONDS, example, patched
from video_files import frame_numbers, write_video

from mdmf.data.video import decord_reader
from mdmf.data.video.opening import VideoError, open_video
from mdmf.data.video.packets import read_packet_table


def test_seeks_go_only_where_decoding_may_start(videos):
    """Groups of 12: key frames 0, 12, 24, 36 where they are closed, marked rightly and have trustworthy times."""
    expected = {
        "h264_b_frames.mp4": [0, 12, 24, 36],
        "mpeg4_large.avi": [0, 12, 24, 36],
        "vp9.webm": [0, 12, 24, 36],
        "h264_open_groups.mp4": [0],
        "h264_rolling_refresh.mp4": [0],
        "mpeg4_b_frames_large.avi": [0],
        "h264_b_frames.avi": [0],
    }
    for name, starts in expected.items():
        assert read_packet_table(example(videos, name)).starts.tolist() == starts, name


def test_rate_is_the_average(videos):
    with open_video(example(videos, "h264_b_frames.mp4")) as reader:
        assert reader.fps == 25
    with open_video(example(videos, "h264_uneven_times.mp4")) as reader:
        assert reader.fps == pytest.approx(N_FRAMES / float(UNEVEN_SECONDS[-1]), rel=0.05)


def test_frames_hidden_by_an_edit_list_do_not_count(videos, tmp_path, decoder):
    """The edit list starts 5 frames later (512 ticks each) than x264's own, which hides 1024 ticks of delay."""
    values = struct.pack(">i", 1024 + 5 * 512)
    path = patched(example(videos, "h264_b_frames.mp4"), tmp_path / "trimmed.mp4", b"elst", 12, values)
    with open_video(path, decoder=decoder) as reader:
        assert reader.n_frames == N_FRAMES - 5
        assert frame_numbers(reader.read([0, 34, 10])) == [5, 39, 15]


def test_an_edit_list_that_ends_early_is_no_cut_file(videos, tmp_path, decoder):
    """It shows the first second (1000 ticks of the movie's clock) of 1.6; PyAV and decord give some frames more."""
    values = struct.pack(">I", 1000)
    path = patched(example(videos, "h264_b_frames.mp4"), tmp_path / "trimmed.mp4", b"elst", 8, values)
    with open_video(path, decoder=decoder) as reader:
        assert 25 <= reader.n_frames < N_FRAMES
        assert frame_numbers(reader.read(range(reader.n_frames))) == list(range(reader.n_frames))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cut.mp4", {"b_frames": 2, "container_options": {"movflags": "faststart"}}),
        ("cut.avi", {"codec": "mpeg4", **LARGE}),
        ("cut_b_frames.avi", {"codec": "mpeg4", "b_frames": 2, **LARGE}),
        ("cut.mkv", {"b_frames": 2}),
        ("cut.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}),
    ],
)
def test_a_cut_file_gives_the_frames_it_has_and_no_others(tmp_path, name, settings):
    if settings.get("codec", "libx264") not in av.codecs_available:
        pytest.skip(f"this PyAV cannot write {name}")
    content = write_video(tmp_path / name, N_FRAMES, **settings).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * 0.85)])
    n_readable = read_packet_table(tmp_path / name).n_readable
    assert 5 < n_readable < N_FRAMES
    message = f"the first {n_readable} of {N_FRAMES} frames can be decoded"
    for decoder in ("pyav", "auto"):
        with open_video(tmp_path / name, decoder=decoder) as reader:
            assert reader.n_frames == N_FRAMES
            assert frame_numbers(reader.read(range(n_readable))) == list(range(n_readable))
            with pytest.raises(VideoError, match=message):
                reader.read([0, n_readable])
    if decord_reader.decord_is_installed():
        with pytest.raises(VideoError, match=message):
            open_video(tmp_path / name, decoder="decord")


def test_an_mp4_cut_before_its_first_frame_says_so(tmp_path):
    content = write_video(tmp_path / "v.mp4", 20, container_options={"movflags": "faststart"}).read_bytes()
    (tmp_path / "v.mp4").write_bytes(content[: content.index(b"mdat") + 6])
    with pytest.raises(VideoError, match="none of its 20 frames is there"):
        open_video(tmp_path / "v.mp4")
