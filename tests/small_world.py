"""A small world of features in memory: classes are directions that turn with time, so that a model can learn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mdmf.config import check_settings
from mdmf.data.episodes import EpisodeSampler
from mdmf.data.features.bank import FeatureBank
from mdmf.engine.run_folder import RunFolder
from mdmf.engine.trainer import Trainer
from mdmf.models.build import build_model
from mdmf.settings import Settings

N_CLASSES, N_VIDEOS, T, D = 6, 8, 4, 8
FLOW_D = 6


class MemoryStore:
    """What a bank needs of a feature store, from an array (V, A, T, D); like the real one it never reads a bad row."""

    feature_scale = 2.0

    def __init__(
        self, n_variants: int = 2, seed: int = 0, *, n_frames: int = T, size: int = D, bad: Sequence[int] = ()
    ) -> None:
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(N_CLASSES, 1, 1, n_frames, size))
        noise = rng.normal(size=(N_CLASSES, N_VIDEOS, n_variants, n_frames, size))
        self.features = (centres + 1.2 * noise).reshape(-1, n_variants, n_frames, size).astype(np.float16)
        self.class_ids = np.repeat(np.arange(N_CLASSES), N_VIDEOS)
        self.n_variants, self.n_frames, self.feature_size = n_variants, n_frames, size
        self.n_reads = 0
        self.ok = np.ones(len(self.features), dtype=bool)
        self.ok[list(bad)] = False

    def read(self, rows: np.ndarray, variants: np.ndarray) -> np.ndarray:
        assert self.ok[rows].all()
        self.n_reads += 1
        return self.features[rows, variants]


def class_text(seed: int = 1) -> torch.Tensor:
    return torch.randn(N_CLASSES, D, generator=torch.Generator().manual_seed(seed)) * 3


def small_bank(store: MemoryStore, **settings) -> FeatureBank:
    return FeatureBank({"rgb": store}, np.arange(len(store.features)), class_text=class_text(), **settings)


def two_source_bank(*, bad_rgb: Sequence[int] = (), bad_flow: Sequence[int] = (), **settings) -> FeatureBank:
    """rgb of (T, D), flow of (T, FLOW_D), each without features of its bad videos."""
    stores = {"rgb": MemoryStore(bad=bad_rgb), "flow": MemoryStore(seed=7, size=FLOW_D, bad=bad_flow)}
    return FeatureBank(stores, np.arange(N_CLASSES * N_VIDEOS), class_text=class_text(), **settings)


def small_sampler(
    store: MemoryStore, *, split: str = "train", n_query: int = 2, n_variants: int = 1, n_shot: int = 1
) -> EpisodeSampler:
    return EpisodeSampler(
        store.class_ids,
        class_names=[f"class {number}" for number in range(N_CLASSES)],
        n_way=3,
        n_shot=n_shot,
        n_query=n_query,
        seed=0,
        split=split,
        n_variants=n_variants,
    )


def small_settings(root: Path, **training) -> Settings:
    steps = {"n_steps": 12, "episodes_per_step": 2, "validate_every": 5, "validation_episodes": 20, "log_every": 1}
    return check_settings(
        {
            "model": {"hidden_size": 16, "n_heads": 2},
            "training": {**steps, "save_every": 4, "device": "cpu", **training},
            "output": {"root": str(root), "name": "small"},
        },
        source="test",
    )


def small_trainer(settings: Settings, run: RunFolder) -> Trainer:
    store = MemoryStore()
    torch.manual_seed(settings.training.seed)
    model = build_model(settings, feature_sizes={"rgb": D}, logit_scale=10.0)
    model.video_text.set_classes(class_text())
    return Trainer(
        model,
        settings=settings,
        run=run,
        train_bank=small_bank(store, n_variants=2),
        train_sampler=small_sampler(store, n_variants=2),
        val_bank=small_bank(store),
        val_sampler=small_sampler(store, split="val", n_query=1),
        progress=False,
    )
