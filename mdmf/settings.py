"""The settings of an experiment, section by section, checked as they are made (PRODUCT 4); `config` reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, model_validator

from mdmf.corruptions import FRAME_KINDS, parse_corruption
from mdmf.old_sources import current_sources
from mdmf.presets import FRAME_RULES, MODEL_PRESETS
from mdmf.registry import SOURCE_KINDS
from mdmf.structures import ViewRule

TrainedName = Literal["m2df", "amfar", "amfir", "late_fusion", "early_concat", "early_attention", "module"]
BaselineName = Literal[
    "zero_shot", "prototype", "frame_wise", "otam", "bi_mhm",
    "flow_prototype", "flow_frame_wise", "flow_otam", "flow_bi_mhm",
    "late_prototype", "late_frame_wise", "late_otam", "late_bi_mhm",
]  # fmt: skip
ModelName = Literal[TrainedName, BaselineName]
DEFAULT_SOURCE = "rgb"  # whose encoder reads text, and what a method looks at unless it is told otherwise
DEFAULT_SOURCES = {DEFAULT_SOURCE: "frames", "flow": "flow"}  # declared in every experiment: name -> kind
SOURCE_PLACES = ("store", "folder")  # settings of a source that say where its data lies, not what it is
SOURCE_NAME = r"^[A-Za-z]\w*$"
SelectorMode = Literal["sample", "argmax", "expect", "off"]
Preset = Literal["paper", "released"]


class Section(BaseModel):
    """A part of the settings: unknown keys are errors, and nothing changes after it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


class EncoderOverrides(Section):
    """The frozen encoder of one source; what is not given is as in the section `encoder`."""

    library: Literal["open_clip", "transformers", "tiny", "module"] | None = Field(None, description="who loads it")
    model: str | None = Field(None, description="model name or id")
    weights: str | None = Field(None, description="tag, local file, or 'random'")
    precision: Literal["auto", "float32", "bfloat16", "float16"] | None = Field(None, description="of the weights")


class SourceSettings(Section):
    """A named stream of features; every kind of source has its own class (mdmf/data/sources)."""

    needs_encoder: ClassVar[bool] = True

    kind: str = Field(description="where the features come from")
    encoder: EncoderOverrides = EncoderOverrides()
    store: Path | None = Field(None, description="feature store; default: stores/<name>-<key of all that shapes it>")

    @property
    def uses_frames(self) -> bool:
        """Whether it is made from the video's frames, so that a corruption of frames can act on it."""
        return False


def source_settings(values: Any) -> SourceSettings:
    """The settings of a source, checked by the class of its kind.

    Raises:
        ValueError: for no or an unknown kind; pydantic's `ValidationError`, with every error, for settings that the
            kind cannot have.
    """
    if isinstance(values, SourceSettings):
        return values
    if not isinstance(values, Mapping):
        raise ValueError(f"expected the settings of a source, such as kind: frames; got {values!r}")
    if "kind" not in values:
        raise ValueError(f"expected a kind, one of {', '.join(SOURCE_KINDS)}")
    return SOURCE_KINDS[str(values["kind"])].model_validate(values)  # type: ignore[no-any-return]


def _with_default_sources(values: Any) -> Any:
    """The default sources, each with what is given for it, then the others."""
    if not isinstance(values, Mapping):
        return values
    if "seed" in values:
        raise ValueError("a source cannot be named 'seed': corrupt.seed is the seed of all corruptions")
    defaults = {
        name: {"kind": kind, **given} if isinstance(given := values.get(name, {}), Mapping) else given
        for name, kind in DEFAULT_SOURCES.items()
    }
    return {**defaults, **{name: given for name, given in values.items() if name not in defaults}}


Sources = Annotated[
    dict[
        Annotated[str, Field(pattern=SOURCE_NAME)],
        Annotated[SerializeAsAny[SourceSettings], BeforeValidator(source_settings)],
    ],
    BeforeValidator(_with_default_sources),
]


class DataSettings(Section):
    """Which videos there are, their classes and splits, and where their features are kept."""

    name: str = Field("clips", pattern=r"^[\w.-]+$", description="name of the data set: picks its prompts and split")
    kind: Literal["folder", "csv", "lists", "shapes"] = Field("folder", description="how the videos are listed")
    root: Path | None = Field(None, description="folder of the videos")
    csv: Path | None = Field(None, description="file path,class[,split][,group] (kind: csv)")
    lists: dict[Literal["train", "val", "test"], Path] | None = Field(None, description="published lists (kind: lists)")
    class_split: str | None = Field(None, description="shipped split, YAML of class names, or 'random'; default: name")
    split_fractions: tuple[float, float, float] = Field((0.64, 0.12, 0.24), description="train, val, test if random")
    split_seed: int = Field(0, ge=0, description="seed of the random split")
    group_pattern: str | None = Field(None, description="regex with one group: source recording in the file name")
    decoder: Literal["auto", "decord", "pyav"] = Field("auto", description="who decodes")
    n_workers: int | None = Field(None, ge=0, description="decoding processes; default: one per core")
    prompts: Path | None = Field(None, description="prompt file; default: the shipped one of the data set")
    shapes: ShapesSettings = ShapesSettings()

    @model_validator(mode="after")
    def _needs(self) -> DataSettings:
        if self.kind == "csv" and self.csv is None:
            raise ValueError("kind 'csv' needs data.csv")
        if self.kind == "lists" and not self.lists:
            raise ValueError("kind 'lists' needs data.lists with a file per split")
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


class ModelSettings(Section):
    """The method; defaults are the papers' (METHODS 2 to 4)."""

    name: ModelName = Field("m2df", description="the method, or a baseline")
    otam_temperature: float = Field(0.5, gt=0, description="λ of the soft minimum")
    otam_directions: Literal["both", "query_to_support"] = Field("both", description="of the alignment")
    cosine_eps: float = Field(0.01, ge=0, description="added to the product of norms")
    temperature: float = Field(1.0, gt=0, description="of the fused logits")
    cross_entropy: Literal["fused", "branches", "all"] | None = Field(
        None, description="of which answers; default: fused for m2df, branches for the multi-modal models"
    )
    detach_teacher: bool = Field(True, description="no gradient to the teacher")
    distill_weight: float = Field(1.0, ge=0, description="λ_kd; 0: no distillation")
    text_weight: float | Literal["val"] = Field(0.0, description="a of the text at test; 'val': chosen on val")
    depth: int = Field(1, ge=1, description="layers of m2df's fusion")
    n_heads: int = Field(8, ge=1, description="attention heads")
    hidden_size: int = Field(2048, ge=1, le=65536, description="hidden size of the feed-forward part")
    attention_dropout: float = Field(0.2, ge=0, lt=1, description="after attention")
    dropout: float = Field(0.05, ge=0, lt=1, description="in the feed-forward part")
    tcn_dropout: float = Field(0.1, ge=0, lt=1, description="in the global context")
    # a method of the user's own
    module: str | None = Field(None, description="package.module:factory of your own method (name: module)")
    options: dict[str, Any] = Field({}, description="what your own method is made with, by name")
    # m2df alone
    preset: Preset = Field("paper", description="m2df as in the paper, or as the authors' code acts (released)")
    views: tuple[Literal["local", "global"], ...] = Field(("local", "global"), min_length=1, description="branches")
    alphas: dict[Literal["local", "global"], float] = Field({}, description="weight of a view's distance; default 1")
    selector_train: SelectorMode = Field("sample", description="prompt of a query in training")
    selector_test: SelectorMode = Field("argmax", description="prompt of a query in evaluation")
    top_k: int = Field(4, ge=1, description="frames that the selector averages")
    selector_scale: float = Field(200.0, gt=0, description="sharpness of the selector")
    certainty_token: Literal["prompt", "first_frame"] = Field("prompt", description="token of the text certainty")
    condition: Literal["both", "visual", "text", "none"] = Field("both", description="which view teaches")
    direction: Literal["both", "local_to_global", "global_to_local"] = Field("both", description="of distillation")
    distill_per_query: bool = Field(False, description="λ_kd divided by the number of queries")
    video_text_weight: float = Field(0.5, ge=0, description="λ_vt")
    video_text_input: Literal["fused", "input"] = Field("fused", description="what the video-text loss sees")
    video_text_scale: float | None = Field(None, gt=0, description="its scale at start; default: the encoder's")
    # the multi-modal models alone
    modalities: tuple[Literal["rgb", "flow"], ...] = Field(("rgb", "flow"), min_length=1, description="one or both")
    distance: Literal["otam", "prototype", "frame_wise", "bi_mhm"] = Field("otam", description="of a modality")
    head_size: int | None = Field(None, ge=1, description="size of a head's tokens; default: that of its features")
    branch_temperature: float = Field(1.0, gt=0, description="of each modality's logits")
    strategy: Literal["active", "mutual", "rgb_teaches", "flow_teaches", "none"] = Field(
        "active", description="who teaches: as selected, both always, one always, nobody"
    )
    fusion: Literal["active", "sum", "rgb", "flow"] = Field("active", description="the answer: weighted, summed, one")
    sample_tests: Literal["both", "absolute", "relative"] = Field("both", description="amfar: certainties compared")
    precision: float = Field(1.0, ge=0, description="amfir: γ of the expected free energy")
    learn_precision: bool = Field(False, description="amfir: γ is trained")
    selection_margin: float = Field(0.05, ge=0, lt=0.5, description="amfir: of a teacher's belief over 0.5")

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        """The preset fills what was not given: explicit keys win."""
        if isinstance(values, Mapping) and values.get("preset") in MODEL_PRESETS:
            return MODEL_PRESETS[values["preset"]] | dict(values)
        return values

    @model_validator(mode="before")
    @classmethod
    def _own_method_sees_rgb(cls, values: Any) -> Any:
        """Flow is dear: a method of the user's own has it where it is asked for."""
        if isinstance(values, Mapping) and values.get("name") == "module":
            return {"modalities": ("rgb",), **values}
        return values

    @model_validator(mode="after")
    def _names_are_different(self) -> ModelSettings:
        for key in ("views", "modalities"):
            value = getattr(self, key)
            if len(set(value)) < len(value):
                raise ValueError(f"{key} must be different, got {list(value)}")
        return self

    @model_validator(mode="after")
    def _text_weight_is_a_share(self) -> ModelSettings:
        if self.text_weight != "val" and not 0 <= self.text_weight <= 1:
            raise ValueError(f"text_weight must be in [0, 1] or 'val', got {self.text_weight}")
        return self

    @model_validator(mode="after")
    def _settings_are_of_this_model(self) -> ModelSettings:
        """A setting of another model would be ignored in silence. (Baselines take any: they answer beside others.)"""
        if self.name in get_args(BaselineName):
            return self
        if self.name == "module" and not self.module:
            raise ValueError("name 'module' needs model.module, as in model.module=my_method:make")
        foreign = _not_of_module() if self.name == "module" else (*_MODULE_ONLY, *_NOT_OF[self.name])
        given = [key for key in foreign if getattr(self, key) != type(self).model_fields[key].default]
        if given:
            raise ValueError(f"model {self.name!r} has no setting {', '.join(given)}")
        if self.learn_precision and self.cross_entropy not in ("fused", "all"):
            raise ValueError("learn_precision trains γ through the fused answer: set cross_entropy to fused or all")
        if self.head_size is not None and self.head_size % self.n_heads:
            raise ValueError(f"head_size {self.head_size} is not divisible by n_heads={self.n_heads}")
        if len(self.modalities) == 1:
            between = ("strategy", "fusion", "sample_tests", *_ONLY_AMFIR)
            given = [key for key in between if getattr(self, key) != type(self).model_fields[key].default]
            if given:
                raise ValueError(f"with one modality there is nothing to set by {', '.join(given)}")
        return self


_M2DF_ONLY = (
    *("preset", "views", "alphas", "selector_train", "selector_test", "top_k", "selector_scale", "certainty_token"),
    *("condition", "direction", "distill_per_query", "video_text_weight", "video_text_input", "video_text_scale"),
    "depth",
)
_MULTI_MODAL_ONLY = (
    *("modalities", "distance", "head_size", "branch_temperature", "strategy", "fusion", "sample_tests"),
    *("precision", "learn_precision", "selection_margin"),
)
_MODULE_ONLY = ("module", "options")
# What a config may set beside a method of the user's own: the last three are of the baselines on the same episodes.
_BESIDE_MODULE = ("name", "modalities", "text_weight", "otam_temperature", "otam_directions", "cosine_eps")
_ONLY_AMFIR = ("precision", "learn_precision", "selection_margin")
_FUSED_WITHOUT_CHOICE = ("modalities", "strategy", "fusion", "sample_tests", *_ONLY_AMFIR)
_NOT_OF = {
    "m2df": _MULTI_MODAL_ONLY,
    "amfar": (*_M2DF_ONLY, *_ONLY_AMFIR),
    "amfir": (*_M2DF_ONLY, "sample_tests"),
    "late_fusion": (*_M2DF_ONLY, *_FUSED_WITHOUT_CHOICE),
    "early_concat": (*_M2DF_ONLY, *_FUSED_WITHOUT_CHOICE),
    "early_attention": (*_M2DF_ONLY, *_FUSED_WITHOUT_CHOICE),
}


def _not_of_module() -> tuple[str, ...]:
    return tuple(key for key in ModelSettings.model_fields if key not in (*_MODULE_ONLY, *_BESIDE_MODULE))


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
    """The test protocol (METHODS 7)."""

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
    baselines: tuple[BaselineName, ...] = Field((), description="answered beside the model, on the same episodes")


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

    data: DataSettings = DataSettings()
    sources: Sources = Field({}, validate_default=True, description="named streams of features: sources.<name>.kind=…")
    frames: FrameSettings = FrameSettings()
    encoder: EncoderSettings = EncoderSettings()
    episode: EpisodeSettings = EpisodeSettings()
    model: ModelSettings = ModelSettings()
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
    def _apply_preset(cls, values: Any) -> Any:
        """A preset of the model names the frame rule too."""
        if not isinstance(values, Mapping):
            return values
        model, frames = values.get("model") or {}, values.get("frames") or {}
        preset = model.get("preset") if isinstance(model, Mapping) else None
        if preset in FRAME_RULES and isinstance(frames, Mapping):
            return {**values, "frames": {"rule": FRAME_RULES[preset], **frames}}
        return values
