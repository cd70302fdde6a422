"""The settings of an experiment, section by section, checked as they are made; `config` reads them from YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from mdmf.corruptions import FRAME_KINDS, parse_corruption
from mdmf.old_settings import current_method, with_settings
from mdmf.old_sources import current_sources
from mdmf.registry import LISTING_FORMATS, METHODS
from mdmf.section import Section
from mdmf.source_settings import DEFAULT_SOURCE, SOURCE_NAME, Sources, SourceSettings
from mdmf.structures import ViewRule

DEFAULT_METHOD = "m2df"


class ShapesSettings(Section):
    """The embedded world of moving shapes (kind: shapes)."""

    n_videos_per_class: int = Field(24, ge=2, description="videos written per class")
    seed: int = Field(0, ge=0, description="seed of the world")
    camouflage_share: float = Field(0.0, ge=0, le=1, description="videos whose single frames hide the objects")
    shake_share: float = Field(0.0, ge=0, le=1, description="videos whose camera shakes and light flickers")

    @model_validator(mode="after")
    def _shares_fit(self) -> ShapesSettings:
        if self.camouflage_share + self.shake_share > 1:
            raise ValueError("camouflage_share and shake_share are parts of one whole, and sum to more than 1")
        return self


class DataSettings(Section):
    """Which videos there are, their classes and splits, and where their features are kept."""

    name: str = Field("clips", pattern=r"^[\w.-]+$", description="name of the data set: picks its prompts and split")
    kind: str = Field("folder", description="how the videos are listed: folder, csv, lists, shapes, imported, ...")
    root: Path | None = Field(None, description="folder of the videos")
    csv: Path | None = Field(None, description="file path,class[,split][,group] (kind: csv)")
    lists: dict[Literal["train", "val", "test"], Path] | None = Field(
        None, description="split -> published list, or file of features"
    )
    class_split: str | None = Field(None, description="shipped split, YAML of class names, or 'random'; default: name")
    split_fractions: tuple[float, float, float] = Field((0.64, 0.12, 0.24), description="train, val, test if random")
    split_seed: int = Field(0, ge=0, description="seed of the random split")
    group_pattern: str | None = Field(None, description="regex with one group: source recording in the file name")
    decoder: Literal["auto", "decord", "pyav"] = Field("auto", description="who decodes")
    n_workers: int | None = Field(None, ge=0, description="decoding processes; default: one per core")
    prompts: Path | None = Field(None, description="prompt file; default: the shipped one of the data set")
    class_text: Path | None = Field(None, description="text features by class name (.safetensors, .npz): no prompts")
    shapes: ShapesSettings = ShapesSettings()

    @field_validator("kind")
    @classmethod
    def _kind_is_registered(cls, kind: str) -> str:
        LISTING_FORMATS[kind]
        return kind

    @model_validator(mode="after")
    def _needs(self) -> DataSettings:
        for setting in LISTING_FORMATS[self.kind].needs:
            if not getattr(self, setting):
                raise ValueError(f"kind {self.kind!r} needs data.{setting}")
        if min(self.split_fractions) < 0 or abs(sum(self.split_fractions) - 1) > 1e-6:
            raise ValueError(f"split_fractions must be three shares that sum to 1, got {self.split_fractions}")
        if self.group_pattern is not None:
            try:
                n_groups = re.compile(self.group_pattern).groups
            except re.error as error:
                raise ValueError(f"group_pattern is no regular expression: {error}") from None
            if n_groups != 1:
                raise ValueError(f"group_pattern needs exactly one (group), has {n_groups}: {self.group_pattern!r}")
        return self


class FrameSettings(Section):
    """Which frames of a video are encoded."""

    n_frames: int = Field(8, ge=1, description="frames per video (T)")
    rule: Literal["uniform", "linspace_inner"] = Field(
        "uniform", description="where they lie; model.preset sets it too"
    )
    short_videos: Literal["repeat", "refuse"] = Field("repeat", description="videos shorter than n_frames")
    n_variants: int = Field(1, ge=1, description="stored variants (A): 0 the test view, others random, for training")
    crop_scale_min: float = Field(0.75, gt=0, le=1, description="smallest side of a random crop, of the shortest side")
    jitter: bool = Field(True, description="random frames take a random place in their segment")
    flip: bool = Field(False, description="random variants may be mirrored (left and right must not matter)")
    seed: int = Field(0, ge=0, description="seed of the random variants")


class EncoderSettings(Section):
    """The frozen image and text encoder."""

    library: Literal["open_clip", "transformers", "tiny", "module"] = Field("open_clip", description="who loads it")
    model: str = Field("ViT-B-16-quickgelu", description="model name or id; a dotted path for 'module'")
    weights: str = Field("openai", description="tag, local file, or 'random' (never by default)")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="of the weights")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    batch_frames: int = Field(256, ge=1, description="frames encoded at once")
    seed: int = Field(0, ge=0, description="seed of random weights")


class EpisodeSettings(Section):
    """The few-shot task."""

    n_way: int = Field(5, ge=2, description="classes per episode (N)")
    n_shot: int = Field(1, ge=1, description="support videos per class (K)")
    n_query: int = Field(5, ge=1, description="query videos per class in training")
    group_disjoint: bool = Field(False, description="no source recording in both support and query of a class")


class MethodSettings(Section):
    """The method; `mdmf methods NAME` lists the settings of one.

    Each method has its own class of settings, which also answers what the rest of the program asks about the method. It
    says which sources the method looks at (`used_sources`); the other facts come from the method's registration.
    """

    name: str = Field(description="the method; `mdmf methods` lists them")
    text_weight: float | Literal["val"] = Field(0.0, description="a of the text at test; 'val': chosen on val")

    @property
    def used_sources(self) -> tuple[str, ...]:
        """Names of the sources of features that the method looks at."""
        raise TypeError(f"{type(self).__name__} does not say which sources it looks at")

    @property
    def reads_text(self) -> bool:
        """Whether the method looks at the classes' text."""
        return bool(METHODS[self.name].reads_text)

    @property
    def is_trained(self) -> bool:
        """Whether the method has weights to learn."""
        return bool(METHODS[self.name].is_trained)

    @property
    def our_reading(self) -> bool:
        """Whether the method's equations are not public, and what is here is our reading of it."""
        return bool(METHODS[self.name].our_reading)

    @property
    def table_name(self) -> str:
        """The name in tables and result files."""
        return self.name

    def resolved(self, *, allow_code: bool) -> MethodSettings:
        """The settings that the method is made from: these, but for a method of the user's own."""
        return self

    @model_validator(mode="after")
    def _text_weight_is_a_share(self) -> MethodSettings:
        if self.text_weight != "val" and not 0 <= self.text_weight <= 1:
            raise ValueError(f"text_weight must be in [0, 1] or 'val', got {self.text_weight}")
        return self


def method_settings(values: Any) -> MethodSettings:
    """The settings of a method, checked by the method's own class.

    Args:
        values: a mapping with the method's `name` (default: `m2df`), or only a name.

    Raises:
        ValueError: for an unknown method; pydantic's `ValidationError`, with every error, for settings it cannot have.
    """
    if isinstance(values, MethodSettings):
        return values
    if not isinstance(values, str | Mapping):
        raise ValueError(f"expected the name of a method or its settings, got {values!r}")
    given = {"name": values} if isinstance(values, str) else {"name": DEFAULT_METHOD, **values}
    given = current_method(given)
    if not isinstance(given["name"], str):
        raise ValueError(f"name: expected the name of a method, got {given['name']!r}; `mdmf methods` lists them")
    entry = METHODS[given["name"]]
    preset = entry.presets.get(given.get("preset"), {})
    return entry.settings.model_validate({**preset.get("model", {}), **given})  # type: ignore[no-any-return]


MethodField = Annotated[SerializeAsAny[MethodSettings], BeforeValidator(method_settings)]


class SingleSourceSettings(MethodSettings):
    """Settings of a method that looks at one source of features."""

    source: str = Field(DEFAULT_SOURCE, pattern=SOURCE_NAME, description="the source of features")

    @property
    def used_sources(self) -> tuple[str, ...]:
        """The one source."""
        return (self.source,)

    @property
    def table_name(self) -> str:
        """The method's name, after that of a source that is not the frames."""
        return self.name if self.source == DEFAULT_SOURCE else f"{self.source}_{self.name}"


class AlignmentSettings(MethodSettings):
    """Settings of a method that compares frames by cosine and aligns them by OTAM."""

    otam_temperature: float = Field(0.5, gt=0, description="λ of the soft minimum")
    otam_directions: Literal["both", "query_to_support"] = Field("both", description="of the alignment")
    cosine_eps: float = Field(0.01, ge=0, description="added to the product of norms")


def _with_distances_of_model(baselines: Any, model: Any) -> Any:
    """Baselines that are given by their names alone take over how the model measures distances."""
    if not isinstance(baselines, Sequence) or isinstance(baselines, str) or not isinstance(model, Mapping):
        return baselines
    measuring = model["of"] if isinstance(model.get("of"), Mapping) else model
    shared = {key: measuring[key] for key in AlignmentSettings.__annotations__ if key in measuring}
    return [with_settings(name, shared) if isinstance(name, str) else name for name in baselines]


class TrainingSettings(Section):
    """Episodic training."""

    seed: int = Field(0, ge=0, description="weights, training episodes, dropout")
    n_steps: int = Field(2000, ge=1, description="optimiser steps")
    episodes_per_step: int = Field(8, ge=1, description="episodes a step")
    learning_rate: float = Field(1e-3, gt=0, description="of AdamW")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    warmup_steps: int = Field(30, ge=0, description="linear warm-up")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="after the warm-up")
    clip_norm: float | None = Field(5.0, gt=0, description="largest gradient norm; null: no clipping")
    distill_ramp: float = Field(0.33, ge=0, le=1, description="share of the steps over which λ_kd rises from 0")
    validate_every: int = Field(200, ge=1, description="steps between choices on val")
    validation_episodes: int = Field(500, ge=2, description="episodes of a choice on val")
    patience: int | None = Field(None, ge=1, description="validations without a better one before the run stops")
    log_every: int = Field(10, ge=1, description="steps between rows of metrics.jsonl")
    save_every: int = Field(100, ge=1, description="steps between states that --resume can go on from")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 on CUDA")
    device: str = Field("auto", description="auto, cpu, cuda, ...")
    n_threads: int | None = Field(None, ge=1, le=1024, description="CPU threads; default: torch's choice")


class EvaluationSettings(Section):
    """The test protocol (docs/methods.md, section 7)."""

    after_training: bool = Field(True, description="test the chosen checkpoint when training has ended")
    split: Literal["val", "test"] = Field("test", description="whose classes")
    n_episodes: int = Field(10_000, ge=2, description="test episodes")
    n_way: int | None = Field(None, ge=2, description="default: episode.n_way")
    n_shot: int | None = Field(None, ge=1, description="default: episode.n_shot")
    n_query: int = Field(1, ge=1, description="queries per class")
    seed: int = Field(0, ge=0, description="of validation and test episodes, the same for every training seed")
    batch_episodes: int = Field(100, ge=1, description="episodes answered at once; changes no result")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the weights that embed test videos; bfloat16 pays where the processor has it"
    )
    baselines: tuple[MethodField, ...] = Field((), description="methods without training, on the same episodes")

    @field_validator("baselines", mode="before")
    @classmethod
    def _one_baseline_is_a_list(cls, baselines: Any) -> Any:
        return (baselines,) if isinstance(baselines, str) else baselines

    @field_validator("baselines")
    @classmethod
    def _need_no_training(cls, baselines: tuple[MethodSettings, ...]) -> tuple[MethodSettings, ...]:
        trained = [baseline.table_name for baseline in baselines if baseline.is_trained]
        if trained:
            raise ValueError(f"{', '.join(trained)}: a baseline is a method without training; train it as a run")
        return baselines


def _corruption_text(text: str) -> str:
    """One text for one corruption: `noise:0.10` is `noise:0.1`."""
    return str(parse_corruption(text)) if text else text


class CorruptSettings(Section):
    """What the test's input suffers on purpose: source -> kind:strength, such as noise:0.2 (mdmf/corruptions.py)."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[str, AfterValidator(_corruption_text)]] = Field(init=False)

    seed: int = Field(0, ge=0, description="of all that is random in it")

    @property
    def by_source(self) -> dict[str, str]:
        """Source -> its corruption, of those that have one."""
        return {source: text for source, text in self.__pydantic_extra__.items() if text}

    def of(self, source: str) -> str:
        """The corruption of a source; "" for none."""
        return self.by_source.get(source, "")


class OutputSettings(Section):
    """Where results go."""

    root: Path = Field(Path("runs"), description="folder of the runs")
    name: str | None = Field(None, pattern=r"^[\w.-]+$", description="name of the run; default: the config's")
    tensorboard: bool = Field(False, description="also write TensorBoard files")


class Settings(Section):
    """All settings of one experiment."""

    data: DataSettings = Field(default_factory=DataSettings)  # a default made here would import every listing format
    sources: Sources = Field({}, validate_default=True, description="named streams of features: sources.<name>.kind=…")
    frames: FrameSettings = FrameSettings()
    encoder: EncoderSettings = EncoderSettings()
    episode: EpisodeSettings = EpisodeSettings()
    model: MethodField = Field({"name": DEFAULT_METHOD}, validate_default=True)
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    corrupt: CorruptSettings = CorruptSettings()
    output: OutputSettings = OutputSettings()

    @property
    def view_rule(self) -> ViewRule:
        """Which frames are encoded, and which part of them."""
        frames = self.frames.model_dump(exclude={"rule", "short_videos"})
        return ViewRule(
            frame_rule=self.frames.rule, short=self.frames.short_videos, decoder=self.data.decoder, **frames
        )

    def source(self, name: str) -> SourceSettings:
        """The settings of a source.

        Raises:
            ValueError: listing the declared sources, if there is none of this name.
        """
        if name not in self.sources:
            raise ValueError(
                f"no source {name!r} is declared; the sources are {', '.join(self.sources)}; declare it as in "
                f"sources.{name}.kind=imported"
            )
        return self.sources[name]

    def encoder_of(self, name: str) -> EncoderSettings:
        """The settings of the encoder of a source."""
        overrides = self.source(name).encoder.model_dump(exclude_none=True)
        return self.encoder.model_copy(update=overrides)

    @model_validator(mode="after")
    def _stores_are_different(self) -> Settings:
        by_store: dict[Path, str] = {}
        for name, source in self.sources.items():
            if source.store is not None and by_store.setdefault(source.store, name) != name:
                raise ValueError(
                    f"sources.{by_store[source.store]} and sources.{name} have the same store; give each its own"
                )
        return self

    @model_validator(mode="after")
    def _corrupted_sources_allow_it(self) -> Settings:
        for name, text in self.corrupt.by_source.items():
            source = self.source(name)
            if parse_corruption(text).kind in FRAME_KINDS and not source.uses_frames:
                raise ValueError(f"corrupt.{name}={text} acts on frames, and source {name!r} is not made from frames")
        return self

    @model_validator(mode="before")
    @classmethod
    def _read_version_0_1(cls, values: Any) -> Any:
        return current_sources(values) if isinstance(values, Mapping) else values

    @model_validator(mode="before")
    @classmethod
    def _sections_follow_the_model(cls, values: Any) -> Any:
        """A preset of the model fills other sections too; baselines given by name measure as the model does."""
        if not isinstance(values, Mapping):
            return values
        model, values = values.get("model"), dict(values)
        if isinstance(model, Mapping):
            name, preset = str(model.get("name", DEFAULT_METHOD)), model.get("preset")
            sections = METHODS[name].presets.get(preset, {}) if preset and name in METHODS else {}
            for section, defaults in sections.items():
                given = values.get(section) or {}
                if section != "model" and isinstance(given, Mapping):
                    values[section] = {**defaults, **given}
        evaluation = values.get("evaluation")
        if isinstance(evaluation, Mapping) and "baselines" in evaluation:
            baselines = _with_distances_of_model(evaluation["baselines"], model)
            values["evaluation"] = {**evaluation, "baselines": baselines}
        return values
