"""The feature stores of some videos: one for each source of features, filled in one pass."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mdmf.data.features.bank import FeatureReader
from mdmf.data.features.builder import StoreBuilder
from mdmf.data.features.extractor import ExtractionSummary, extract_features
from mdmf.data.features.readers import ReorderedReader
from mdmf.data.features.store import FeatureStore, StoreSettings, read_manifest
from mdmf.data.sources.flow_files import find_flow_folder
from mdmf.data.sources.optical_flow import check_flow_method
from mdmf.device import resolve_device
from mdmf.encoders.clip import FrozenEncoder
from mdmf.files import json_sha256
from mdmf.settings import EncoderSettings, Settings
from mdmf.structures import FlowRule, VideoRecord

logger = logging.getLogger(__name__)

GetEncoder = Callable[[str], FrozenEncoder]  # source -> its encoder, loaded when something has to be encoded


class FeatureStores:
    """The stores of a set of videos. What an earlier run finished is not made again.

    Args:
        settings: of the experiment.
        records: the videos.
        sources: `rgb`, `flow` or both; the first one's store numbers the videos.
        encoder: gives the encoder of a source.
        corruption: what is done to the pixels on purpose, such as `noise:0.2`; "" for nothing.
        progress: show a bar for long work.

    Raises:
        ValueError: if flow is to be read from a folder that does not exist.
        ImportError: if OpenCV lacks the method of flow.
    """

    def __init__(
        self,
        settings: Settings,
        records: Sequence[VideoRecord],
        *,
        sources: Sequence[str],
        encoder: GetEncoder,
        corruption: str = "",
        progress: bool = True,
    ) -> None:
        self.settings, self.records, self.sources, self.progress = settings, records, tuple(sources), progress
        self._encoder, self._corruption = encoder, corruption
        self._folders: dict[str, Path] = {}
        self._asked: dict[str, StoreSettings] = {}
        if "flow" in self.sources:
            check_flow_method(settings.data.flow.method)
            folder = settings.data.flow.folder
            if folder is not None and not folder.is_dir():
                raise ValueError(f"{folder} is no folder; check the setting data.flow.folder")

    def asked(self, source: str) -> StoreSettings:
        """What a source's store must have been made with, as far as it is known without loading the encoder."""
        if source not in self._asked:  # a local weights file is hashed for it
            self._asked[source] = self._settings_of(source)
        return self._asked[source]

    def _settings_of(self, source: str) -> StoreSettings:
        data, frames = self.settings.data, self.settings.frames
        return StoreSettings(
            encoder=requested_encoder(self.settings.encoder.of(source)),
            n_frames=frames.n_frames,
            frame_rule=frames.rule,
            short=frames.short_videos,
            decoder=data.decoder,
            n_variants=1 if self._corruption else frames.n_variants,
            crop_scale_min=frames.crop_scale_min,
            jitter=frames.jitter,
            flip=frames.flip,
            seed=self.settings.corrupt.seed if self._corruption else frames.seed,
            modality=source,
            flow=FlowRule(**data.flow.model_dump(exclude={"folder"})) if source == "flow" else None,
            flow_files=self._flow_files if source == "flow" and data.flow.method == "disk" else "",
            corruption=self._corruption,
        )

    def folder(self, source: str) -> Path:
        """Where a source's features are: the folder that is set, or one named by all that decides its contents."""
        if source not in self._folders:
            self._folders[source] = self._folder_of(source)
        return self._folders[source]

    def _folder_of(self, source: str) -> Path:
        data = self.settings.data
        own = data.store if source == "rgb" else data.flow_store
        if own is not None and not self._corruption:
            return own
        content = [self.asked(source).to_json(), self._video_sizes]
        key = json_sha256(content)[:10]
        parts = [data.name, *(["flow"] if source == "flow" else []), key]
        return (Path("stores") if own is None else own.parent) / "-".join(parts)

    @cached_property
    def _video_sizes(self) -> list[Any]:
        # Sizes tell other videos of the same names apart; times would differ from machine to machine.
        videos = [(r.video_id, r.class_name, r.group, content_size(r.path)) for r in self.records]
        return sorted(videos, key=str)

    @cached_property
    def _flow_files(self) -> str:
        """Names the flow files on disk by their sizes: flow that was repaired or replaced is other flow."""
        folder = self.settings.data.flow.folder
        sizes = []
        for record in self.records:
            try:
                sizes.append((record.video_id, content_size(find_flow_folder(folder or Path(), record.video_id))))
            except ValueError:
                sizes.append((record.video_id, -1))
        return json_sha256(sorted(sizes))[:16]

    def extract(self) -> ExtractionSummary:
        """Finish the stores, from where any earlier run stopped; each video is decoded once for all of them."""
        builders, encoders = {}, {}
        for source in self.sources:
            asked = self.asked(source)
            if not self._is_finished(source):
                encoder = encoders[source] = self._encoder(source)
                asked = replace(
                    asked,
                    encoder={**asked.encoder, **encoder.identity},
                    preprocess=encoder.preprocess,
                    feature_size=encoder.feature_size,
                )
            builders[source] = StoreBuilder.create_or_open(self.folder(source), settings=asked, records=self.records)
        return extract_features(
            self.records,
            builders,
            encoders=encoders,
            flow_folder=self.settings.data.flow.folder,
            n_workers=self.settings.data.n_workers,
            encodes_on_cpu=all(
                resolve_device(self.settings.encoder.of(source).device).type == "cpu" for source in self.sources
            ),
            batch_frames=self.settings.encoder.batch_frames,
            progress=self.progress,
        )

    @cached_property
    def opened(self) -> dict[str, FeatureStore]:
        """source -> finished store; extracted first where one is not."""
        if not all(self._is_finished(source) for source in self.sources):
            folders = ", ".join(str(self.folder(source)) for source in self.sources)
            logger.info("features in %s: %s", folders, self.extract())
        stores = {
            source: FeatureStore.open(self.folder(source), settings=self.asked(source), records=self.records)
            for source in self.sources
        }
        for source, store in stores.items():
            n_bad = int((~store.ok).sum())
            if n_bad:
                logger.warning(
                    "%d of %d videos have no %s features; see %s/videos.csv", n_bad, len(store), source, store.folder
                )
        return stores

    @property
    def first(self) -> FeatureStore:
        """The store whose rows number the videos."""
        return self.opened[self.sources[0]]

    @cached_property
    def readers(self) -> dict[str, FeatureReader]:
        """source -> its features, numbered as in the first store."""
        readers: dict[str, FeatureReader] = {}
        for source, store in self.opened.items():
            rows = store.rows_of(self.first.table.video_id.tolist())
            in_order = np.array_equal(rows, np.arange(len(rows)))
            readers[source] = store if in_order else ReorderedReader(store, rows)
        return readers

    def _is_finished(self, source: str) -> bool:
        try:
            return bool(read_manifest(self.folder(source))["complete"])
        except FileNotFoundError:
            return False


def content_size(path: Path) -> int:
    """Bytes of a video file, or of all frames of a frame folder; -1 for what cannot be looked at."""
    try:
        if path.is_dir():
            return sum(entry.stat().st_size for entry in os.scandir(path))
        return path.stat().st_size
    except OSError:  # a dangling link, say: the extractor marks the video bad, with the reason
        return -1


def requested_encoder(encoder: EncoderSettings) -> dict[str, str]:
    """What is asked of an encoder, known without loading it; a local file is named by its content."""
    weights = f"random (seed {encoder.seed})" if encoder.weights == "random" else encoder.weights
    path = Path(encoder.weights).expanduser()
    if path.is_file():
        with path.open("rb") as file:
            weights = f"file {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    asked = {"library": encoder.library, "requested": f"{encoder.model} {weights}"}
    return asked if encoder.precision == "auto" else asked | {"precision": encoder.precision}
