"""Clips of somebody's own as the support and the queries of one episode: any number of shots, each class its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdmf.class_names import some_of
from mdmf.encoders.text_cache import FEATURE_NORM
from mdmf.recognition.clip_store import BadClip, ClipFeatures
from mdmf.recognition.own_clips import OwnClips, shown_path


@dataclass(frozen=True, eq=False)
class OwnSupport:
    """The support of one episode.

    Attributes:
        classes: N names, in order.
        features: source -> (1, N, K, T, D) float32, scaled; K is the number of clips of the largest class, and zeros
            stand for what a smaller one lacks.
        present: source -> (1, N, K) bool, which clips have features of it; a source that all have is not named.
        scale: source -> what its features, and those of queries, are multiplied by, so that an answer does not depend
            on what else is asked.
    """

    classes: tuple[str, ...]
    features: dict[str, Tensor]
    present: dict[str, Tensor]
    scale: dict[str, float]


def usable_clips(
    found: OwnClips, read: Callable[[Sequence[Path]], Sequence[ClipFeatures | BadClip]]
) -> tuple[dict[str, list[ClipFeatures]], list[str]]:
    """The clips of each class that can be used, each content once, and notes of what is left out.

    Args:
        found: the clips by class.
        read: gives features of clips.

    Raises:
        ValueError: if a class has no usable clip, or two classes have the same clip.
    """
    paths = [(name, path) for name, of_class in found.of_class.items() for path in of_class]
    usable: dict[str, list[ClipFeatures]] = {name: [] for name in found.of_class}
    seen: dict[str, tuple[str, Path]] = {}
    left_out: dict[str, list[str]] = {name: [] for name in found.of_class}
    notes: list[str] = []
    for (name, path), clip in zip(paths, read([path for _, path in paths]), strict=True):
        if isinstance(clip, BadClip):
            left_out[name].append(f"LEFT OUT of {name}: {shown_path(path)}: {clip.reason}")
        elif clip.key not in seen:
            seen[clip.key] = name, path
            usable[name].append(clip)
            notes += [f"{shown_path(path)} of {name} has no {source}: {why}" for source, why in clip.problems.items()]
        elif seen[clip.key][0] == name:
            left_out[name].append(
                f"LEFT OUT of {name}: {shown_path(path)}: it is the same clip as {shown_path(seen[clip.key][1])}"
            )
        else:
            other, twin = seen[clip.key]
            raise ValueError(
                f"{shown_path(twin)} of class {other!r} and {shown_path(path)} of class {name!r} are the same clip; "
                f"take it out of one of them"
            )
    for name, of_class in usable.items():
        if not of_class:
            raise ValueError("\n  ".join([f"no clip of class {name!r} can be used; add another:", *left_out[name]]))
    return usable, [*(note for of_class in left_out.values() for note in of_class), *notes]


def lacking_sources(support: OwnSupport, wanted: Sequence[str]) -> list[str]:
    """Notes of sources that the answer has to do without, since a class has no clip with features of them.

    Args:
        wanted: sources of the model.

    Raises:
        ValueError: if that leaves the model nothing to look at.
    """
    lacking: dict[str, list[str]] = {}
    for source, present in support.present.items():
        has = present[0].any(dim=1).tolist()  # (1, N, K) -> (N,)
        if names := [name for name, one in zip(support.classes, has, strict=True) if not one]:
            lacking[source] = names
    if all(source in lacking for source in wanted):
        source = wanted[0]
        raise ValueError(f"the model looks at {source}, and no clip of {some_of(lacking[source], 3)} has it; add one")
    return [
        f"{source} is not looked at: no clip of {some_of(names, 3)} has features of it"
        for source, names in lacking.items()
    ]


def make_support(
    clips: Mapping[str, Sequence[ClipFeatures]], sources: Sequence[str], *, scale: Mapping[str, float] | None = None
) -> OwnSupport:
    """Put clips side by side, class by class.

    Args:
        clips: class -> its clips, at least one each.
        sources: of the features, in order.
        scale: source -> what its features are multiplied by, as a trained model knows them; a source that is not named
            is brought to mean norm 10.

    Raises:
        ValueError: if no clip has features of a source, or all of them are zeros.
    """
    K = max(map(len, clips.values()))
    features: dict[str, Tensor] = {}
    present: dict[str, Tensor] = {}
    scales: dict[str, float] = {}
    for source in sources:
        there = [clip.features[source] for of_class in clips.values() for clip in of_class if source in clip.features]
        if not there:
            raise ValueError(f"no support clip has features of {source}")
        scales[source] = (scale or {}).get(source, _scale(source, there))
        padded = np.zeros((len(clips), K, *there[0].shape[1:]), dtype=np.float32)  # (N, K, T, D)
        has = np.zeros((len(clips), K), dtype=bool)
        for row, of_class in enumerate(clips.values()):
            for shot, clip in enumerate(of_class):
                if source in clip.features:
                    padded[row, shot], has[row, shot] = clip.features[source][0], True
        features[source] = torch.from_numpy(padded)[None] * scales[source]
        if not has.all():
            present[source] = torch.from_numpy(has)[None]
    return OwnSupport(tuple(clips), features, present, scales)


def make_queries(
    parts: Sequence[Mapping[str, np.ndarray]], support: OwnSupport
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features of some queries and which of them have them.

    Args:
        parts: for each query, source -> (T, D), not scaled; a source may be missing.
        support: of the same episode.

    Returns:
        source -> (1, Q, T, D) float32, scaled, and source -> (1, Q) bool, where one is missing.
    """
    features: dict[str, Tensor] = {}
    present: dict[str, Tensor] = {}
    for source, of_support in support.features.items():
        padded = np.zeros((len(parts), *of_support.shape[-2:]), dtype=np.float32)
        has = np.array([source in part for part in parts], dtype=bool)
        for row in np.flatnonzero(has).tolist():
            padded[row] = parts[row][source]
        features[source] = torch.from_numpy(padded)[None] * support.scale[source]
        if not has.all():
            present[source] = torch.from_numpy(has)[None]
    return features, present


def _scale(source: str, clips: Sequence[np.ndarray]) -> float:
    """As a feature store has it: the mean over clips of the mean norm of their frames becomes 10."""
    norms = [float(np.linalg.norm(clip.astype(np.float64), axis=-1).mean()) for clip in clips]
    mean = math.fsum(norms) / len(norms)
    if mean == 0:
        raise ValueError(f"the encoder of {source} gave nothing but zeros for the support; check its weights")
    return FEATURE_NORM / mean
