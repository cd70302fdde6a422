"""Harm done to one source of a video on purpose: does a model then trust the other source?

`FRAME_KINDS` act on decoded frames, the other kinds on stored features. numpy and Pillow only, plain values: this runs
in spawned decode workers. What is random is drawn alike at every strength, so that of one generator a stronger
corruption of a kind harms all that a weaker one harms.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from PIL import Image, ImageFilter

from mdmf.corruptions import FRAME_KINDS, Corruption


def corruption_generator(seed: int, video_id: str, source: str) -> np.random.Generator:
    """Random numbers that depend on these three alone, on every machine and in every process.

    They are the same for all kinds and strengths, and others than those of the random views of `loader`.
    """
    named = json.dumps(["corruption", int(seed), source, video_id])
    digest = hashlib.sha256(named.encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def corrupt_frames(frames: np.ndarray, corruption: Corruption, rng: np.random.Generator) -> np.ndarray:
    """Frames with `noise` or `blur`.

    - `noise`: a Gaussian of standard deviation `strength * 255` is added to each channel of each pixel, then rounded
      and clipped.
    - `blur`: Pillow's Gaussian blur (repeated box filters) of standard deviation `strength / 100 * min(H, W)` pixels;
      nothing of it is random.

    Args:
        frames: (n, H, W, 3) uint8.

    Returns:
        (n, H, W, 3) uint8, a new array.

    Raises:
        ValueError: for another kind, no frames, or frames of another shape or type.
    """
    if corruption.kind not in FRAME_KINDS:
        raise ValueError(f"{corruption} does not act on frames; expected one of {FRAME_KINDS}")
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or frames.size == 0:
        raise ValueError(f"expected frames (n, H, W, 3) of uint8, at least one, got {frames.shape} of {frames.dtype}")
    if corruption.strength == 0:
        return frames.copy()
    if corruption.kind == "noise":
        return np.stack([_noisy(frame, 255 * corruption.strength, rng) for frame in frames])
    sigma = corruption.strength / 100 * min(frames.shape[1:3])
    return np.stack([_blurred(frame, sigma) for frame in frames])


def corrupt_features(features: np.ndarray, corruption: Corruption, rng: np.random.Generator) -> np.ndarray:
    """Features of the frames of a video with `feature_noise`, `drop` or `freeze`.

    - `feature_noise`: a Gaussian of standard deviation `strength * |feature of the frame| / √D` is added, so that noise
      of strength 1 is about as long as the feature.
    - `drop`: each frame is lost with probability `strength`; the last frame seen before it stands in its place, as in a
      decoder that repeats the last picture; before the first frame seen it is that one. Where all are lost, a random
      one is kept.
    - `freeze`: the last `round(strength * T)` frames (halves to the even number) are the frame before them; at strength
      1 all are the first frame. Nothing of it is random.

    Args:
        features: (T, D), a float type.

    Returns:
        (T, D) of the same type, a new array.

    Raises:
        ValueError: for another kind (`missing` leaves no features: see `is_missing`), no features, or features of
            another shape or type.
    """
    if features.ndim != 2 or features.size == 0 or not np.issubdtype(features.dtype, np.floating):
        raise ValueError(
            f"expected features (T, D) of a float type, at least one, got {features.shape} of {features.dtype}"
        )
    if corruption.kind == "feature_noise":
        return _noisy_features(features, corruption.strength, rng)
    if corruption.kind == "drop":
        return features[_repeat_last_seen(len(features), corruption.strength, rng)]
    if corruption.kind == "freeze":
        last_moving = max(len(features) - round(corruption.strength * len(features)) - 1, 0)
        return features[np.minimum(np.arange(len(features)), last_moving)]
    if corruption.kind == "missing":
        raise ValueError(f"{corruption} leaves no features to corrupt; ask is_missing and leave the source out")
    raise ValueError(f"{corruption} acts on frames, before they are encoded, not on features; use corrupt_frames")


def is_missing(corruption: Corruption, rng: np.random.Generator) -> bool:
    """Whether the whole source is missing: with probability `strength`.

    Raises:
        ValueError: for a kind other than `missing`.
    """
    if corruption.kind != "missing":
        raise ValueError(f"only the kind 'missing' takes a source away, got {corruption}")
    return bool(rng.random() < corruption.strength)


def _noisy(frame: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    noise = std * rng.standard_normal(frame.shape, dtype=np.float32)
    return np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)


def _blurred(frame: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(sigma)))


def _noisy_features(features: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(features.shape)
    exact = features.astype(np.float64)  # half precision would overflow in the square
    std = strength * np.sqrt(np.square(exact).mean(axis=1, keepdims=True))  # = strength * |feature| / √D
    limit = np.finfo(features.dtype).max  # past it, half precision knows no number
    return np.clip(exact + std * noise, -limit, limit).astype(features.dtype)


def _repeat_last_seen(n_frames: int, probability: float, rng: np.random.Generator) -> np.ndarray:
    """(T,) frame numbers: the frame that stands at each place."""
    draws = rng.random(n_frames)
    seen = draws >= probability
    seen[draws.argmax()] = True  # the last to be lost as the probability grows, so what is seen only ever shrinks
    last_seen = np.maximum.accumulate(np.where(seen, np.arange(n_frames), -1))
    return np.maximum(last_seen, seen.argmax())
