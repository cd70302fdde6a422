"""From settings to everything that a model is trained and tested on: videos, features, text, episodes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from mdmf.config import Settings
from mdmf.data.episodes import EpisodeSampler
from mdmf.data.index import VideoIndex, build_index
from mdmf.data.shapes import write_shapes_world
from mdmf.data.store import FeatureStore, StoreSettings, read_manifest
from mdmf.data.store_builder import StoreBuilder
from mdmf.encoders.clip import FrozenEncoder, load_encoder
from mdmf.encoders.prompts import class_sentences, class_text_features, load_prompts
from mdmf.engine.bank import FeatureBank
from mdmf.engine.device import resolve_device
from mdmf.engine.extractor import ExtractionSummary, extract_features
from mdmf.files import write_atomic
from mdmf.models.build import build_model
from mdmf.resources import resource_folder, shipped_names

logger = logging.getLogger(__name__)

FEATURE_NORM = 10.0  # mean norm of scaled features; CLIP's own is about 10, and features of unit norm do not train


@dataclass(frozen=True)
class ClassText:
    """Text features of classes, and the encoder's logit scale.

    features: class -> (D,), unscaled, as the encoder gave them.
    """

    features: dict[str, Tensor]
    logit_scale: float


class Workspace:
    """The data of one experiment, made on demand and in this order: index, features, text, banks and samplers.

    Nothing is decoded or encoded twice: what an earlier run finished is read from the feature store.

    Args:
        settings: of the experiment.
        progress: show bars for long work.
        allow_code: let `encoder.library: module` import a user's own encoder.
    """

    def __init__(self, settings: Settings, *, progress: bool = True, allow_code: bool = False) -> None:
        self.settings, self.progress, self.allow_code = settings, progress, allow_code

    @cached_property
    def index(self) -> VideoIndex:
        """The videos; the embedded world is written first, where it is asked for and missing."""
        data = self.settings.data
        kind, class_split = data.kind, data.class_split
        if data.root is None:
            raise ValueError("data.root is not set; give the folder of the videos, as in data.root=/my/videos")
        if kind == "shapes":
            write_shapes_world(
                data.root,
                n_videos_per_class=data.shapes.n_videos_per_class,
                seed=data.shapes.seed,
                n_workers=data.n_workers or None,
                progress=self.progress,
            )
            kind = "folder"
        if class_split is None and kind == "folder" and data.name in shipped_names("splits"):
            class_split = data.name
        index = build_index(
            name=data.name,
            kind=kind,
            root=data.root,
            csv=data.csv,
            lists={str(split): path for split, path in data.lists.items()} if data.lists else None,
            class_split=None if class_split == "random" else class_split,
            split_fractions=data.split_fractions if class_split == "random" else None,
            split_seed=data.split_seed,
            group_pattern=data.group_pattern,
        )
        logger.info("%s", index.summary())
        return index

    @cached_property
    def encoder(self) -> FrozenEncoder:
        """The frozen encoder; loaded only where something has to be encoded."""
        encoder = self.settings.encoder
        return load_encoder(
            library=encoder.library,
            model=encoder.model,
            weights=encoder.weights,
            device=resolve_device(encoder.device),
            precision=encoder.precision,
            seed=encoder.seed,
            allow_code=self.allow_code,
        )

    @cached_property
    def store_settings(self) -> StoreSettings:
        """What the feature store must have been made with, as far as it is known without loading the encoder."""
        frames = self.settings.frames
        return StoreSettings(
            encoder=requested_encoder(self.settings),
            n_frames=frames.n_frames,
            frame_rule=frames.rule,
            short=frames.short_videos,
            decoder=self.settings.data.decoder,
            n_variants=frames.n_variants,
            crop_scale_min=frames.crop_scale_min,
            jitter=frames.jitter,
            flip=frames.flip,
            seed=frames.seed,
        )

    @cached_property
    def store_folder(self) -> Path:
        """Where the features are: the folder that is set, or one named by all that decides its contents."""
        data = self.settings.data
        if data.store is not None:
            return data.store
        # Sizes tell other videos of the same names apart; times would differ from machine to machine.
        videos = [(r.video_id, r.class_name, r.group, content_size(r.path)) for r in self.index.records]
        content = json.dumps([self.store_settings.to_json(), sorted(videos, key=str)], sort_keys=True)
        return Path("stores") / f"{data.name}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"

    def extract(self) -> ExtractionSummary:
        """Finish the feature store, from where any earlier run stopped."""
        finished = self._is_finished()
        asked = self.store_settings if finished else self._full_store_settings()
        builder = StoreBuilder.create_or_open(self.store_folder, settings=asked, records=self.index.records)
        return extract_features(
            self.index.records,
            builder,
            encoder=None if finished else self.encoder,
            n_workers=self.settings.data.n_workers,
            batch_frames=self.settings.encoder.batch_frames,
            progress=self.progress,
        )

    @cached_property
    def store(self) -> FeatureStore:
        """The finished feature store; extracted first where it is not."""
        if not self._is_finished():
            logger.info("features in %s: %s", self.store_folder, self.extract())
        store = FeatureStore.open(self.store_folder, settings=self.store_settings, records=self.index.records)
        n_bad = int((~store.ok).sum())
        if n_bad:
            logger.warning("%d of %d videos are bad and not used; see %s/videos.csv", n_bad, len(store), store.folder)
        return store

    def _is_finished(self) -> bool:
        try:
            return bool(read_manifest(self.store_folder)["complete"])
        except FileNotFoundError:
            return False

    def _full_store_settings(self) -> StoreSettings:
        encoder = self.encoder
        return replace(
            self.store_settings,
            encoder={**requested_encoder(self.settings), **encoder.identity},
            preprocess=encoder.preprocess,
            feature_size=encoder.feature_size,
        )

    @cached_property
    def sentences(self) -> dict[str, list[str]]:
        """The prompts of every class of every split, as they are sent to the text encoder."""
        prompts = load_prompts(self._prompt_file())
        names = [name for names in self.index.classes.values() for name in names]
        return class_sentences(prompts, names, known_classes=self.index.known_classes)

    def _prompt_file(self) -> Path:
        data = self.settings.data
        if data.prompts is not None:
            return data.prompts
        own = resource_folder("prompts") / f"{data.name}.yaml"
        return own if own.is_file() else resource_folder("prompts") / "default.yaml"

    @cached_property
    def text(self) -> ClassText:
        """Text features, kept in the store under the hash of the sentences and the encoder."""
        key = json.dumps([self.sentences, dict(self.store.settings.encoder)], sort_keys=True)
        path = self.store_folder / "text" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
        if not _is_whole(path):
            features = class_text_features(self.encoder.encode_texts, self.sentences).cpu().contiguous()
            metadata = {"classes": json.dumps(list(self.sentences)), "logit_scale": repr(self.encoder.logit_scale)}
            write_atomic(path, to_safetensors({"features": features}, metadata=metadata))
        with safe_open(path, framework="pt") as file:
            features, metadata = file.get_tensor("features"), file.metadata()
        names = json.loads(metadata["classes"])
        return ClassText(dict(zip(names, features, strict=True)), float(metadata["logit_scale"]))

    def class_text(self, split: str) -> Tensor:
        """Text features (C, D) of a split's classes in order, scaled like the frames to mean norm 10."""
        every = torch.stack(list(self.text.features.values()))
        scale = FEATURE_NORM / every.norm(dim=-1).mean()
        return torch.stack([self.text.features[name] for name in self.index.classes[split]]) * scale

    @cached_property
    def fingerprint(self) -> str:
        """Names the data of a run: its videos and splits, how they were encoded, and the text features."""
        videos = [(record.video_id, record.class_name, record.split) for record in self.index.records]
        made = [videos, self.store.settings.to_json(), self.store.feature_scale, self.store.ok.tolist()]
        digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode())
        digest.update(torch.stack(list(self.text.features.values())).numpy().tobytes())
        return digest.hexdigest()[:16]

    def _rows_of_split(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a split's usable videos in the store, and the index of each one's class."""
        class_index = {name: number for number, name in enumerate(self.index.classes[split])}
        records = [record for record in self.index.records if record.split == split]
        rows = self.store.rows_of([record.video_id for record in records])
        classes = np.array([class_index[record.class_name] for record in records], dtype=np.int64)
        usable = self.store.ok[rows]
        return rows[usable], classes[usable]

    def bank(self, split: str, *, device: torch.device, all_variants: bool = False) -> FeatureBank:
        """The features of a split; only the test view unless `all_variants`."""
        return FeatureBank(
            self.store,
            self._rows_of_split(split)[0],
            class_text=self.class_text(split),
            n_variants=self.store.n_variants if all_variants else 1,
            device=device,
        )

    def sampler(
        self, split: str, *, n_way: int, n_shot: int, n_query: int, seed: int, all_variants: bool = False
    ) -> EpisodeSampler:
        """The episodes of a split.

        Raises:
            ValueError: if an episode of this size cannot be drawn, or groups are asked for and unknown.
        """
        rows, classes = self._rows_of_split(split)
        class_ids = np.full(len(self.store), -1, dtype=np.int64)
        class_ids[rows] = classes
        return EpisodeSampler(
            class_ids,
            class_names=self.index.classes[split],
            n_way=n_way,
            n_shot=n_shot,
            n_query=n_query,
            seed=seed,
            split=split,
            groups=self._groups() if self.settings.episode.group_disjoint else None,
            n_variants=self.store.n_variants if all_variants else 1,
        )

    def check_episodes(self, split: str, *, n_way: int, n_shot: int, n_query: int) -> None:
        """See from the index alone, before anything is encoded, whether a split has episodes of this size.

        Raises:
            ValueError: if it has not.
        """
        class_index = {name: number for number, name in enumerate(self.index.classes[split])}
        class_ids = [class_index[record.class_name] for record in self.index.records if record.split == split]
        EpisodeSampler(
            np.array(class_ids, dtype=np.int64),
            class_names=self.index.classes[split],
            n_way=n_way,
            n_shot=n_shot,
            n_query=n_query,
            seed=0,
            split=split,
        )

    def _groups(self) -> np.ndarray:
        """(V,) number of each video's source recording."""
        groups = self.store.table.group
        unknown = np.flatnonzero([group is None for group in groups])
        if len(unknown):
            example = self.store.table.video_id[unknown[0]]
            raise ValueError(
                f"episode.group_disjoint needs the source recording of every video; {len(unknown)} have none, such as "
                f"{example!r}; set data.group_pattern, or give a `group` column in the CSV"
            )
        return np.unique(groups.astype(str), return_inverse=True)[1]

    def model(self, name: str | None = None) -> nn.Module:
        """The model of the settings, or another one by name, for these features."""
        chosen = self.settings.model
        if name is not None and name != chosen.name:
            chosen = chosen.model_copy(update={"name": name})
        sizes = {self.store.settings.modality: self.store.feature_size}
        return build_model(chosen, feature_sizes=sizes, logit_scale=self.text.logit_scale)

    def notes(self) -> list[str]:
        """What a reader of any result must know about the features."""
        encoder = self.store.settings.encoder
        notes = [f"encoder {encoder['library']} {encoder['model']}, weights {encoder['weights']}"]
        if encoder["weights"].startswith("random"):
            notes.append("THE ENCODER'S WEIGHTS ARE RANDOM: these numbers say nothing about real features")
        n_bad = int((~self.store.ok).sum())
        if n_bad:
            notes.append(f"{n_bad} of {len(self.store)} videos could not be read and were not used")
        return notes


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file can be read; one that cannot is a damaged cache, and made again."""
    try:
        with safe_open(path, framework="pt"):
            return True
    except (FileNotFoundError, SafetensorError):
        return False


def content_size(path: Path) -> int:
    """Bytes of a video file, or of all frames of a frame folder; -1 for what cannot be looked at."""
    try:
        if path.is_dir():
            return sum(entry.stat().st_size for entry in os.scandir(path))
        return path.stat().st_size
    except OSError:  # a dangling link, say: the extractor marks the video bad, with the reason
        return -1


def requested_encoder(settings: Settings) -> dict[str, str]:
    """What is asked of the encoder, known without loading it; a local file is named by its content."""
    encoder = settings.encoder
    weights = f"random (seed {encoder.seed})" if encoder.weights == "random" else encoder.weights
    path = Path(encoder.weights).expanduser()
    if path.is_file():
        with path.open("rb") as file:
            weights = f"file {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    asked = {"library": encoder.library, "requested": f"{encoder.model} {weights}"}
    return asked if encoder.precision == "auto" else asked | {"precision": encoder.precision}
