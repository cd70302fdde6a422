"""Test videos whose pixels say which frame they are: a row of black and white blocks, readable after lossy coding."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

N_BITS = 8
BLOCK = 16
HEIGHT, WIDTH = 64, N_BITS * BLOCK


def numbered_frame(number: int, *, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A grey frame (height, width, 3) uint8 with `number` in binary at the top left, its complement below it."""
    frame = np.full((height, width, 3), 96, np.uint8)
    for bit in range(N_BITS):
        value = 255 * (number >> bit & 1)
        columns = slice(bit * BLOCK, (bit + 1) * BLOCK)
        frame[:BLOCK, columns], frame[BLOCK : 2 * BLOCK, columns] = value, 255 - value
    return frame


def frame_number(frame: np.ndarray) -> int:
    """The number drawn by `numbered_frame`; -1 if the picture is damaged."""
    quarter = BLOCK // 4
    number = 0
    for bit in range(N_BITS):
        columns = slice(bit * BLOCK + quarter, (bit + 1) * BLOCK - quarter)
        above, below = frame[quarter : BLOCK - quarter, columns], frame[BLOCK + quarter : 2 * BLOCK - quarter, columns]
        difference = float(above.mean()) - float(below.mean())
        if abs(difference) < 128:
            return -1
        number |= int(difference > 0) << bit
    return number


def frame_numbers(frames: Iterable[np.ndarray]) -> list[int]:
    """The number of each frame."""
    return [frame_number(frame) for frame in frames]


def write_video(
    path: Path,
    n_frames: int,
    *,
    codec: str = "libx264",
    b_frames: int = 0,
    gop: int = 12,
    options: dict[str, str] | None = None,
    seconds: Sequence[Fraction] | None = None,
    height: int = HEIGHT,
    width: int = WIDTH,
    pixel_format: str = "yuv420p",
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write numbered frames at 25 frames per second, or at the given presentation times; returns `path`."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        stream.codec_context.thread_count = 1
        if seconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(n_frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, height=height, width=width), format="rgb24")
            if seconds is not None:
                frame.time_base, frame.pts = Fraction(1, 1000), int(seconds[number] * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_audio_only(path: Path) -> Path:
    """A file that holds sound and no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac" if path.suffix == ".mp4" else "pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
