"""A made-up data set, decoder and encoder for tests of the extractor; the loader must be importable by its workers."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mdmf.data.clip_loader import ClipViews
from mdmf.data.store import StoreSettings
from mdmf.structures import Preprocess, VideoRecord

SIZE = 4
FEATURE_SIZE = 6
PREPROCESS = Preprocess(crop_size=SIZE, resize_size=SIZE)
IDENTITY = {
    "library": "fake",
    "model": "tiny",
    "weights": "a.safetensors",
    "precision": "float32",
    "weights_hash": "ab12",
}


def fake_settings(**changes: Any) -> StoreSettings:
    values: dict[str, Any] = {
        "encoder": IDENTITY,
        "preprocess": PREPROCESS,
        "feature_size": FEATURE_SIZE,
        "n_frames": 3,
        "frame_rule": "uniform",
        "short": "repeat",
        "decoder": "auto",
        "n_variants": 2,
        "crop_scale_min": 0.6,
        "jitter": True,
        "flip": False,
        "seed": 0,
    }
    return StoreSettings(**values | changes)


def fake_records(log: Path, n_videos: int, **names: str) -> list[VideoRecord]:
    """Videos whose `path` is a log in which the loader notes what it decodes; `v3="bad"` renames number 3."""
    ids = [f"kick/{names.get(f'v{number}', 'v')}{number}.mp4" for number in range(n_videos)]
    return [VideoRecord(video_id, log, "kick", "train", "tape 1") for video_id in ids]


def fake_load(path: Path, *, video_id: str, n_variants: int, n_frames: int, **_: Any) -> ClipViews:
    with path.open("a") as log:
        log.write(video_id + "\n")
    if "bad" in video_id:
        raise ValueError("no video stream\nin it")
    if "crash" in video_id:
        os.abort()
    if "bug" in video_id:
        raise TypeError("a mistake of ours")
    seed = int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:4], "big")
    views = np.random.default_rng(seed).integers(0, 256, (n_variants, n_frames, SIZE, SIZE, 3), dtype=np.uint8)
    if "nan" in video_id:
        views[:] = 0  # what the fake encoder turns into NaN
    if "huge" in video_id:
        views[:] = 1
    return ClipViews(views=views, n_frames=40, fps=25.0)


def decoded(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


@dataclass
class FakeEncoder:
    """A fixed random projection of the pixels, slow on demand."""

    seconds_per_batch: float = 0.0
    identity: dict[str, str] = field(default_factory=lambda: dict(IDENTITY))
    preprocess: Preprocess = PREPROCESS
    feature_size: int = FEATURE_SIZE
    logit_scale: float = 100.0
    batch_sizes: list[int] = field(default_factory=list)

    def encode_images(self, frames: Any) -> Any:
        import torch

        time.sleep(self.seconds_per_batch)
        self.batch_sizes.append(len(frames))
        pixels = frames.reshape(len(frames), -1).float() / 255
        projection = torch.randn(pixels.shape[1], self.feature_size, generator=torch.Generator().manual_seed(0))
        features = pixels @ projection
        features[(frames == 0).flatten(1).all(1)] = float("nan")
        features[(frames == 1).flatten(1).all(1)] = 1e5
        return features

    def encode_texts(self, texts: list[str]) -> Any:
        raise NotImplementedError


def run_extraction(folder: Path, log: Path, n_videos: int, seconds_per_batch: float, n_workers: int) -> None:
    """What one of several processes does; small chunks, so that there are many moments to be killed in."""
    from mdmf.data import store_builder
    from mdmf.engine.extractor import extract_features

    store_builder.FRAMES_PER_CHUNK = 12
    records = fake_records(log, n_videos, v5="bad", v11="nan")
    store = store_builder.StoreBuilder.create_or_open(folder, settings=fake_settings(), records=records)
    encoder = FakeEncoder(seconds_per_batch)
    extract_features(records, store, encoder=encoder, n_workers=n_workers, load=fake_load, progress=False)


if __name__ == "__main__":
    import sys

    run_extraction(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
