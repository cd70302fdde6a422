"""From settings to everything that a model is trained and tested on: videos, features, text, episodes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mdmf.corruptions import FRAME_KINDS, parse_corruption
from mdmf.data.episodes import EpisodeRequest, EpisodeSampler
from mdmf.data.features.bank import FeatureReader
from mdmf.data.features.extractor import ExtractionSummary
from mdmf.data.features.readers import CorruptedReader, ReorderedReader
from mdmf.data.features.store import check_same_settings, read_manifest
from mdmf.data.features.stores import FeatureStores
from mdmf.data.listing.index import VideoIndex, build_index
from mdmf.data.sources.source import FeatureSource
from mdmf.device import resolve_device
from mdmf.encoders.clip import FrozenEncoder, load_encoder
from mdmf.encoders.text_cache import ClassText, cached_class_text
from mdmf.encoders.text_file import read_class_text
from mdmf.engine.recipes import extraction_options, listing_settings, sentences_of, store_recipes
from mdmf.engine.split_data import Role, SplitData
from mdmf.files import json_sha256
from mdmf.models.build import build_model
from mdmf.models.method import Method
from mdmf.models.text_at_test import text_model
from mdmf.settings import MethodSettings, Settings, SingleSourceSettings
from mdmf.shapes.world import write_shapes_world
from mdmf.source_settings import DEFAULT_SOURCE
from mdmf.structures import VideoRecord

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Workspace:
    """The data of one experiment, made on demand and in this order: index, features, text, splits.

    Nothing is decoded or encoded twice: what an earlier run finished is read from the feature store. A workspace does
    not change: other settings are another workspace.

    Attributes:
        settings: of the experiment.
        progress: show bars for long work.
        allow_code: let `encoder.library: module` and `model.name: module` import a user's own code.
    """

    settings: Settings
    progress: bool = field(default=True, kw_only=True)
    allow_code: bool = field(default=False, kw_only=True)
    _encoders: dict[str, FrozenEncoder] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def index(self) -> VideoIndex:
        """The videos; the embedded world is written first, where it is asked for and missing."""
        data = self.settings.data
        listing = listing_settings(self.settings)
        if data.kind == "shapes":
            write_shapes_world(
                listing.root,
                n_videos_per_class=data.shapes.n_videos_per_class,
                seed=data.shapes.seed,
                camouflage_share=data.shapes.camouflage_share,
                shake_share=data.shapes.shake_share,
                n_workers=data.n_workers or None,
                progress=self.progress,
            )
        index = build_index(listing)
        logger.info("%s", index.summary())
        return index

    @cached_property
    def methods(self) -> dict[str, MethodSettings]:
        """Name in tables -> settings of the baselines and, last, of the method itself (resolved, if it is your own)."""
        model = self.settings.model
        baselines = {baseline.table_name: baseline for baseline in self.settings.evaluation.baselines}
        others = {name: baseline for name, baseline in baselines.items() if name != model.table_name}
        return {**others, model.table_name: model.resolved(allow_code=self.allow_code)}

    @property
    def method(self) -> MethodSettings:
        """The settings of the method that is trained or tested."""
        return self.methods[self.settings.model.table_name]

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The sources of features that the test looks at, the baselines' too, in the order of the settings."""
        needed = {source for method in self.methods.values() for source in method.used_sources}
        if self.needs_text:
            needed.add(DEFAULT_SOURCE)  # the text is that of the frames' encoder
            self._check_text_source()
        return self._in_order(needed)

    def _check_text_source(self) -> None:
        """See before any work whether there is something that reads class text.

        Raises:
            ValueError: naming the method that needs it.
        """
        if self.settings.data.class_text is None and not self.settings.source(DEFAULT_SOURCE).needs_encoder:
            names = [name for name, method in self.methods.items() if method.reads_text] or ["model.text_weight"]
            raise ValueError(
                f"{names[0]} reads the text of the classes, and source {DEFAULT_SOURCE!r} has no encoder; give "
                f"data.class_text, a file with a vector per class name, or take a method that reads no text"
            )
        for method in self.methods.values():
            for source in method.used_sources if isinstance(method, SingleSourceSettings) and method.reads_text else ():
                if self.settings.encoder_of(source) != self.settings.encoder_of(DEFAULT_SOURCE):
                    raise ValueError(
                        f"{method.table_name} compares source {source!r} with class text of the encoder of "
                        f"{DEFAULT_SOURCE!r}, and {source!r} has another encoder; use the same one for both"
                    )

    def _in_order(self, names: set[str]) -> tuple[str, ...]:
        """Declared sources in the order of the settings.

        Raises:
            ValueError: for one that is not declared.
        """
        for name in names:
            self.settings.source(name)
        return tuple(name for name in self.settings.sources if name in names)

    @cached_property
    def needs_text(self) -> bool:
        """Whether anything here looks at the classes' text."""
        return any(method.reads_text for method in self.methods.values()) or self.settings.model.text_weight != 0

    def encoder(self, source: str = DEFAULT_SOURCE) -> FrozenEncoder:
        """The frozen encoder of a source; loaded only where something has to be encoded, once for equal settings."""
        settings = self.settings.encoder_of(source)
        key = settings.model_dump_json()
        if key not in self._encoders:
            self._encoders[key] = load_encoder(
                library=settings.library,
                model=settings.model,
                weights=settings.weights,
                device=resolve_device(settings.device),
                precision=settings.precision,
                seed=settings.seed,
                allow_code=self.allow_code,
            )
        return self._encoders[key]

    @cached_property
    def stores(self) -> FeatureStores:
        """The features of all videos."""
        return self._stores(self.index.records, self.sources)

    def _stores(self, records: Sequence[VideoRecord], sources: Iterable[str], *, corruption: str = "") -> FeatureStores:
        recipes = store_recipes(self.settings, records, sources, corruption=corruption)
        options = extraction_options(self.settings, progress=self.progress)
        return FeatureStores(recipes, records, encoder=self.encoder, options=options)

    @cached_property
    def test_readers(self) -> dict[str, FeatureReader]:
        """source -> its features as the test sees them: corrupted, where the settings say so."""
        return {source: self._corrupted(source, reader) for source, reader in self.stores.readers.items()}

    def _corrupted(self, source: str, clean: FeatureReader) -> FeatureReader:
        corrupt = self.settings.corrupt
        text = corrupt.of(source)
        if not text:
            return clean
        corruption, video_ids = parse_corruption(text), self.stores.first.table.video_id.tolist()
        if corruption.kind not in FRAME_KINDS:
            return CorruptedReader(clean, corruption, video_ids=video_ids, source=source, seed=corrupt.seed)
        # Corrupted frames are encoded anew: those of the test's videos alone, scaled as the clean ones are.
        records = [record for record in self.index.records if record.split == self.settings.evaluation.split]
        stores = self._stores(records, [source], corruption=text)
        place = {video_id: row for row, video_id in enumerate(stores.first.table.video_id)}
        rows = np.array([place.get(video_id, -1) for video_id in video_ids], dtype=np.int64)
        return ReorderedReader(stores.first, rows, feature_scale=clean.feature_scale)

    def with_episodes_of(self, settings: Settings) -> Workspace:
        """The workspace of settings that differ in the size of test episodes alone; it shares index and features."""
        other = copy.copy(self)
        object.__setattr__(other, "settings", settings)  # the copy is not in use yet
        return other

    def extract(self) -> ExtractionSummary:
        """Finish the feature stores, from where any earlier run stopped."""
        return self.stores.extract()

    @cached_property
    def sentences(self) -> dict[str, list[str]]:
        """The prompts of every class of every split, as they are sent to the text encoder."""
        return sentences_of(self.settings, self.index)

    @cached_property
    def text(self) -> ClassText:
        """Text features of every class: from `data.class_text`, or kept in the store of the frames.

        Raises:
            ValueError: if a class has none, or they cannot be compared with the features of frames.
        """
        store, file = self.stores.opened[DEFAULT_SOURCE], self.settings.data.class_text
        if file is not None:
            text = read_class_text(file, [name for names in self.index.classes.values() for name in names])
            size = next(iter(text.features.values())).numel()
            if size != store.feature_size:
                raise ValueError(
                    f"{file} has vectors of size {size}, and the features of {DEFAULT_SOURCE!r} have size "
                    f"{store.feature_size}; both must be of one encoder"
                )
            return text
        return cached_class_text(
            store.folder / "text", self.sentences, identity=store.settings.encoder, encoder=self._encoder_of_store
        )

    def _encoder_of_store(self) -> FrozenEncoder:
        """The encoder, once it is seen to be the one that encoded the frames.

        Raises:
            StoreMismatch: if it is another one, as where the weights behind a name were replaced.
        """
        encoder, store = self.encoder(), self.stores.opened[DEFAULT_SOURCE]
        check_same_settings(
            store.folder, read_manifest(store.folder), replace(store.settings, encoder=encoder.identity)
        )
        return encoder

    def class_text(self, split: str) -> Tensor | None:
        """Text features (C, D) of a split's classes in order, scaled like the frames to mean norm 10.

        None where nothing looks at them.
        """
        if not self.needs_text:
            return None
        return self.text.scaled(self.index.classes[split])

    @cached_property
    def fingerprint(self) -> str:
        """Names the data of a run: its videos and splits, how they were encoded, and the text features."""
        videos = [(record.video_id, record.class_name, record.split) for record in self.index.records]
        identity: list[Any] = [videos]
        for source in self.method.used_sources:
            store = self.stores.opened[source]
            identity += [store.settings.to_json(), store.feature_scale, store.ok.tolist()]
        text = torch.stack(list(self.text.features.values())).numpy().tobytes() if self.needs_text else b""
        return json_sha256(identity, text)[:16]

    @property
    def _own_sources(self) -> tuple[str, ...]:
        """What training and val look at: baselines of the test must change nothing there."""
        needed = {*self.method.used_sources, *([DEFAULT_SOURCE] if self.settings.model.text_weight else [])}
        return self._in_order(needed)

    @property
    def video_ids(self) -> np.ndarray:
        """(V,) names of the videos by row number, as banks and samplers count them."""
        return self.stores.first.table.video_id

    def split(self, split: str, *, role: Role) -> SplitData:
        """The usable videos of a split in one role.

        Training uses all stored variants of videos that have every source of the method. Validation and test use the
        test view of videos with one source at least: of the method, or, in the test, of everything that is tested,
        corrupted where `corrupt` says so. A feature that a corruption removes counts as present: the episodes stay
        the same.

        Raises:
            ValueError: if groups are asked for and unknown.
        """
        table = self.stores.first.table
        return SplitData(
            split=split,
            class_names=self.index.classes[split],
            readers=self.test_readers if role == "test" else self._readers(role),
            class_ids=self._class_ids(split, role),
            class_text=self.class_text(split),
            n_variants=self.stores.first.n_variants if role == "training" else 1,
            groups=self._groups(table.video_id, table.group),
        )

    def _readers(self, role: Role) -> dict[str, FeatureReader]:
        """source -> its features as they are stored."""
        sources = self.sources if role == "test" else self._own_sources
        return {source: self.stores.readers[source] for source in sources}

    def _class_ids(self, split: str, role: Role) -> np.ndarray:
        """(V,) index of each usable video's class in the split, -1 for the others."""
        class_index = {name: number for number, name in enumerate(self.index.classes[split])}
        records = [record for record in self.index.records if record.split == split]
        rows = self.stores.first.rows_of([record.video_id for record in records])
        classes = np.array([class_index[record.class_name] for record in records], dtype=np.int64)
        present = np.stack([reader.ok[rows] for reader in self._readers(role).values()])
        usable = np.asarray(present.all(axis=0) if role == "training" else present.any(axis=0))
        class_ids = np.full(len(self.stores.first.table), -1, dtype=np.int64)
        class_ids[rows[usable]] = classes[usable]
        return class_ids

    def check_episodes(self, split: str, request: EpisodeRequest) -> None:
        """Check from the index alone, before anything is encoded, that a split has episodes of this size.

        Raises:
            ValueError: if it has not.
        """
        class_index = {name: number for number, name in enumerate(self.index.classes[split])}
        records = self.index.records
        class_ids = [class_index[record.class_name] if record.split == split else -1 for record in records]
        EpisodeSampler(
            np.array(class_ids, dtype=np.int64),
            class_names=self.index.classes[split],
            split=split,
            groups=self._groups([record.video_id for record in records], [record.group for record in records]),
            **asdict(request),
        )

    def _groups(self, video_ids: Iterable[str], names: Iterable[str | None]) -> np.ndarray | None:
        """(V,) number of each video's source recording; None where episodes do not ask for it.

        Raises:
            ValueError: if they do, and a video has none.
        """
        if not self.settings.episode.group_disjoint:
            return None
        unknown = [video_id for video_id, name in zip(video_ids, names, strict=True) if name is None]
        if unknown:
            raise ValueError(
                f"episode.group_disjoint needs the source recording of every video; {len(unknown)} have none, such as "
                f"{unknown[0]!r}; set data.group_pattern, or give a `group` column in the CSV"
            )
        return np.unique(np.array(list(names), dtype=str), return_inverse=True)[1]

    def model(self, name: str | None = None) -> Method:
        """The method of the settings, or a baseline by its name in tables, for these features."""
        settings = self.methods[name or self.settings.model.table_name]
        readers = self.stores.readers
        return build_model(
            settings,
            feature_sizes={source: reader.feature_size for source, reader in readers.items()},
            n_frames=self.settings.frames.n_frames,
            logit_scale=self.text.logit_scale if self.needs_text else 100.0,  # of a method that reads no text: unused
        )

    def text_model(self) -> nn.Module:
        """The text's own answer, to combine with the method's."""
        size = self.stores.readers[DEFAULT_SOURCE].feature_size
        return text_model(self.method, logit_scale=self.text.logit_scale, feature_size=size)

    def notes(self, split: str) -> list[str]:
        """What a reader of a test's result must know about its features."""
        notes = []
        for source, store in self.stores.opened.items():
            encoder = store.settings.encoder
            recipe_source = self.stores.recipes[source].source
            if isinstance(recipe_source, FeatureSource):
                notes.append(f"features of {source} were made by {recipe_source.origin}")
                continue
            what = "encoder" if self.sources == (DEFAULT_SOURCE,) else f"encoder of {source}"
            notes.append(f"{what} {encoder['library']} {encoder['model']}, weights {encoder['weights']}")
            if encoder["weights"].startswith("random"):
                notes.append("THE ENCODER'S WEIGHTS ARE RANDOM: these numbers say nothing about real features")
        for source in self.sources:
            if text := self.settings.corrupt.of(source):
                notes.append(f"{source} corrupted on purpose: {text} (seed {self.settings.corrupt.seed})")
        return notes + self._missing_notes(split)

    def _missing_notes(self, split: str) -> list[str]:
        in_split = self.stores.first.rows_of([r.video_id for r in self.index.records if r.split == split])
        usable = self._class_ids(split, "test")[in_split] >= 0
        notes = []
        if not usable.all():
            notes.append(f"{(~usable).sum()} of {len(in_split)} videos could not be read and were not used")
        for source, reader in self.test_readers.items():
            n_lacking = int((~reader.ok[in_split] & usable).sum())
            if n_lacking:
                notes.append(
                    f"{n_lacking} of {usable.sum()} videos have no {source}: models of more sources use the "
                    f"others, models of {source} alone guess"
                )
        return notes
