"""A made-up data set, decoder and encoder for tests of the extractor; the loader must be importable by its workers."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mdmf.data.features.builder import StoreBuilder
from mdmf.data.features.store import StoreSettings
from mdmf.data.sources.flow import FlowSource
from mdmf.data.sources.frames import FramesSource
from mdmf.data.views.loader import ClipViews
from mdmf.structures import Preprocess, VideoRecord, ViewRule

SOURCES = {"rgb": FramesSource(), "flow": FlowSource(clip=4)}
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
    settings = StoreSettings(
        source="rgb",
        encoder=IDENTITY,
        rule=ViewRule(n_frames=3, n_variants=2, crop_scale_min=0.6),
        preprocess=PREPROCESS,
        feature_size=FEATURE_SIZE,
    )
    return with_changes(settings, **changes)


def with_changes(settings: StoreSettings, **changes: Any) -> StoreSettings:
    """The same with other values; those of the view rule by their names."""
    of_rule = {name: changes.pop(name) for name in ViewRule.__dataclass_fields__ if name in changes}
    return replace(settings, rule=replace(settings.rule, **of_rule), **changes)


def fake_flow_settings(**changes: Any) -> StoreSettings:
    return fake_settings(**{"source": "flow"} | changes)


def fake_records(log: Path, n_videos: int, **names: str) -> list[VideoRecord]:
    """Videos whose `path` is a log in which the loader notes what it decodes; `v3="bad"` renames number 3."""
    ids = [f"kick/{names.get(f'v{number}', 'v')}{number}.mp4" for number in range(n_videos)]
    return [VideoRecord(video_id, log, "kick", "train", "tape 1") for video_id in ids]


def fake_load(path: Path, *, video_id: str, sources: Mapping[str, Any], rule: ViewRule) -> ClipViews:
    with path.open("a") as log:
        log.write(f"{video_id} {'+'.join(sources)}\n")
    if "bad" in video_id:
        raise ValueError("no video stream\nin it")
    if "crash" in video_id:
        os.abort()
    if "bug" in video_id:
        raise TypeError("a mistake of ours")
    problems = {"flow": "only one frame"} if "still" in video_id and "flow" in sources else {}
    if problems.keys() == sources.keys():
        raise ValueError("only\none frame")
    shown = [source for source in sources if source not in problems]
    views = {source: fake_views(source, video_id, rule.n_variants, rule.n_frames) for source in shown}
    return ClipViews(views=views, problems=problems, n_frames=40, fps=25.0)


def fake_views(source: str, video_id: str, n_variants: int, n_frames: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256((source + video_id).encode()).digest()[:4], "big")
    views = np.random.default_rng(seed).integers(0, 256, (n_variants, n_frames, SIZE, SIZE, 3), dtype=np.uint8)
    if "nan" in video_id:
        views[:] = 0  # what the fake encoder turns into NaN
    if "huge" in video_id:
        views[:] = 1
    return views


def decoded(log: Path) -> list[str]:
    """The ids of the videos that were decoded, one for each time."""
    return decoded_sources(log)[0::2]


def decoded_sources(log: Path) -> list[str]:
    """Video id, sources that it was decoded for, video id, ..."""
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


def run_extraction(
    folder: Path,
    log: Path,
    n_videos: int,
    seconds_per_batch: float,
    n_workers: int,
    sources: Sequence[str] = ("rgb",),
) -> None:
    """What one of several processes does; small chunks, so that there are many moments to be killed in.

    The store of `rgb` is in `folder`, that of `flow` in a folder beside it.
    """
    from mdmf.data.features import builder
    from mdmf.data.features.extractor import extract_features

    builder.FRAMES_PER_CHUNK = 12
    records = fake_records(log, n_videos, v5="bad", v11="nan", v17="still")
    stores = {source: fake_builder(folder, source, records) for source in sources}
    encoders = {source: FakeEncoder(seconds_per_batch) for source in sources}
    extract_features(
        records, stores, sources=SOURCES, encoders=encoders, n_workers=n_workers, load=fake_load, progress=False
    )


def fake_builder(folder: Path, source: str, records: Sequence[VideoRecord]) -> StoreBuilder:
    settings = fake_flow_settings() if source == "flow" else fake_settings()
    own = folder.with_name(folder.name + "_flow") if source == "flow" else folder
    return StoreBuilder.create_or_open(own, settings=settings, records=records)
