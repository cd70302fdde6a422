"""Cached text features of classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from mdmf.encoders.clip import FrozenEncoder
from mdmf.encoders.prompts import class_text_features
from mdmf.files import json_sha256, write_atomic

FEATURE_NORM = 10.0  # mean norm of scaled features, as of CLIP; training does not work with features of unit norm


@dataclass(frozen=True)
class ClassText:
    """Text features of classes, and the logit scale of the encoder.

    Attributes:
        features: class -> (D,), not scaled.
    """

    features: dict[str, Tensor]
    logit_scale: float

    def scaled(self, names: Sequence[str]) -> Tensor:
        """Features (N, D) of the named classes, scaled like frame features: to mean norm 10 over all classes."""
        scale = FEATURE_NORM / torch.stack(list(self.features.values())).norm(dim=-1).mean()
        return torch.stack([self.features[name] for name in names]) * scale


def cached_class_text(
    folder: Path,
    sentences: Mapping[str, Sequence[str]],
    *,
    identity: Mapping[str, str],
    encoder: Callable[[], FrozenEncoder],
) -> ClassText:
    """Text features of classes, computed once for the same sentences and encoder.

    Args:
        folder: folder of the cache.
        sentences: class -> its sentences.
        identity: identity of the encoder, with the hash of its weights.
        encoder: returns the encoder; called only if the features are not in the cache.

    Raises:
        ValueError: if the encoder cannot read a sentence.
    """
    path = folder / f"{json_sha256([sentences, dict(identity)])[:16]}.safetensors"
    if (cached := _read(path)) is not None:
        return cached
    loaded = encoder()
    features = class_text_features(loaded.encode_texts, sentences).cpu().contiguous()
    metadata = {"classes": json.dumps(list(sentences)), "logit_scale": repr(loaded.logit_scale)}
    write_atomic(path, to_safetensors({"features": features}, metadata=metadata))
    return ClassText(dict(zip(sentences, features, strict=True)), float(loaded.logit_scale))


def _read(path: Path) -> ClassText | None:
    """The features of a file; None if it is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            features, metadata = file.get_tensor("features"), file.metadata()
    except (FileNotFoundError, SafetensorError):
        return None
    return ClassText(dict(zip(json.loads(metadata["classes"]), features, strict=True)), float(metadata["logit_scale"]))
