"""The features of one split, ready to be gathered into episodes on the device that computes."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mdmf.data.episodes import EpisodeRows
from mdmf.structures import Episode

# Below this a split's features are kept on the device as float32; above it they are read batch by batch from disk: a
# few milliseconds a batch, little beside a training step, and much less memory with 100,000 videos.
RESIDENT_BYTES = {"cpu": 256 * 2**20, "cuda": 8 * 2**30}


class FeatureReader(Protocol):
    """What a bank needs of a feature store."""

    feature_scale: float

    @property
    def ok(self) -> np.ndarray:
        """(V,) bool, False for videos without features."""

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
        """Features (..., T, D) in float16, unscaled, of videos that have them."""


class SourceFeatures:
    """One source's features of a split's videos; those of a video that has none are zeros.

    Args:
        store: where the features lie.
        rows: (V,) the split's rows in the store.
        n_variants: how many of the stored variants may be asked for (1: the test view alone).
        device: where features are given.
        resident_bytes: largest float32 size that is kept in memory.
    """

    def __init__(
        self, store: FeatureReader, rows: np.ndarray, *, n_variants: int, device: torch.device, resident_bytes: int
    ) -> None:
        self.store, self.device, self.n_variants = store, device, n_variants
        self._rows = rows
        self._is_complete = bool(store.ok[rows].all())
        size = len(rows) * n_variants * store.n_frames * store.feature_size * 4
        self._resident = self._load() if size <= resident_bytes else None

    def _load(self) -> Tensor:
        """All features of the split: (V·A, T, D)."""
        shape = (len(self._rows), self.n_variants)
        every_row = np.broadcast_to(self._rows[:, None], shape)
        every_variant = np.broadcast_to(np.arange(self.n_variants), shape)
        return self._read(every_row, every_variant).flatten(0, 1)

    def _read(self, rows: np.ndarray, variants: np.ndarray) -> Tensor:
        if self._is_complete:
            return self._scaled(self.store.read(rows, variants))
        has_features = self.store.ok[rows]
        features = np.zeros((*rows.shape, self.store.n_frames, self.store.feature_size), dtype=np.float16)
        features[has_features] = self.store.read(rows[has_features], variants[has_features])
        return self._scaled(features)

    def _scaled(self, features: np.ndarray) -> Tensor:
        return torch.from_numpy(features).to(self.device).float() * self.store.feature_scale

    def gather(self, positions: np.ndarray, variants: np.ndarray) -> Tensor:
        """Features by position in the split: (...) positions and variants -> (..., T, D) float32, scaled."""
        if self._resident is None:
            return self._read(self._rows[positions], variants)
        at = torch.from_numpy(positions * self.n_variants + variants).to(self.device)
        return self._resident.index_select(0, at.flatten()).unflatten(0, at.shape)

    def present(self, positions: np.ndarray) -> Tensor | None:
        """Which videos have features: (...) positions -> (...) bool; None where every video of the split has."""
        if self._is_complete:
            return None
        return torch.from_numpy(self.store.ok[self._rows[positions]]).to(self.device)


class FeatureBank:
    """Gathers episodes of one split.

    Args:
        stores: source name -> where its features lie; all number the videos alike.
        rows: (V,) the split's rows in the stores.
        class_text: (C, D) text features of the split's classes, in class order; None where there is no text.
        n_variants: how many of the stored variants episodes may ask for (1: the test view alone).
        device: where episodes are made.
        resident_bytes: largest float32 size of a source that is kept in memory; None: what suits the device.
    """

    def __init__(
        self,
        stores: Mapping[str, FeatureReader],
        rows: np.ndarray,
        *,
        class_text: Tensor | None,
        n_variants: int = 1,
        device: str | torch.device = "cpu",
        resident_bytes: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        if resident_bytes is None:
            resident_bytes = RESIDENT_BYTES.get(self.device.type, RESIDENT_BYTES["cpu"])
        self.class_text = None if class_text is None else class_text.to(self.device)
        rows = np.asarray(rows)
        self._position = np.full(int(np.max(rows, initial=-1)) + 1, -1, dtype=np.int64)
        self._position[rows] = np.arange(len(rows))
        self.n_videos, self.n_variants = len(rows), n_variants
        self.sources = {
            source: SourceFeatures(
                store, rows, n_variants=n_variants, device=self.device, resident_bytes=resident_bytes
            )
            for source, store in stores.items()
        }

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """Where videos stand within the split: store rows (...) -> (...), 0 … n_videos - 1."""
        return self._position[rows]

    def features_at(self, positions: np.ndarray) -> dict[str, Tensor]:
        """The test view of videos by their position in the split: (B,) -> source -> (B, T, D)."""
        return self._gather(positions, np.zeros_like(positions))

    def _gather(self, positions: np.ndarray, variants: np.ndarray) -> dict[str, Tensor]:
        return {source: features.gather(positions, variants) for source, features in self.sources.items()}

    def presence(self, rows: np.ndarray) -> dict[str, Tensor]:
        """source -> (...) bool, which videos have features; a source that every video has is not named."""
        presence = {source: features.present(self.positions(rows)) for source, features in self.sources.items()}
        return {source: present for source, present in presence.items() if present is not None}

    def episode(self, rows: EpisodeRows) -> Episode:
        """A batch of episodes with its features, text and labels."""
        as_tensor = lambda array: torch.from_numpy(array).to(self.device)  # noqa: E731
        class_ids = as_tensor(rows.class_ids)
        support, query = self.positions(rows.support_rows), self.positions(rows.query_rows)
        return Episode(
            support=self._gather(support, rows.support_variants),
            query=self._gather(query, rows.query_variants),
            class_text=None if self.class_text is None else self.class_text[class_ids],
            query_labels=as_tensor(rows.query_labels),
            class_ids=class_ids,
            query_draws=as_tensor(rows.query_draws),
            support_present=self.presence(rows.support_rows),
            query_present=self.presence(rows.query_rows),
        )
