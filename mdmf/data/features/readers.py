"""What stands between a feature store and a bank: rows in another order, features corrupted on purpose."""

from collections.abc import Sequence

import numpy as np

from mdmf.corruptions import Corruption
from mdmf.data.features.bank import FeatureReader
from mdmf.data.views.corruption import corrupt_features, corruption_generator, is_missing


class ReorderedReader:
    """A store whose videos are numbered as those of another one.

    Args:
        reader: the store.
        rows: (V,) where each video of the other store stands in this one; -1 for a video that it does not have.
        feature_scale: in the place of the store's own.
    """

    def __init__(self, reader: FeatureReader, rows: np.ndarray, *, feature_scale: float | None = None) -> None:
        self._reader, self._rows = reader, rows
        self.feature_scale = reader.feature_scale if feature_scale is None else feature_scale
        self.ok = reader.ok[rows] & (rows >= 0)
        self.n_variants, self.n_frames, self.feature_size = reader.n_variants, reader.n_frames, reader.feature_size

    def read(self, rows: np.ndarray, variants: np.ndarray) -> np.ndarray:
        """Features (..., T, D) of videos (...) in the other store's numbers, of those that it has."""
        return self._reader.read(self._rows[rows], variants)


class CorruptedReader:
    """A store whose features are corrupted as they are read: each video in its own way, the same at every reading.

    Args:
        reader: the store.
        corruption: a corruption of features, not of frames.
        video_ids: (V,) of the store's videos.
        source: of its features; the same video is corrupted in another way in another source.
        seed: of all that is random in it.
    """

    def __init__(
        self, reader: FeatureReader, corruption: Corruption, *, video_ids: Sequence[str], source: str, seed: int
    ) -> None:
        self._reader, self._corruption = reader, corruption
        self._video_ids, self._source, self._seed = video_ids, source, seed
        self.feature_scale, self.ok = reader.feature_scale, reader.ok
        self.n_variants, self.n_frames, self.feature_size = reader.n_variants, reader.n_frames, reader.feature_size
        if corruption.kind == "missing":
            lost = [is_missing(corruption, self._generator(row)) for row in range(len(video_ids))]
            self.ok = reader.ok & ~np.array(lost, dtype=bool)

    def read(self, rows: np.ndarray, variants: np.ndarray) -> np.ndarray:
        """Features (..., T, D) of videos (...)."""
        features = self._reader.read(rows, variants)
        if self._corruption.kind == "missing":
            return features
        flat = features.reshape(-1, *features.shape[-2:])
        for place, row in enumerate(rows.ravel()):
            flat[place] = corrupt_features(flat[place], self._corruption, self._generator(row))
        return flat.reshape(features.shape)

    def _generator(self, row: int) -> np.random.Generator:
        return corruption_generator(self._seed, self._video_ids[row], self._source)
