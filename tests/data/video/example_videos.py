"""Video files whose pixels show their frame numbers, in many codecs and containers."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

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


def example(videos: Path, name: str) -> Path:
    """The path of an example; skips the test if this PyAV lacks its encoder."""
    if not (videos / name).exists():
        pytest.skip(f"this PyAV cannot write {name}")
    return videos / name


def patched(path: Path, target: Path, box: bytes, offset: int, values: bytes) -> Path:
    """A copy of an MP4 with other bytes at an offset behind the name of a box."""
    content = bytearray(path.read_bytes())
    start = content.index(box) + len(box) + offset
    content[start : start + len(values)] = values
    target.write_bytes(content)
    return target
