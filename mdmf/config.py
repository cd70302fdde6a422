"""Settings: one YAML file per experiment, checked as a whole, with `key=value` overrides (PRODUCT 4)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mdmf.presets import FRAME_RULES, MODEL_PRESETS
from mdmf.resources import resource_folder, shipped_names

ModelName = Literal["m2df", "zero_shot", "prototype", "frame_wise", "otam", "bi_mhm"]
BaselineName = Literal["zero_shot", "prototype", "frame_wise", "otam", "bi_mhm"]
SelectorMode = Literal["sample", "argmax", "expect", "off"]
Preset = Literal["paper", "released"]
_MISSING = object()


class ConfigError(ValueError):
    """Settings that cannot be used; the message lists every error at once."""


class Section(BaseModel):
    """A part of the settings: unknown keys are errors, and nothing changes after it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ShapesSettings(Section):
    """The embedded world of moving shapes (kind: shapes)."""

    n_videos_per_class: int = Field(24, ge=2, description="videos written per class")
    seed: int = Field(0, ge=0, description="seed of the world")


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
    store: Path | None = Field(None, description="feature store; default: stores/<name>-<key of all that shapes it>")
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
    """The method; defaults are the paper's (METHODS 2)."""

    name: ModelName = Field("m2df", description="m2df or a baseline")
    preset: Preset = Field("paper", description="paper, or released: as the authors' code acts; explicit keys win")
    views: tuple[Literal["local", "global"], ...] = Field(("local", "global"), min_length=1, description="branches")
    alphas: dict[Literal["local", "global"], float] = Field({}, description="weight of a view's distance; default 1")
    temperature: float = Field(1.0, gt=0, description="of the fused logits")
    selector_train: SelectorMode = Field("sample", description="prompt of a query in training")
    selector_test: SelectorMode = Field("argmax", description="prompt of a query in evaluation")
    top_k: int = Field(4, ge=1, description="frames that the selector averages")
    selector_scale: float = Field(200.0, gt=0, description="sharpness of the selector")
    otam_temperature: float = Field(0.5, gt=0, description="λ of the soft minimum")
    otam_directions: Literal["both", "query_to_support"] = Field("both", description="of the alignment")
    cosine_eps: float = Field(0.01, ge=0, description="added to the product of norms")
    certainty_token: Literal["prompt", "first_frame"] = Field("prompt", description="token of the text certainty")
    condition: Literal["both", "visual", "text", "none"] = Field("both", description="who teaches")
    direction: Literal["both", "local_to_global", "global_to_local"] = Field("both", description="of distillation")
    detach_teacher: bool = Field(True, description="no gradient to the teacher")
    distill_weight: float = Field(1.0, ge=0, description="λ_kd; 0: no distillation")
    distill_per_query: bool = Field(False, description="λ_kd divided by the number of queries")
    video_text_weight: float = Field(0.5, ge=0, description="λ_vt")
    video_text_input: Literal["fused", "input"] = Field("fused", description="what the video-text loss sees")
    video_text_scale: float | None = Field(None, gt=0, description="its scale at start; default: the encoder's")
    text_weight: float | Literal["val"] = Field(0.0, description="a of the text at test; 'val': chosen on val")
    depth: int = Field(1, ge=1, description="layers of the fusion")
    n_heads: int = Field(8, ge=1, description="heads of the fusion")
    hidden_size: int = Field(2048, ge=1, le=65536, description="hidden size of the fusion")
    attention_dropout: float = Field(0.2, ge=0, lt=1, description="after attention")
    dropout: float = Field(0.05, ge=0, lt=1, description="in the fusion's feed-forward part")
    tcn_dropout: float = Field(0.1, ge=0, lt=1, description="in the global context")

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        """The preset fills what was not given: explicit keys win."""
        if isinstance(values, Mapping) and values.get("preset") in MODEL_PRESETS:
            return MODEL_PRESETS[values["preset"]] | dict(values)
        return values

    @model_validator(mode="after")
    def _views_are_different(self) -> ModelSettings:
        if len(set(self.views)) < len(self.views):
            raise ValueError(f"views must be different, got {list(self.views)}")
        return self

    @model_validator(mode="after")
    def _text_weight_is_a_share(self) -> ModelSettings:
        if self.text_weight != "val" and not 0 <= self.text_weight <= 1:
            raise ValueError(f"text_weight must be in [0, 1] or 'val', got {self.text_weight}")
        return self


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
    batch_episodes: int = Field(50, ge=1, description="episodes answered at once; changes no result")
    baselines: tuple[BaselineName, ...] = Field((), description="answered beside the model, on the same episodes")


class OutputSettings(Section):
    """Where results go."""

    root: Path = Field(Path("runs"), description="folder of the runs")
    name: str | None = Field(None, pattern=r"^[\w.-]+$", description="name of the run; default: the config's")
    tensorboard: bool = Field(False, description="also write TensorBoard files")


class Settings(Section):
    """All settings of one experiment."""

    data: DataSettings = DataSettings()
    frames: FrameSettings = FrameSettings()
    encoder: EncoderSettings = EncoderSettings()
    episode: EpisodeSettings = EpisodeSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    output: OutputSettings = OutputSettings()

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


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `1e-4` is a number and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConfigError(f"key {key!r} is given twice (line {key_node.start_mark.line + 1})")
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 also reads on, off, yes and no as booleans; `selector_test: off` must stay a word.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^([tT]rue|TRUE|[fF]alse|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str, *, source: str) -> Any:
    """Parse YAML safely.

    Raises:
        ConfigError: naming `source`, if the text is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {error}") from None


def find_config(name: str | Path) -> Path:
    """The file of a config: a path, or the name of a shipped one (`demo`, `configs/demo.yaml`).

    Raises:
        FileNotFoundError: listing the shipped configs.
    """
    path = Path(name)
    if path.is_file():
        return path
    inside = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    named = inside if inside.suffix == ".yaml" else inside.with_name(f"{inside.name}.yaml")
    shipped = resource_folder("configs") / named
    if not path.is_absolute() and ".." not in path.parts and shipped.is_file():
        return shipped
    raise FileNotFoundError(f"no config {str(name)!r}; shipped configs are: {', '.join(shipped_names('configs'))}")


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
    values = parse_yaml(text, source=str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections like 'data:', got {type(values).__name__}")
    return values


def _merge(lower: dict[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`upper` over `lower`, section by section."""
    merged = dict(lower)
    for key, value in upper.items():
        both_mappings = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both_mappings else value
    return merged


def _read_with_base(path: Path) -> dict[str, Any]:
    values = _read_mapping(path)
    base = values.pop("base", None)
    if base is None:
        return values
    base_path = path.parent / str(base)
    if not base_path.is_file():
        raise FileNotFoundError(f"{path}: its base {str(base)!r} is not a file beside it")
    lower = _read_mapping(base_path)
    if "base" in lower:
        raise ConfigError(f"{path}: its base {str(base)!r} has a base of its own; at most one is allowed")
    return _merge(lower, values)


def _override(values: dict[str, Any], assignment: str) -> dict[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not re.fullmatch(r"\w+(\.\w+)+", key):
        raise ConfigError(f"cannot read {assignment!r}; write section.key=value, as in episode.n_shot=5")
    nested: Any = parse_yaml(text, source=assignment) if text.strip() else None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return _merge(values, nested)


def _without_preset(values: dict[str, Any]) -> dict[str, Any]:
    """Settings without what their preset filled in: resolved ones name every key, and would win over a new preset."""
    model, frames = values.get("model"), values.get("frames")
    if not isinstance(model, dict) or model.get("preset") not in MODEL_PRESETS:
        return values
    old = model["preset"]
    kept = {key: value for key, value in model.items() if MODEL_PRESETS[old].get(key, _MISSING) != value}
    values = {**values, "model": kept}
    if isinstance(frames, dict) and frames.get("rule") == FRAME_RULES[old]:
        values["frames"] = {key: value for key, value in frames.items() if key != "rule"}
    return values


def setting_names(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as (dotted name, pydantic field), in order."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _describe(error: Mapping[str, Any]) -> str:
    """One line for one pydantic error."""
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = [name for name, _ in setting_names()]
        sections = list(Settings.model_fields)
        nearest = difflib.get_close_matches(place, known + sections, n=1, cutoff=0.5)
        # A key may be right and only its section wrong: `training.n_shot`.
        nearest = [name for name in known if name.split(".")[-1] == place.split(".")[-1]][:1] or nearest
        return f"{place}: unknown setting" + (f"; did you mean {nearest[0]}?" if nearest else "")
    message = error["msg"].removeprefix("Value error, ")
    shown = "" if error["type"] == "value_error" else f" (got {error['input']!r})"
    return f"{place}: {message}{shown}"


def check_settings(values: Mapping[str, Any], *, source: str) -> Settings:
    """Check a mapping as a whole.

    Raises:
        ConfigError: with a line for every error.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [_describe(one) for one in error.errors()]
        raise ConfigError(f"{source} has {len(lines)} error(s):\n  " + "\n  ".join(lines)) from None


def load_settings(path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Read a config with its base and the `key=value` overrides, in this order, and check it.

    `output.name` becomes the file's name where it is not given.

    Raises:
        FileNotFoundError: if the file, or its base, does not exist.
        ConfigError: listing every unknown key (with the nearest right one), wrong type and impossible value at once.
    """
    found = find_config(path)
    values = _read_with_base(found)
    overrides = list(overrides)
    if any(assignment.startswith("model.preset=") for assignment in overrides):
        values = _without_preset(values)
    for assignment in overrides:
        values = _override(values, assignment)
    output = values.get("output") or {}
    if isinstance(output, Mapping) and output.get("name") is None:
        values["output"] = {**output, "name": found.stem}
    return check_settings(values, source=str(path))


def dump_settings(settings: Settings) -> str:
    """The resolved settings as YAML that `load_settings` reads back to the same."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
