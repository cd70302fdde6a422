"""Both decoders against videos whose pixels say which frame they are, and against each other on real clips."""

import logging
import os
import pickle
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import frame_number, frame_numbers, numbered_frame, write_audio_only, write_video

from mdmf.data.video import decord_reader, opening
from mdmf.data.video.opening import VideoError, open_video
from mdmf.data.video.packets import read_packet_table
from mdmf.data.video.pyav_reader import decoding_runs

N_FRAMES = 40
UNEVEN_SECONDS = [Fraction(number * number + 40 * number, 1000) for number in range(N_FRAMES)]
LARGE = {"height": 240, "width": 320}
FILES = {
    "h264_b_frames.mp4": {"codec": "libx264", "b_frames": 3},
    "h264_b_frames.mkv": {"codec": "libx264", "b_frames": 3},
    "h264_short_groups.mp4": {"codec": "libx264", "b_frames": 2, "gop": 3},
    "h264_open_groups.mp4": {"codec": "libx264", "b_frames": 3, "options": {"x264-params": "open-gop=1:scenecut=0"}},
    "h264_rolling_refresh.mp4": {"codec": "libx264", "options": {"x264-params": "intra-refresh=1:keyint=12"}},
    "h264_uneven_times.mp4": {"codec": "libx264", "b_frames": 2, "seconds": UNEVEN_SECONDS},
    "h264_b_frames.avi": {"codec": "libx264", "b_frames": 2},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4_large.avi": {"codec": "mpeg4", **LARGE},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "b_frames": 2},
    "mpeg4_b_frames_large.avi": {"codec": "mpeg4", "b_frames": 2, **LARGE},
    "mpeg4_b_frames.mp4": {"codec": "mpeg4", "b_frames": 2},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "vp8_hidden_frames.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
}
PYAV_ONLY = {
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "h264.ts": {"codec": "libx264", "b_frames": 3},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2},
}
ORDERS = {
    "sequential": list(range(N_FRAMES)),
    "descending": list(range(N_FRAMES))[::-1],
    "random": np.random.default_rng(0).permutation(N_FRAMES).tolist(),
    "spread": list(range(2, N_FRAMES, 5)),
    "repeated": [7, 7, 39, 0, 0, 7, 25],
    "last": [N_FRAMES - 1],
    "one before last": [N_FRAMES - 2],
    "after a key frame": [13, 37],
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the files above, as far as this PyAV has the encoders."""
    folder = tmp_path_factory.mktemp("videos")
    for name, settings in (FILES | PYAV_ONLY).items():
        if settings["codec"] in av.codecs_available:
            write_video(folder / name, N_FRAMES, **settings)
    return folder


def made(videos: Path, name: str) -> Path:
    if not (videos / name).exists():
        pytest.skip(f"this PyAV cannot write {name}")
    return videos / name


@pytest.fixture(params=["pyav", "decord", "auto"])
def decoder(request: pytest.FixtureRequest) -> str:
    if request.param == "decord":
        pytest.importorskip("decord")
    return request.param


@pytest.mark.parametrize("name", FILES)
def test_every_decoder_gives_the_frame_of_every_number(videos, name, decoder):
    path = made(videos, name)
    with open_video(path, decoder=decoder) as reader:
        assert reader.n_frames == N_FRAMES
        read = {order: frame_numbers(reader.read(indices)) for order, indices in ORDERS.items()}
    assert read == ORDERS


@pytest.mark.parametrize("name", FILES)
def test_every_order_is_right_in_a_fresh_reader_too(videos, name, decoder):
    path = made(videos, name)
    for indices in (ORDERS["last"], ORDERS["after a key frame"], ORDERS["spread"]):
        with open_video(path, decoder=decoder) as reader:
            assert frame_numbers(reader.read(indices)) == indices


@pytest.mark.parametrize("name", FILES)
def test_decoders_agree_on_pixels_and_rate(videos, name):
    pytest.importorskip("decord")
    path = made(videos, name)
    with open_video(path, decoder="pyav") as pyav, open_video(path, decoder="decord") as decord:
        assert pyav.fps == decord.fps
        frames = [reader.read(ORDERS["spread"]).astype(int) for reader in (pyav, decord)]
    assert frames[0].shape[1:] == (240, 320, 3) if "large" in name else (64, 128, 3)
    assert np.abs(frames[0] - frames[1]).max() <= 2


@pytest.mark.parametrize("name", PYAV_ONLY)
def test_what_decord_cannot_do_is_left_to_pyav(videos, name, caplog, capfd):
    path = made(videos, name)
    with caplog.at_level(logging.DEBUG, "mdmf"), open_video(path) as reader:
        assert reader.n_frames == N_FRAMES
        assert frame_numbers(reader.read(ORDERS["random"])) == ORDERS["random"]
    if decord_reader.decord_is_installed():
        assert "PyAV takes over from decord" in caplog.text
        with pytest.raises(VideoError, match="use decoder 'auto' or 'pyav'"):
            open_video(path, decoder="decord")
    assert capfd.readouterr().err == ""


def test_rate_is_the_average(videos):
    with open_video(made(videos, "h264_b_frames.mp4")) as reader:
        assert reader.fps == 25
    with open_video(made(videos, "h264_uneven_times.mp4")) as reader:
        assert reader.fps == pytest.approx(N_FRAMES / float(UNEVEN_SECONDS[-1]), rel=0.05)


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
        assert read_packet_table(made(videos, name)).starts.tolist() == starts, name


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
    with open_video(made(videos, "h264_b_frames.mp4"), decoder="pyav") as reader:
        reader.read([14, 38, 14])
    assert len(n_decoded) == 3 + 3  # 12..14, 36..38
    n_decoded.clear()
    with open_video(made(videos, "mpeg4_b_frames_large.avi"), decoder="pyav") as reader:
        reader.read(ORDERS["random"])
    assert len(n_decoded) == N_FRAMES


def patched(path: Path, target: Path, box: bytes, offset: int, values: bytes) -> Path:
    """A copy of an MP4 with other bytes at an offset behind the name of a box."""
    content = bytearray(path.read_bytes())
    start = content.index(box) + len(box) + offset
    content[start : start + len(values)] = values
    target.write_bytes(content)
    return target


@pytest.mark.parametrize(("matrix", "n_turns"), [((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3)])
def test_phone_videos_are_turned_as_they_are_to_be_shown(videos, tmp_path, decoder, matrix, n_turns):
    """The matrix in the MP4's track header turns pictures clockwise; turned back they are the written ones."""
    first, second, third, fourth = (value * 0x10000 for value in matrix)
    values = struct.pack(">9i", first, second, 0, third, fourth, 0, 0, 0, 0x40000000)
    path = patched(made(videos, "h264_b_frames.mp4"), tmp_path / "turned.mp4", b"tkhd", 40, values)
    with open_video(path, decoder=decoder) as reader:
        frames = reader.read([5, 30])
    assert frames.shape[1:3] == ((64, 128) if n_turns == 2 else (128, 64))
    assert frame_numbers(np.rot90(frames, n_turns, axes=(1, 2))) == [5, 30]


def test_frames_hidden_by_an_edit_list_do_not_count(videos, tmp_path, decoder):
    """The edit list starts 5 frames later (512 ticks each) than x264's own, which hides 1024 ticks of delay."""
    values = struct.pack(">i", 1024 + 5 * 512)
    path = patched(made(videos, "h264_b_frames.mp4"), tmp_path / "trimmed.mp4", b"elst", 12, values)
    with open_video(path, decoder=decoder) as reader:
        assert reader.n_frames == N_FRAMES - 5
        assert frame_numbers(reader.read([0, 34, 10])) == [5, 39, 15]


def test_an_edit_list_that_ends_early_is_no_cut_file(videos, tmp_path, decoder):
    """It shows the first second (1000 ticks of the movie's clock) of 1.6; PyAV and decord give some frames more."""
    values = struct.pack(">I", 1000)
    path = patched(made(videos, "h264_b_frames.mp4"), tmp_path / "trimmed.mp4", b"elst", 8, values)
    with open_video(path, decoder=decoder) as reader:
        assert 25 <= reader.n_frames < N_FRAMES
        assert frame_numbers(reader.read(range(reader.n_frames))) == list(range(reader.n_frames))


def test_an_audio_track_and_other_streams_do_not_matter(tmp_path, decoder):
    path = tmp_path / "with_sound.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        pictures = container.add_stream("libx264", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 128, 64, "yuv420p"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 16000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
        for number in range(10):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")))
        container.mux(pictures.encode(None))
    with open_video(path, decoder=decoder) as reader:
        assert frame_numbers(reader.read([9, 0, 4])) == [9, 0, 4]


def test_a_video_of_one_frame(tmp_path, decoder):
    path = write_video(tmp_path / "still.mp4", 1)
    with open_video(path, decoder=decoder) as reader:
        assert reader.n_frames == 1
        assert frame_numbers(reader.read([0, 0])) == [0, 0]


# --- files that cannot be read, or not all of them


def test_files_that_hold_no_video_say_why(tmp_path, decoder, capfd):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("This is not a video.\n" * 100)
    write_audio_only(tmp_path / "sound.mp4")
    whole = write_video(tmp_path / "whole.mp4", 20).read_bytes()
    (tmp_path / "no_index.mp4").write_bytes(whole[: whole.index(b"moov") - 4])
    (tmp_path / "half_an_index.mp4").write_bytes(whole[: (whole.index(b"moov") + len(whole)) // 2])
    expected = {
        "empty.mp4": r"empty\.mp4: the file is empty \(0 bytes\)",
        "text.mp4": "this is no video file, or its beginning is damaged",
        "sound.mp4": "the file has no video stream",
        "no_index.mp4": r"the file is incomplete: the index of the MP4 \(its 'moov' box\) is missing",
        "half_an_index.mp4": r"the file is incomplete: the index of the MP4 \(its 'moov' box\) is missing",
        "absent.mp4": "there is no such file or folder",
    }
    for name, message in expected.items():
        with pytest.raises(VideoError, match=message):
            open_video(tmp_path / name, decoder=decoder)
    assert capfd.readouterr().err == ""


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


@pytest.mark.parametrize("damaged_packet", [0, 1, 20, 39])
def test_a_damaged_packet_gives_an_error_or_the_right_frame(videos, tmp_path, decoder, damaged_packet):
    source = made(videos, "h264_b_frames.mp4")
    with av.open(str(source)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    start, n_bytes = places[damaged_packet]
    content = bytearray(source.read_bytes())
    content[start : start + n_bytes] = bytes(n_bytes)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    failed = []
    for number in range(N_FRAMES):
        try:
            with open_video(path, decoder=decoder) as reader:
                assert frame_number(reader.read([number])[0]) == number
        except VideoError as error:
            failed.append((number, error.reason))
    assert failed
    assert all("the file is damaged" in reason for _, reason in failed)
    if decoder != "decord" and damaged_packet > 0:
        assert len(failed) <= 12  # its group of pictures


def test_a_file_that_decord_fails_on_is_read_by_pyav(videos, monkeypatch, caplog):
    pytest.importorskip("decord")

    def fail(self, numbers):
        raise VideoError(self.path, "decord gave up")

    monkeypatch.setattr(decord_reader.DecordReader, "_read_sorted", fail)
    with caplog.at_level(logging.DEBUG, "mdmf"), open_video(made(videos, "h264_b_frames.mp4")) as reader:
        assert frame_numbers(reader.read([3, 39])) == [3, 39]
        assert frame_numbers(reader.read([1])) == [1]
    assert caplog.text.count("decord gave up") == 1


# --- the interface


def test_impossible_numbers_are_refused(videos, decoder):
    with open_video(made(videos, "h264_b_frames.mp4"), decoder=decoder) as reader:
        for indices in ([40], [-1], [0, 40]):
            with pytest.raises(ValueError, match="has frames 0 to 39; asked for"):
                reader.read(indices)
        for indices in ([], [0.5], [[0, 1]]):
            with pytest.raises(ValueError, match="non-empty list of whole frame numbers"):
                reader.read(indices)


def test_readers_are_used_where_they_were_opened(videos, decoder, monkeypatch):
    reader = open_video(made(videos, "h264_b_frames.mp4"), decoder=decoder)
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)
    with pytest.raises(RuntimeError, match="opened in another process"):
        reader.read([0])
    monkeypatch.undo()
    reader.close()
    reader.close()
    with pytest.raises(RuntimeError, match="is closed"):
        reader.read([0])


def test_decoder_names_are_checked(videos):
    with pytest.raises(ValueError, match="unknown decoder 'opencv'"):
        open_video(made(videos, "mpeg4.avi"), decoder="opencv")


def test_without_decord_auto_is_pyav_and_decord_an_error_of_the_installation(videos, monkeypatch):
    decord_reader._import_decord.cache_clear()
    monkeypatch.setitem(sys.modules, "decord", None)
    try:
        with open_video(made(videos, "mpeg4.avi")) as reader:
            assert type(reader) is opening.PyavReader
            assert frame_numbers(reader.read([3])) == [3]
        with pytest.raises(ImportError, match="decord cannot be imported"):
            open_video(made(videos, "mpeg4.avi"), decoder="decord")
    finally:
        decord_reader._import_decord.cache_clear()


def test_importing_the_decoder_imports_neither_decord_nor_torch_nor_pandas():
    code = "import sys, mdmf.data.sources.loader; print([m for m in ('decord', 'torch', 'pandas') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_errors_survive_the_way_between_processes(tmp_path):
    error = pickle.loads(pickle.dumps(VideoError(tmp_path / "a.mp4", "broken")))
    assert str(error) == "a.mp4: broken"
    assert (error.path, error.reason) == (tmp_path / "a.mp4", "broken")


# --- real clips


@pytest.mark.parametrize(
    ("pattern", "n_frames"),
    [
        ("torchvision/RATRACE*.avi", 72),  # HMDB51: 73 packets, one is a placeholder
        ("torchvision/SchoolRules*.avi", 74),
        ("torchvision/TrumanShow*.avi", 48),
        ("torchvision/hmdb51_*.avi", 83),
        ("torchvision/v_SoccerJuggling_g23*.avi", 240),  # UCF101, with a title that is not UTF-8
        ("torchvision/v_SoccerJuggling_g24*.avi", 251),
        ("torchvision/R6llTwEh07w.mp4", 303),
        ("misc/decord_flipping_a_pancake.mkv", 310),
        ("fight_surv/fight/fi001.mp4", 53),
    ],
)
def test_decoders_agree_on_real_clips(shared_data, pattern, n_frames):
    """Measured: HMDB51, Kinetics and surveillance clips equal; UCF101 at most 2 grey levels apart, mean below 1e-5."""
    pytest.importorskip("decord")
    (path,) = (shared_data / "clips").glob(pattern)
    indices = [n_frames - 1, 0, *range(3, n_frames, n_frames // 7)]
    with open_video(path, decoder="pyav") as pyav, open_video(path, decoder="decord") as decord:
        assert pyav.n_frames == decord.n_frames == n_frames
        difference = np.abs(pyav.read(indices).astype(int) - decord.read(indices))
    assert difference.max() <= 2
    assert difference.mean() < 1e-4


@pytest.mark.slow
def test_decoders_agree_on_all_real_clips(shared_data, short_form):
    """In the short form on every eighth clip, beside those above."""
    pytest.importorskip("decord")
    paths = sorted(path for path in (shared_data / "clips").rglob("*.*") if path.suffix in opening.VIDEO_SUFFIXES)
    assert len(paths) > 40
    for path in paths[:: 8 if short_form else 1]:
        with open_video(path, decoder="pyav") as pyav, open_video(path, decoder="decord") as decord:
            assert pyav.n_frames == decord.n_frames, path
            spread = range(0, pyav.n_frames, 12)
            difference = np.abs(pyav.read(spread).astype(int) - decord.read(spread))
        assert difference.max() <= 2, path
