"""A feature store for measurements, with random features around the text of their class, similar to those of CLIP.

A frame is the sum of random directions: the text of its class, one shared by the videos of the class, one of the video
and one of the frame. With these shares the prompt selector is right for about 90 % of the queries of a 5-way episode,
as on real data.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdmf.data.episodes import EpisodeSampler
from mdmf.data.features.builder import StoreBuilder, VideoOutcome
from mdmf.data.features.store import FeatureStore, StoreSettings
from mdmf.structures import Preprocess, VideoRecord, ViewRule

NORM = 10.0
TEXT_SHARE, CLASS_SHARE, VIDEO_SHARE, FRAME_SHARE = 0.09, 0.22, 0.75, 0.5


@dataclass(frozen=True)
class FeatureWorld:
    """The folder of the store, the class of each row, and the text (C, D) of the classes."""

    folder: Path
    class_ids: np.ndarray
    class_text: Tensor

    def open(self) -> FeatureStore:
        """The opened store."""
        return FeatureStore.open(self.folder)

    def sampler(self, *, n_way: int = 5, n_shot: int = 1, n_query: int = 1, seed: int = 0) -> EpisodeSampler:
        """A sampler of episodes of all classes."""
        names = [f"class {number}" for number in range(len(self.class_text))]
        return EpisodeSampler(
            self.class_ids, class_names=names, n_way=n_way, n_shot=n_shot, n_query=n_query, seed=seed, split="test"
        )


def make_feature_world(
    folder: Path, *, n_classes: int = 24, n_videos: int = 100, T: int = 8, D: int = 512, seed: int = 0
) -> FeatureWorld:
    """Write a store of `n_classes · n_videos` videos.

    Args:
        folder: new folder of the store.
        n_videos: videos per class.
    """
    generator = torch.Generator().manual_seed(seed)

    def directions(*shape: int) -> Tensor:
        return torch.randn(*shape, D, generator=generator) / D**0.5

    text, shared = directions(n_classes), directions(n_classes)
    class_ids = np.repeat(np.arange(n_classes), n_videos)
    records = [
        VideoRecord(f"class {c}/{n:05d}.mp4", Path("none"), f"class {c}", "test")
        for c in range(n_classes)
        for n in range(n_videos)
    ]
    settings = StoreSettings(
        source="rgb",
        encoder={"library": "none", "model": "drawn", "weights": f"seed {seed}"},
        preprocess=Preprocess(crop_size=224, resize_size=224),
        feature_size=D,
        rule=ViewRule(n_frames=T),
    )
    builder = StoreBuilder.create_or_open(folder, settings=settings, records=records)
    for chunk in range(builder.n_chunks):
        claim = builder.try_claim(chunk)
        if claim is None:
            raise RuntimeError(f"{folder} is being written by another process")
        with claim:
            ids = torch.from_numpy(class_ids[claim.rows.start : claim.rows.stop])
            frames = TEXT_SHARE * text[ids, None] + CLASS_SHARE * shared[ids, None]
            frames = frames + VIDEO_SHARE * directions(len(ids), 1) + FRAME_SHARE * directions(len(ids), T)
            outcome = VideoOutcome(n_frames=100, fps=25.0)
            builder.write(claim, (NORM * frames[:, None]).numpy(), [outcome] * len(ids))
    builder.finish()
    return FeatureWorld(folder, class_ids, NORM * text)
