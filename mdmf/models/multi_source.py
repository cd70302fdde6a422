"""What the methods over several sources share: their settings, and the branch that each source is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from torch import nn

from mdmf.layers.heads import TemporalHead
from mdmf.models.branch import Branch, PrototypeBranch
from mdmf.models.method import LossWeights, Method
from mdmf.models.registry import FeatureInfo, make_method, video_distance
from mdmf.mutual.fuse import mutual_fusion
from mdmf.mutual.selection import Strategy
from mdmf.settings import AlignmentSettings, MethodField, MethodSettings, SingleSourceSettings


class HeadSettings(AlignmentSettings):
    """Settings of the temporal head (ours) and of the distance between its tokens."""

    distance: Literal["otam", "prototype", "frame_wise", "bi_mhm"] = Field("otam", description="of a branch")
    head_size: int | None = Field(None, ge=1, description="size of a head's tokens; default: that of its features")
    branch_temperature: float = Field(1.0, gt=0, description="of each branch's logits")
    n_heads: int = Field(8, ge=1, description="attention heads")
    hidden_size: int = Field(2048, ge=1, le=65536, description="hidden size of the feed-forward part")
    attention_dropout: float = Field(0.2, ge=0, lt=1, description="after attention")
    dropout: float = Field(0.05, ge=0, lt=1, description="in the feed-forward part")
    tcn_dropout: float = Field(0.1, ge=0, lt=1, description="in the temporal context")

    @model_validator(mode="after")
    def _heads_divide_the_size(self) -> HeadSettings:
        if self.head_size is not None and self.head_size % self.n_heads:
            raise ValueError(f"head_size {self.head_size} is not divisible by n_heads={self.n_heads}")
        return self

    @property
    def layer_settings(self) -> dict[str, Any]:
        """Arguments of a head's layers."""
        names = ("n_heads", "hidden_size", "attention_dropout", "dropout", "tcn_dropout")
        return {name: getattr(self, name) for name in names}


class MultiSourceSettings(HeadSettings):
    """Settings of a method over one or more sources.

    Each source is given a branch of the method `of`; without it, the temporal head that the other settings describe.
    """

    sources: tuple[str, ...] = Field(("rgb", "flow"), min_length=1, description="names of the sources, in order")
    of: MethodField | None = Field(
        None, description="the method whose branch each source is given; default: a head (ours)"
    )
    temperature: float = Field(1.0, gt=0, description="of the fused logits")

    @field_validator("sources", mode="before")
    @classmethod
    def _one_source_is_a_list(cls, sources: Any) -> Any:
        return (sources,) if isinstance(sources, str) else sources

    @field_validator("sources")
    @classmethod
    def _sources_are_different_names(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sources)) < len(sources):
            raise ValueError(f"sources must be different, got {list(sources)}")
        return sources

    @model_validator(mode="after")
    def _head_or_method(self) -> MultiSourceSettings:
        if self.of is None:
            return self
        if not isinstance(self.of, SingleSourceSettings):
            raise ValueError(f"of: {self.of.name} is no method of one source")
        fields = HeadSettings.model_fields.keys() - MethodSettings.model_fields.keys()
        given = sorted(key for key in fields if getattr(self, key) != type(self).model_fields[key].default)
        if given:
            raise ValueError(f"of: {self.of.name} replaces the head; remove its settings {', '.join(given)}")
        return self

    @property
    def used_sources(self) -> tuple[str, ...]:
        """All of them."""
        return self.sources

    @property
    def reads_text(self) -> bool:
        """Whether the branches do."""
        return self.of is not None and self.of.reads_text

    @property
    def is_trained(self) -> bool:
        """Whether the branches are."""
        return self.of is None or self.of.is_trained

    @property
    def table_name(self) -> str:
        """The method's name, and that of the branches' method."""
        return self.name if self.of is None else f"{self.name.removesuffix('_fusion')}_{self.of.name}"


class MutualSettings(MultiSourceSettings):
    """Settings of a method whose branches teach each other and are weighed query by query."""

    strategy: str = Field("active", description="who teaches: active, mutual, none, or <source>_teaches")
    fusion: str = Field("active", description="the answer: active (weighted), sum, or one source's")
    cross_entropy: Literal["fused", "branches", "all"] = Field("branches", description="of which answers")
    detach_teacher: bool = Field(True, description="no gradient to the teacher")
    distill_weight: float = Field(1.0, ge=0, description="λ_kd; 0: no distillation")

    @model_validator(mode="after")
    def _choices_fit_the_sources(self) -> MutualSettings:
        strategies = ("active", "mutual", *(f"{source}_teaches" for source in self.sources), "none")
        fusions = ("active", "sum", *self.sources)
        if len(self.sources) == 1:
            between = type(self).model_fields.keys() - MultiSourceSettings.model_fields.keys()
            between -= {"cross_entropy", "detach_teacher", "distill_weight"}
            given = sorted(key for key in between if getattr(self, key) != type(self).model_fields[key].default)
            if given:
                raise ValueError(f"one source has no use for {', '.join(given)}; remove them, or name a second source")
        for key, choices in (("strategy", strategies), ("fusion", fusions)):
            if getattr(self, key) not in choices:
                raise ValueError(f"{key} must be one of {choices}, got {getattr(self, key)!r}")
        return self


def head_branch(
    settings: HeadSettings, features: FeatureInfo, *, sources: Sequence[str], head: type[nn.Module] = TemporalHead
) -> PrototypeBranch:
    """A trainable head over one source, or over several together, and the distance of its tokens."""
    sizes = [features.sizes[source] for source in sources]
    return PrototypeBranch(
        head(sizes, settings.head_size or sizes[0], **settings.layer_settings),
        sources=sources,
        distance=video_distance(settings.distance, settings),
        temperature=settings.branch_temperature,
    )


def branch_of(settings: MethodSettings, features: FeatureInfo, *, source: str) -> Branch:
    """The one branch of a method, on another source.

    Raises:
        ValueError: for a method of several branches, or one that gives prompts to videos.
    """
    method = make_method(settings.model_copy(update={"source": source}), features)
    if len(method.branches) > 1 or method.selector is not None:
        raise ValueError(
            f"{settings.name} has several branches or uses prompts, and cannot be wrapped; take a method of one branch"
        )
    (branch,) = method.branches.values()
    return branch  # type: ignore[return-value]


def source_branches(settings: MultiSourceSettings, features: FeatureInfo) -> dict[str, Branch]:
    """A branch for each source."""
    if settings.of is None:
        return {source: head_branch(settings, features, sources=[source]) for source in settings.sources}
    return {source: branch_of(settings.of, features, source=source) for source in settings.sources}


def mutual_method(settings: MutualSettings, features: FeatureInfo, selection: nn.Module) -> Method:
    """A branch for each source; the selection says which teaches and how much each weighs."""
    branches = source_branches(settings, features)
    return Method(
        branches,
        selection=Strategy(selection, strategy=settings.strategy),
        fusion=mutual_fusion(settings.fusion, list(branches), temperature=settings.temperature),
        loss_weights=LossWeights(settings.distill_weight),
        detach_teacher=settings.detach_teacher,
        cross_entropy=settings.cross_entropy,
    )
