"""The videos of one split in one role: what training, validation or a test sees of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mdmf.data.episodes import EpisodeRequest, EpisodeSampler
from mdmf.data.features.bank import FeatureBank, FeatureReader

Role = Literal["training", "validation", "test"]


@dataclass(frozen=True, eq=False)
class SplitData:
    """Features, class text and episodes of the usable videos of a split.

    Attributes:
        split: `train`, `val` or `test`.
        class_names: of the split, in order.
        readers: source -> its features of all V videos.
        class_ids: (V,) index of each usable video's class in the split, -1 for the others.
        class_text: (C, D); None where nothing reads text.
        n_variants: stored variants that episodes may draw from; 1 is the test view alone.
        groups: (V,) number of each video's source recording; None where episodes do not ask for it.
    """

    split: str
    class_names: tuple[str, ...]
    readers: Mapping[str, FeatureReader]
    class_ids: np.ndarray
    class_text: Tensor | None
    n_variants: int
    groups: np.ndarray | None

    def bank(self, device: str | torch.device) -> FeatureBank:
        """The features, ready to be gathered into episodes on a device."""
        rows = np.flatnonzero(self.class_ids >= 0)
        return FeatureBank(self.readers, rows, class_text=self.class_text, n_variants=self.n_variants, device=device)

    def sampler(self, request: EpisodeRequest) -> EpisodeSampler:
        """The episodes of this size.

        Raises:
            ValueError: if an episode cannot be drawn, naming every class that is too small.
        """
        return EpisodeSampler(
            self.class_ids,
            class_names=self.class_names,
            split=self.split,
            groups=self.groups,
            n_variants=self.n_variants,
            **asdict(request),
        )
