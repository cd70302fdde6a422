"""Every decoder returns the frame of every number, on example files and on real clips."""

import subprocess
import sys

import numpy as np
import pytest
from example_videos import FILES, N_FRAMES, ORDERS, example
from video_files import frame_numbers, write_video

from mdmf.data.video import opening
from mdmf.data.video.opening import open_video


@pytest.mark.parametrize("name", FILES)
def test_every_decoder_gives_the_frame_of_every_number(videos, name, decoder):
    path = example(videos, name)
    with open_video(path, decoder=decoder) as reader:
        assert reader.n_frames == N_FRAMES
        read = {order: frame_numbers(reader.read(indices)) for order, indices in ORDERS.items()}
    assert read == ORDERS


@pytest.mark.parametrize("name", FILES)
def test_every_order_is_right_in_a_fresh_reader_too(videos, name, decoder):
    path = example(videos, name)
    for indices in (ORDERS["last"], ORDERS["after a key frame"], ORDERS["spread"]):
        with open_video(path, decoder=decoder) as reader:
            assert frame_numbers(reader.read(indices)) == indices


def test_a_video_of_one_frame(tmp_path, decoder):
    path = write_video(tmp_path / "still.mp4", 1)
    with open_video(path, decoder=decoder) as reader:
        assert reader.n_frames == 1
        assert frame_numbers(reader.read([0, 0])) == [0, 0]


def test_decoder_names_are_checked(videos):
    with pytest.raises(ValueError, match="unknown decoder 'opencv'"):
        open_video(example(videos, "mpeg4.avi"), decoder="opencv")


def test_importing_the_decoder_imports_neither_decord_nor_torch_nor_pandas():
    code = "import sys, mdmf.data.views.loader; print([m for m in ('decord', 'torch', 'pandas') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


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
