"""The feature stores of some videos: one for each source of features, filled in one pass."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mdmf.data.features.bank import FeatureReader
from mdmf.data.features.builder import StoreBuilder
from mdmf.data.features.extractor import ExtractionSummary, extract_features
from mdmf.data.features.importer import import_features
from mdmf.data.features.readers import ReorderedReader
from mdmf.data.features.store import FeatureStore, StoreSettings, read_manifest
from mdmf.data.sources.source import FeatureSource, PictureSource
from mdmf.device import resolve_device
from mdmf.structures import ImageEncoder, VideoRecord

logger = logging.getLogger(__name__)

GetEncoder = Callable[[str], ImageEncoder]  # source -> its encoder, loaded when something has to be encoded


@dataclass(frozen=True)
class StoreRecipe:
    """What the store of one source is made from.

    Attributes:
        source: makes what is stored.
        settings: what the store must have been made with, as far as it is known without loading the encoder.
        folder: where the store is.
    """

    source: PictureSource | FeatureSource
    settings: StoreSettings
    folder: Path


@dataclass(frozen=True)
class ExtractionOptions:
    """How features are extracted; none of it changes them.

    Attributes:
        n_workers: processes that decode; 0 decodes in this one; None: by the number of videos and cores.
        batch_frames: most frames an encoder is given at once.
        device: where encoders compute, see `resolve_device`.
        progress: show a bar.
    """

    n_workers: int | None = None
    batch_frames: int = 256
    device: str = "auto"
    progress: bool = True


class FeatureStores:
    """The stores of a set of videos. What an earlier run finished is not made again.

    Args:
        recipes: source -> what its store is made from; the first one's store numbers the videos.
        records: the videos.
        encoder: gives the encoder of a source.
        options: of the extraction.
    """

    def __init__(
        self,
        recipes: Mapping[str, StoreRecipe],
        records: Sequence[VideoRecord],
        *,
        encoder: GetEncoder,
        options: ExtractionOptions,
    ) -> None:
        self.recipes, self.records, self.options = dict(recipes), records, options
        self._encoder = encoder

    def extract(self) -> ExtractionSummary:
        """Finish the stores, from where any earlier run stopped; each video is decoded once for all of them."""
        started = time.perf_counter()
        encoders: dict[str, ImageEncoder] = {}
        builders = {name: self._builder(name, recipe, encoders) for name, recipe in self.recipes.items()}
        sources = {name: recipe.source for name, recipe in self.recipes.items()}
        pictures = {name: source for name, source in sources.items() if isinstance(source, PictureSource)}
        imported = {name: source for name, source in sources.items() if isinstance(source, FeatureSource)}
        summaries = import_features(
            self.records, {name: builders[name] for name in imported}, imported, progress=self.options.progress
        )
        if pictures:
            summaries |= extract_features(
                self.records,
                {name: builders[name] for name in pictures},
                sources=pictures,
                encoders=encoders,
                n_workers=self.options.n_workers,
                encodes_on_cpu=resolve_device(self.options.device).type == "cpu",
                batch_frames=self.options.batch_frames,
                progress=self.options.progress,
            ).sources
        return ExtractionSummary({name: summaries[name] for name in sources}, time.perf_counter() - started)

    def _builder(self, name: str, recipe: StoreRecipe, encoders: dict[str, ImageEncoder]) -> StoreBuilder:
        """The store of a source; the encoder of an unfinished one is loaded and added to `encoders`."""
        settings = recipe.settings
        if not is_finished(recipe.folder):
            if isinstance(recipe.source, FeatureSource):
                with recipe.source.open() as arrays:
                    settings = replace(settings, feature_size=arrays.feature_size(self.records))
            else:
                encoders[name] = self._encoder(name)
                settings = settings.with_encoder(encoders[name])
        return StoreBuilder.create_or_open(recipe.folder, settings=settings, records=self.records)

    @cached_property
    def opened(self) -> dict[str, FeatureStore]:
        """source -> finished store; extracted first where one is not."""
        folders = [recipe.folder for recipe in self.recipes.values()]
        if not all(map(is_finished, folders)):
            logger.info("features in %s: %s", ", ".join(map(str, folders)), self.extract())
        stores = {
            name: FeatureStore.open(recipe.folder, settings=recipe.settings, records=self.records)
            for name, recipe in self.recipes.items()
        }
        for name, store in stores.items():
            n_bad = int((~store.ok).sum())
            if n_bad:
                logger.warning(
                    "%d of %d videos have no %s features; see %s/videos.csv", n_bad, len(store), name, store.folder
                )
        return stores

    @property
    def first(self) -> FeatureStore:
        """The store whose rows number the videos."""
        return next(iter(self.opened.values()))

    @cached_property
    def readers(self) -> dict[str, FeatureReader]:
        """source -> its features, numbered as in the first store."""
        readers: dict[str, FeatureReader] = {}
        for name, store in self.opened.items():
            rows = store.rows_of(self.first.table.video_id.tolist())
            in_order = np.array_equal(rows, np.arange(len(rows)))
            readers[name] = store if in_order else ReorderedReader(store, rows)
        return readers


def is_finished(folder: Path) -> bool:
    """Whether a finished feature store is in a folder."""
    try:
        return bool(read_manifest(folder)["complete"])
    except FileNotFoundError:
        return False
