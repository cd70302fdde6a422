"""Frozen encoders by the name of their library: `load_encoder`."""

from __future__ import annotations

from typing import Any

import torch

from mdmf.encoders.frozen import IDENTITY_KEYS, PRECISIONS, FrozenEncoder
from mdmf.own_code import own_factory
from mdmf.structures import Preprocess

__all__ = ["LIBRARIES", "FrozenEncoder", "load_encoder"]

LIBRARIES = ("open_clip", "transformers", "tiny", "module")


def load_encoder(
    *,
    library: str,
    model: str = "",
    weights: str = "",
    device: str | torch.device = "cpu",
    precision: str = "auto",
    seed: int = 0,
    allow_code: bool = False,
) -> FrozenEncoder:
    """Load a frozen encoder.

    Args:
        library: `open_clip`; `transformers`; `tiny`, the encoder included in mdmf; or `module`, a user's encoder.
        model: its name in the library: `ViT-B-16-quickgelu` or a `.json` configuration for `open_clip`, a model id or
            folder for `transformers`, `tiny_clip` or empty for `tiny`, `package.module:factory` for `module`.
        weights: a tag of the model (`openai`), the path of a .safetensors or torch file, or `random`. `transformers`
            also has `pretrained`, `tiny` has `shipped`; these are their defaults.
        device: device of the model.
        precision: `float32`, `bfloat16`, `float16`; `auto` is float32 for small models and on hardware without 16-bit
            arithmetic.
        seed: seed of random weights.
        allow_code: whether `module` may import and run the code that `model` names.

    Raises:
        ValueError: for an impossible setting; the message lists the possible ones.
        FileNotFoundError: for missing files, or published weights that are not available; the message lists remedies.
    """
    if library not in LIBRARIES:
        raise ValueError(f"encoder library must be one of {', '.join(LIBRARIES)}, got {library!r}")
    if precision != "auto" and precision not in PRECISIONS:
        raise ValueError(f"precision must be 'auto' or one of {sorted(PRECISIONS)}, got {precision!r}")
    if library == "module":
        return _load_module(model, weights, device=device, precision=precision, allow_code=allow_code)
    # Importing these libraries takes seconds, so each is imported only if it is used.
    if library == "tiny":
        from mdmf.encoders.open_clip_described import load_tiny

        return load_tiny(model, weights, device=device, precision=precision, seed=seed)
    if not model or (not weights and library == "open_clip"):
        raise ValueError(f"library {library!r} needs a model and weights, got model {model!r} and weights {weights!r}")
    if library == "transformers":
        from mdmf.encoders.transformers_encoder import load_transformers

        return load_transformers(model, weights, device=device, precision=precision, seed=seed)
    if model.endswith(".json"):
        from mdmf.encoders.open_clip_described import load_described

        return load_described(model, weights, device=device, precision=precision, seed=seed)
    from mdmf.encoders.open_clip_encoder import load_open_clip

    return load_open_clip(model, weights, device=device, precision=precision, seed=seed)


def _load_module(
    model: str, weights: str, *, device: str | torch.device, precision: str, allow_code: bool
) -> FrozenEncoder:
    """The encoder that a user's factory returns, checked."""
    factory = own_factory(model, what="an encoder", setting="encoder.library=module", allow_code=allow_code)
    encoder = factory(device=device, precision=precision, weights=weights)
    _check_encoder(encoder, model)
    return encoder


def _check_encoder(encoder: Any, model: str) -> None:
    """Check a user's encoder here, so that it does not fail in the middle of an extraction.

    Raises:
        ValueError: listing missing attributes, or for features that are not float32 of shape (B, feature_size).
    """
    identity = getattr(encoder, "identity", None)
    has_names = isinstance(identity, dict) and all(isinstance(identity.get(key), str) for key in IDENTITY_KEYS)
    requirements = {
        f"identity: a dict of strings with {', '.join(IDENTITY_KEYS)}": has_names,
        "preprocess: an mdmf.structures.Preprocess": isinstance(getattr(encoder, "preprocess", None), Preprocess),
        "feature_size: an int": isinstance(getattr(encoder, "feature_size", None), int),
        "logit_scale: a float": isinstance(getattr(encoder, "logit_scale", None), float),
        "encode_images: a function": callable(getattr(encoder, "encode_images", None)),
        "encode_texts: a function": callable(getattr(encoder, "encode_texts", None)),
    }
    missing = [requirement for requirement, is_met in requirements.items() if not is_met]
    if missing:
        raise ValueError(
            f"{model!r} returned a {type(encoder).__name__}, which is no encoder; it needs {'; '.join(missing)}"
        )
    size = encoder.preprocess.crop_size
    features = encoder.encode_images(torch.zeros(2, size, size, 3, dtype=torch.uint8))
    expected = (2, encoder.feature_size)
    if tuple(features.shape) != expected or features.dtype != torch.float32:
        raise ValueError(
            f"encode_images of {model!r} must return float32 of shape (B, feature_size), here {expected}; "
            f"got {features.dtype} {tuple(features.shape)}"
        )
