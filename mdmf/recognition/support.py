"""The labelled clips of a task: which of them can be used, and the scale of their features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mdmf.class_names import some_of
from mdmf.encoders.text_cache import FEATURE_NORM
from mdmf.recognition.clip_listing import SupportListing, shown_path
from mdmf.recognition.clip_store import BadClip, ClipFeatures

SupportFeatures = dict[str, list[ClipFeatures]]  # class -> its clips, at least one


def usable_clips(
    listing: SupportListing, read: Callable[[Sequence[Path]], Sequence[ClipFeatures | BadClip]]
) -> tuple[SupportFeatures, list[str]]:
    """The readable clips of each class, each content once, and notes on clips and sources that are missing.

    Raises:
        ValueError: if a class has no usable clip, or two classes have the same clip.
    """
    paths = [(name, path) for name, of_class in listing.clips.items() for path in of_class]
    usable: SupportFeatures = {name: [] for name in listing.clips}
    omissions: dict[str, list[str]] = {name: [] for name in listing.clips}
    first_place: dict[str, tuple[str, Path]] = {}
    source_notes: list[str] = []
    for (name, path), clip in zip(paths, read([path for _, path in paths]), strict=True):
        shown = shown_path(path)
        if isinstance(clip, BadClip):
            omissions[name].append(f"LEFT OUT of {name}: {shown}: {clip.reason}")
        elif clip.key not in first_place:
            first_place[clip.key] = name, path
            usable[name].append(clip)
            source_notes += [f"{shown} of {name} has no {source}: {why}" for source, why in clip.problems.items()]
        else:
            first_class, first_path = first_place[clip.key]
            if first_class != name:
                raise ValueError(
                    f"{shown_path(first_path)} of class {first_class!r} and {shown} of class {name!r} are the same "
                    f"clip; take it out of one of them"
                )
            omissions[name].append(f"LEFT OUT of {name}: {shown}: it is the same clip as {shown_path(first_path)}")
    for name, of_class in usable.items():
        if not of_class:
            raise ValueError("\n  ".join([f"no clip of class {name!r} can be used; add another:", *omissions[name]]))
    return usable, [*(note for of_class in omissions.values() for note in of_class), *source_notes]


def feature_scales(clips: SupportFeatures, sources: Sequence[str], *, trained: Mapping[str, float]) -> dict[str, float]:
    """source -> the factor of its features; set by the support alone, so that no answer depends on other queries.

    It is the one that the model was trained with, if `trained` has it, or else it brings the mean over clips of the
    mean norm of their frames to 10, as in a feature store.

    Raises:
        ValueError: if no clip has features of a source, or all of them are zeros.
    """
    scales = {}
    for source in sources:
        parts = [clip.features[source] for of_class in clips.values() for clip in of_class if source in clip.features]
        if not parts:
            raise ValueError(f"no support clip has features of {source}")
        mean = math.fsum(float(np.linalg.norm(part.astype(np.float64), axis=-1).mean()) for part in parts) / len(parts)
        if mean == 0:
            raise ValueError(f"the encoder of {source} gave nothing but zeros for the support; check its weights")
        scales[source] = trained.get(source, FEATURE_NORM / mean)
    return scales


def unused_source_notes(clips: SupportFeatures, sources: Sequence[str], *, of_model: Sequence[str]) -> list[str]:
    """Notes on the sources that cannot be used, because a class has no clip with features of them.

    Raises:
        ValueError: if no source `of_model` can be used.
    """
    lacking = {
        source: [name for name, of_class in clips.items() if not any(source in clip.features for clip in of_class)]
        for source in sources
    }
    if all(lacking[source] for source in of_model):
        source = of_model[0]
        raise ValueError(f"the model looks at {source}, and no clip of {some_of(lacking[source], 3)} has it; add one")
    return [
        f"{source} is not looked at: no clip of {some_of(names, 3)} has features of it"
        for source, names in lacking.items()
        if names
    ]
