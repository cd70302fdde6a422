"""The features of one split, ready to be gathered into episodes on the device that computes."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mdmf.data.episodes import EpisodeRows
from mdmf.structures import Episode

# Below this a split's features are kept on the device as float32; above it they are read batch by batch from disk.
RESIDENT_BYTES = 2 * 2**30


class FeatureReader(Protocol):
    """What a bank needs of a feature store."""

    feature_scale: float

    @property
    def n_variants(self) -> int:
        """A."""

    @property
    def n_frames(self) -> int:
        """T."""

    @property
    def feature_size(self) -> int:
        """D."""

    def read(self, rows: np.ndarray, variants: np.ndarray) -> np.ndarray:
        """Features (..., T, D) in float16, unscaled."""


class FeatureBank:
    """Gathers episodes of one split.

    Args:
        store: where the features lie.
        rows: (V,) the split's rows in the store.
        class_text: (C, D) text features of the split's classes, in class order; None where there is no text.
        n_variants: how many of the stored variants episodes may ask for (1: the test view alone).
        device: where episodes are made.
        resident_bytes: largest float32 size that is kept in memory.
    """

    def __init__(
        self,
        store: FeatureReader,
        rows: np.ndarray,
        *,
        class_text: Tensor | None,
        n_variants: int = 1,
        device: str | torch.device = "cpu",
        resident_bytes: int = RESIDENT_BYTES,
        source: str = "rgb",
    ) -> None:
        self.store, self.source, self.device = store, source, torch.device(device)
        self.class_text = None if class_text is None else class_text.to(self.device)
        self._position = np.full(int(np.max(rows, initial=-1)) + 1, -1, dtype=np.int64)
        self._position[rows] = np.arange(len(rows))
        self._rows, self.n_videos = np.asarray(rows), len(rows)
        self.n_variants = n_variants
        size = len(rows) * n_variants * store.n_frames * store.feature_size * 4
        self._resident = self._load(rows) if size <= resident_bytes else None

    def _load(self, rows: np.ndarray) -> Tensor:
        """All features of the split: (V·A, T, D)."""
        shape = (len(rows), self.n_variants)
        every_row = np.broadcast_to(np.asarray(rows)[:, None], shape)
        every_variant = np.broadcast_to(np.arange(self.n_variants), shape)
        return self._scaled(self.store.read(every_row, every_variant)).flatten(0, 1)

    def _scaled(self, features: np.ndarray) -> Tensor:
        return torch.from_numpy(features).to(self.device).float() * self.store.feature_scale

    def features(self, rows: np.ndarray, variants: np.ndarray) -> Tensor:
        """Features of videos: (...) rows and variants -> (..., T, D) float32, scaled."""
        if self._resident is None:
            return self._scaled(self.store.read(rows, variants))
        at = self.positions(rows) * self.n_variants + torch.from_numpy(variants).to(self.device)
        return self._resident.index_select(0, at.flatten()).unflatten(0, at.shape)

    def positions(self, rows: np.ndarray) -> Tensor:
        """Where videos stand within the split: store rows (...) -> (...), 0 … n_videos - 1."""
        return torch.from_numpy(self._position[rows]).to(self.device)

    def features_at(self, positions: Tensor) -> Tensor:
        """The test view of videos by their position in the split: (B,) -> (B, T, D)."""
        rows = self._rows[positions.cpu().numpy()]
        return self.features(rows, np.zeros_like(rows))

    def episode(self, rows: EpisodeRows) -> Episode:
        """A batch of episodes with its features, text and labels."""
        as_tensor = lambda array: torch.from_numpy(array).to(self.device)  # noqa: E731
        class_ids = as_tensor(rows.class_ids)
        return Episode(
            support={self.source: self.features(rows.support_rows, rows.support_variants)},
            query={self.source: self.features(rows.query_rows, rows.query_variants)},
            class_text=None if self.class_text is None else self.class_text[class_ids],
            query_labels=as_tensor(rows.query_labels),
            class_ids=class_ids,
            query_draws=as_tensor(rows.query_draws),
        )
