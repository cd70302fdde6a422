"""The registration of methods, and the construction of a method from its settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from mdmf.distances.video import VideoDistance
from mdmf.models.method import Method
from mdmf.registry import METHODS
from mdmf.settings import AlignmentSettings, MethodSettings

S = TypeVar("S", bound=MethodSettings)


@dataclass(frozen=True)
class FeatureInfo:
    """Sizes and facts of the features that a method is made for.

    Attributes:
        sizes: source -> D.
        n_frames: T; None where it is not known.
        logit_scale: the multiplier of cosine similarities that the encoder was trained with.
    """

    sizes: Mapping[str, int]
    n_frames: int | None = None
    logit_scale: float = 100.0


@dataclass(frozen=True)
class RegisteredMethod:
    """A method as the rest of the program knows it.

    Attributes:
        name: in YAML and tables.
        settings: class of its settings.
        make: from settings and `FeatureInfo` to the method.
        citation: authors, title, venue.
        summary: the docstring of its file: the title, then a few plain sentences.
        is_trained: whether it has weights to learn.
        reads_text: whether it looks at the classes' text.
        our_reading: whether its equations are not public, so that what is here is our reading.
        presets: value of the setting `preset` -> section of the settings -> values.
        published: results of its authors, one line each; their encoders and protocols differ from ours.
        lost: what is lost when it runs on stored frame features.
    """

    name: str
    settings: type[MethodSettings]
    make: Callable[[Any, FeatureInfo], Method]
    citation: str
    summary: str
    is_trained: bool
    reads_text: bool
    our_reading: bool
    presets: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    published: tuple[str, ...] = ()
    lost: str = ""

    @property
    def is_own(self) -> bool:
        """Whether code of the user's makes it, and not this package."""
        return not self.make.__module__.startswith("mdmf.")


def register(
    name: str,
    settings: type[S],
    *,
    citation: str,
    kind: Literal["trained", "training-free"] = "trained",
    reads_text: bool = False,
    our_reading: bool = False,
    presets: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    published: tuple[str, ...] = (),
    lost: str = "",
) -> Callable[[Callable[[S, FeatureInfo], Method]], Callable[[S, FeatureInfo], Method]]:
    """Decorate the function that makes a method from its settings and the features; see `RegisteredMethod`.

    Raises:
        ValueError: if the name is taken.
    """

    def decorate(make: Callable[[S, FeatureInfo], Method]) -> Callable[[S, FeatureInfo], Method]:
        document = sys.modules[make.__module__].__doc__ or ""
        METHODS.add(
            name,
            RegisteredMethod(
                name=name,
                settings=settings,
                make=make,
                citation=citation,
                summary=document.strip(),
                is_trained=kind == "trained",
                reads_text=reads_text,
                our_reading=our_reading,
                presets=presets or {},
                published=published,
                lost=lost,
            ),
            module=make.__module__,
        )
        return make

    return decorate


def make_method(settings: MethodSettings, features: FeatureInfo) -> Method:
    """The method that the settings describe, for features of these sizes.

    Raises:
        ValueError: if a source has no features, or a part cannot be made with these sizes.
    """
    for source in settings.used_sources:
        if source not in features.sizes:
            raise ValueError(
                f"model {settings.table_name!r} needs features of source {source!r}, got {sorted(features.sizes)}"
            )
    method: Method = METHODS[settings.name].make(settings, features)
    return method


def video_distance(name: str, settings: AlignmentSettings) -> VideoDistance:
    """The distance of this name, with the settings of a method."""
    return VideoDistance(
        name=name,
        otam_temperature=settings.otam_temperature,
        otam_directions=settings.otam_directions,
        eps=settings.cosine_eps,
    )
