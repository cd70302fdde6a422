"""The settings of an experiment, section by section, checked as they are made (PRODUCT 4); `config` reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mdmf.corruptions import FRAME_KINDS, parse_corruption
from mdmf.presets import FRAME_RULES, MODEL_PRESETS
from mdmf.registry import LISTING_FORMATS

TrainedName = Literal["m2df", "amfar", "amfir", "late_fusion", "early_concat", "early_attention", "module"]
BaselineName = Literal[
    "zero_shot", "prototype", "frame_wise", "otam", "bi_mhm",
    "flow_prototype", "flow_frame_wise", "flow_otam", "flow_bi_mhm",
    "late_prototype", "late_frame_wise", "late_otam", "late_bi_mhm",
]  # fmt: skip
ModelName = Literal[TrainedName, BaselineName]
Source = Literal["rgb", "flow"]
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


class FlowSettings(Section):
    """Optical flow, for models that use it."""

    method: Literal["dis", "farneback", "tvl1", "disk"] = Field("dis", description="who computes it; disk: read it")
    folder: Path | None = Field(None, description="where flows lie, a folder per video (method: disk)")
    step: int = Field(1, ge=1, description="frames to the neighbour that a frame's flow points to")
    camera: Literal["keep", "median", "homography"] = Field(
        "keep", description="the camera's motion: kept or taken off"
    )
    clip: float = Field(20.0, gt=0, description="pixels; longer displacements are drawn as this long")
    drawing: Literal["wheel", "channels"] = Field("wheel", description="Middlebury colours, or x, y, magnitude")
    short_side: int = Field(256, ge=8, description="frames are shrunk to this shortest side first")
    disk_bound: float = Field(20.0, gt=0, description="pixels that 0 and 255 stand for in flow images on disk")


class DataSettings(Section):
    """Which videos there are, their classes and splits, and where their features are kept."""

    name: str = Field("clips", pattern=r"^[\w.-]+$", description="name of the data set: picks its prompts and split")
    kind: str = Field("folder", description="how the videos are listed: folder, csv, lists, shapes, ...")
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
    store: Path | None = Field(None, description="feature store; default: stores/<name>-<key of all that shapes it>")
    flow_store: Path | None = Field(None, description="the same for the features of optical flow")
    shapes: ShapesSettings = ShapesSettings()
    flow: FlowSettings = FlowSettings()

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
        if self.flow.method == "disk" and self.flow.folder is None:
            raise ValueError("flow.method 'disk' needs data.flow.folder")
        if self.flow.method != "disk" and self.flow.folder is not None:
            raise ValueError("flow.folder is read with data.flow.method=disk only; set it, or data.flow.folder=null")
        if self.store is not None and self.store == self.flow_store:
            raise ValueError("store and flow_store need a folder each")
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


class FlowEncoderSettings(Section):
    """The frozen encoder of drawn flow; what is not given is as for the frames."""

    library: Literal["open_clip", "transformers", "tiny", "module"] | None = Field(None, description="who loads it")
    model: str | None = Field(None, description="model name or id")
    weights: str | None = Field(None, description="tag, local file, or 'random'")
    precision: Literal["auto", "float32", "bfloat16", "float16"] | None = Field(None, description="of the weights")


class EncoderSettings(Section):
    """The frozen image and text encoder."""

    library: Literal["open_clip", "transformers", "tiny", "module"] = Field("open_clip", description="who loads it")
    model: str = Field("ViT-B-16-quickgelu", description="model name or id; a dotted path for 'module'")
    weights: str = Field("openai", description="tag, local file, or 'random' (never by default)")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="of the weights")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    batch_frames: int = Field(256, ge=1, description="frames encoded at once")
    seed: int = Field(0, ge=0, description="seed of random weights")
    flow: FlowEncoderSettings = FlowEncoderSettings()

    def of(self, source: str) -> EncoderSettings:
        """The settings of the encoder of one source."""
        if source == "rgb":
            return self
        own = {key: value for key, value in self.flow.model_dump().items() if value is not None}
        return self.model_copy(update=own)


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
    modalities: tuple[Source, ...] = Field(("rgb", "flow"), min_length=1, description="one or both")
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


class CorruptSettings(Section):
    """What the test's input suffers on purpose: kind:strength, such as noise:0.2 (mdmf/data/sources/corruption.py)."""

    rgb: str = Field("", description="noise, blur (frames); feature_noise, drop, freeze, missing (features)")
    flow: str = Field("", description="the same for optical flow; noise and blur: of the frames it is computed from")
    seed: int = Field(0, ge=0, description="of all that is random in it")

    @field_validator("rgb", "flow")
    @classmethod
    def _is_readable(cls, text: str) -> str:
        return str(parse_corruption(text)) if text else text


class OutputSettings(Section):
    """Where results go."""

    root: Path = Field(Path("runs"), description="folder of the runs")
    name: str | None = Field(None, pattern=r"^[\w.-]+$", description="name of the run; default: the config's")
    tensorboard: bool = Field(False, description="also write TensorBoard files")


class Settings(Section):
    """All settings of one experiment."""

    data: DataSettings = Field(default_factory=DataSettings)  # a default made here would import every listing format
    frames: FrameSettings = FrameSettings()
    encoder: EncoderSettings = EncoderSettings()
    episode: EpisodeSettings = EpisodeSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    corrupt: CorruptSettings = CorruptSettings()
    output: OutputSettings = OutputSettings()

    @model_validator(mode="after")
    def _flow_can_be_corrupted(self) -> Settings:
        text = self.corrupt.flow
        if text and self.data.flow.method == "disk" and parse_corruption(text).kind in FRAME_KINDS:
            raise ValueError(f"corrupt.flow={text} acts on frames, and flow of method 'disk' is not made from frames")
        return self

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
