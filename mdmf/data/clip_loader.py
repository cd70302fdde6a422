"""From a video to what an encoder takes: the test view and random views for training, decoded in one go.

Imports neither torch nor pandas, and takes and gives plain values: this is what runs in spawned decode workers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdmf.data.decoder import open_video
from mdmf.data.frames import choose_frames, jitter_frames
from mdmf.data.preprocess import draw_box, random_crop, resize_crop
from mdmf.structures import Preprocess


@dataclass(frozen=True, eq=False)
class ClipViews:
    """The views of one video.

    Attributes:
        views: (A, T, S, S, 3) uint8, RGB; view 0 is the test view.
        n_frames: frames of the video.
        fps: its frames per second, if it says.
    """

    views: np.ndarray
    n_frames: int
    fps: float | None


def load_clip_views(
    path: Path,
    *,
    video_id: str,
    preprocess: Preprocess,
    n_frames: int,
    decoder: str = "auto",
    rule: str = "uniform",
    short: str = "repeat",
    n_variants: int = 1,
    crop_scale_min: float = 0.5,
    jitter: bool = True,
    flip: bool = False,
    seed: int = 0,
) -> ClipViews:
    """Read the views of a video: variant 0 is the test view (frames by `rule`, centre crop), the others are random.

    A variant above 0 is one random square, the same in all its frames, of frames that are jittered in time. It depends
    on (`seed`, `video_id`, its number) alone: not on the other variants, the process or the order of videos.

    Args:
        path: a video file, or a folder of frame images.
        video_id: what the random choices go by; the same on every machine, as a path is not.
        n_frames: frames of a view, T.
        short: `repeat` or `refuse`, for videos of fewer than T frames.
        n_variants: views, A.
        crop_scale_min: smallest side of a random square, as a part of the shortest side.
        jitter: take a random frame of each of T equal segments in random views, not those of `rule`.
        flip: mirror half of the random views; wrong where left and right matter.

    Raises:
        VideoError: if the video cannot be read.
        ValueError: for settings that are impossible, or a short video under `refuse`.
    """
    if n_variants < 1:
        raise ValueError(f"n_variants must be at least 1 (the test view), got {n_variants}")
    generators = [_generator(seed, video_id, variant) for variant in range(1, n_variants)]
    with open_video(path, decoder=decoder) as reader:
        n_available, fps = reader.n_frames, reader.fps
        test_numbers = choose_frames(n_available, n_frames, rule=rule, short=short)
        numbers = [test_numbers]
        for rng in generators:
            numbers.append(jitter_frames(n_available, n_frames, rng=rng) if jitter else test_numbers)
        wanted, places = np.unique(numbers, return_inverse=True)
        frames = reader.read(wanted)  # (distinct frames, H, W, 3)
    test_places, *random_places = places.reshape(n_variants, n_frames)
    views = [np.stack([resize_crop(frames[place], preprocess) for place in test_places])]
    for rng, view_places in zip(generators, random_places, strict=True):
        box = draw_box(frames.shape[1], frames.shape[2], preprocess, scale_min=crop_scale_min, rng=rng)
        mirrored = flip and rng.random() < 0.5
        views.append(np.stack([random_crop(frames[place], preprocess, box, flip=mirrored) for place in view_places]))
    return ClipViews(np.stack(views), n_available, fps)


def _generator(seed: int, video_id: str, variant: int) -> np.random.Generator:
    """Random numbers that depend on these three alone, on every machine and in every process."""
    digest = hashlib.sha256(f"{seed}\n{variant}\n{video_id}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
