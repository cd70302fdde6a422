"""Frozen encoders with an open_clip configuration in a JSON file: the tiny one of mdmf, and those of users."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from mdmf.encoders.frozen import make_preprocess, seeded, square_side
from mdmf.encoders.open_clip_encoder import OpenClipEncoder, Tokenizer, make_tokenizer, with_file
from mdmf.encoders.tiny_tokenizer import WordTokenizer
from mdmf.encoders.weights import RANDOM, names_a_file
from mdmf.resources import resource_folder
from mdmf.structures import Preprocess

TINY_MODEL = "tiny_clip"
SHIPPED = "shipped"


def load_tiny(
    model: str, weights: str, *, device: str | torch.device, precision: str, seed: int = 0
) -> OpenClipEncoder:
    """Load the tiny CLIP of mdmf, which was trained on the embedded world.

    Args:
        model: `tiny_clip`, or empty.
        weights: `shipped`, or empty for the same; the path of a local file; or `random`.
        seed: seed of random weights.

    Raises:
        ValueError: for another model.
        FileNotFoundError: if the installation lacks its files.
    """
    if model not in ("", TINY_MODEL):
        raise ValueError(f"library 'tiny' has one model, {TINY_MODEL!r}, got {model!r}; use it or another library")
    description = resource_folder("tiny") / f"{TINY_MODEL}.json"
    settings: dict[str, Any] = {"library": "tiny", "device": device, "precision": precision, "seed": seed}
    if weights not in ("", SHIPPED):
        return load_described(str(description), weights, **settings)
    weights_path = description.with_suffix(".safetensors")
    return load_described(str(description), str(weights_path), weights_name=SHIPPED, **settings)


def load_described(
    model: str,
    weights: str,
    *,
    device: str | torch.device,
    precision: str,
    seed: int = 0,
    library: str = "open_clip",
    weights_name: str = "",
) -> OpenClipEncoder:
    """Load a model from an open_clip configuration file.

    Args:
        model: path of the JSON file. In addition to the keys of open_clip it may have `mdmf` with `preprocess` (fields
            of `Preprocess`; default: the values of CLIP) and `words` (a word list instead of CLIP's word pieces).
        weights: the path of a local file, or `random`.
        seed: seed of random weights.
        library: name of the library in the identity.
        weights_name: name of the weights in the identity; default: the name of the file.

    Raises:
        ValueError: if open_clip cannot build the model, or the weights do not fit it.
        FileNotFoundError: if a file is missing.
    """
    path = Path(model).expanduser()
    description = _read_description(path)
    extras = description.pop("mdmf", {})
    module = _described_model(path, description, seed=seed)
    if weights == RANDOM:
        weights_name = f"{RANDOM} (seed {seed})"
    elif names_a_file(weights):
        weights_path = Path(weights).expanduser()
        module = with_file(module, weights_path, model=path.stem)
        weights_name = weights_name or weights_path.name
    else:
        raise ValueError(
            f"weights of a configuration file such as {path.name} are the path of a local file or 'random', "
            f"got {weights!r}"
        )
    return OpenClipEncoder(
        module,
        make_tokenizer=lambda: _make_tokenizer(path.stem, description["text_cfg"], extras.get("words")),
        names={"library": library, "model": path.stem, "weights": weights_name},
        preprocess=_preprocess(path, module, extras.get("preprocess", {})),
        device=device,
        precision=precision,
    )


def _read_description(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no model configuration {path}; expected an open_clip configuration in JSON")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    required = {"embed_dim", "vision_cfg", "text_cfg"}
    if not isinstance(description, dict) or not required <= description.keys():
        raise ValueError(f"{path} is not an open_clip model configuration: expected an object with {sorted(required)}")
    return description


def _described_model(path: Path, description: dict[str, Any], *, seed: int) -> nn.Module:
    """The model with random weights; the class is selected as in open_clip's own factory."""
    arguments = {key: value for key, value in description.items() if key != "custom_text"}
    model_class = open_clip.CustomTextCLIP if description.get("custom_text") else open_clip.CLIP
    try:
        with seeded(seed):
            return model_class(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"open_clip cannot build the model of {path}: {error}") from error


def _preprocess(path: Path, module: Any, values: dict[str, Any]) -> Preprocess:
    """The preprocessing of a description; fields that it lacks have the values of CLIP."""
    size = square_side(module.visual.image_size, model=path.stem)
    defaults = asdict(Preprocess(size, size))
    fields = defaults | values
    if fields.keys() != defaults.keys() or fields["crop_size"] != size:
        raise ValueError(
            f"`preprocess` of {path} must have the fields of Preprocess and crop_size {size}, got {values}"
        )
    return make_preprocess(path.stem, **fields)


def _make_tokenizer(name: str, text_settings: dict[str, Any], words: list[str] | None) -> Tokenizer:
    context_length = text_settings.get("context_length", 77)
    if words is not None:
        return WordTokenizer(words, context_length=context_length)
    arguments = {"context_length": context_length, **text_settings.get("tokenizer_kwargs", {})}
    hub_name = text_settings.get("hf_tokenizer_name")
    if not hub_name:
        return open_clip.SimpleTokenizer(**arguments)
    return make_tokenizer(name, lambda: open_clip.tokenizer.HFTokenizer(hub_name, **arguments), is_remote=True)
