"""The settings of named streams of features, `sources.<name>`: what is the same for every kind of source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from mdmf.registry import SOURCE_KINDS
from mdmf.section import Section

DEFAULT_SOURCE = "rgb"  # whose encoder reads text, and what a method looks at unless it is told otherwise
DEFAULT_SOURCES = {DEFAULT_SOURCE: "frames", "flow": "flow"}  # declared in every experiment: name -> kind
SOURCE_PLACES = ("store", "folder", "files")  # settings of a source that say where its data lies, not what it is
SOURCE_NAME = r"^[A-Za-z]\w*$"


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
