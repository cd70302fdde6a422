"""Frozen encoders of open_clip by model name, with published weights, a local file or random weights."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg
from torch import Tensor, nn

from mdmf.encoders.frozen import ClipEncoder, make_preprocess, seeded, square_side
from mdmf.encoders.weights import RANDOM, first_line, names_a_file, quick_hub, read_weights, unavailable
from mdmf.structures import Preprocess

logger = logging.getLogger(__name__)

_POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")
Tokenizer = Callable[[list[str]], Tensor]


class OpenClipEncoder(ClipEncoder):
    """A FrozenEncoder around an open_clip model; `make_tokenizer` is called for the first sentence."""

    def __init__(self, model: Any, *, make_tokenizer: Callable[[], Tokenizer], **settings: Any) -> None:
        self._make_tokenizer = make_tokenizer
        self._tokenizer: Tokenizer | None = None
        super().__init__(model, visual=model.visual, **settings)

    def _embed_pixels(self, pixels: Tensor) -> Tensor:
        return self._model.encode_image(pixels, normalize=False)

    def _embed_sentences(self, sentences: list[str]) -> Tensor:
        if self._tokenizer is None:
            self._tokenizer = self._make_tokenizer()
        return self._model.encode_text(self._tokenizer(sentences).to(self.device), normalize=False)


def load_open_clip(
    model: str, weights: str, *, device: str | torch.device, precision: str, seed: int = 0
) -> OpenClipEncoder:
    """Load an open_clip model by its name in open_clip.

    Args:
        model: a name of `open_clip.list_models()`; `/` is read as `-`.
        weights: a tag of the model, the path of a local file, or `random`.
        seed: seed of random weights.

    Raises:
        ValueError: for an unknown model or tag (with the nearest names), weights that do not fit the model, or
            preprocessing that mdmf cannot reproduce.
        FileNotFoundError: if a file is missing, or published weights are not on this machine and cannot be downloaded.
    """
    name = model.replace("/", "-")
    if name not in open_clip.list_models():
        raise ValueError(f"open_clip has no model {model!r}; {_nearest(name, open_clip.list_models())}")
    module, weights_name = _named_model(name, weights, seed=seed)
    return OpenClipEncoder(
        module,
        make_tokenizer=lambda: _named_tokenizer(name),
        names={"library": "open_clip", "model": name, "weights": weights_name},
        preprocess=_preprocess(open_clip.get_model_preprocess_cfg(module), model=name),
        device=device,
        precision=precision,
    )


def _named_model(name: str, weights: str, *, seed: int) -> tuple[nn.Module, str]:
    """A model of open_clip's list with its weights, and the name of the weights for the identity."""
    if weights == RANDOM:
        return _random_model(name, seed=seed), f"{RANDOM} (seed {seed})"
    if get_pretrained_cfg(name, weights):
        return _published_model(name, weights), weights
    if names_a_file(weights):
        path = Path(weights).expanduser()
        return with_file(_random_model(name, seed=seed), path, model=name), path.name
    tags = open_clip.list_pretrained_tags_by_model(name)
    raise ValueError(
        f"open_clip has no weights {weights!r} for model {name!r}; {_nearest(weights, tags)}; "
        "or give the path of a local file, or 'random'"
    )


def _published_model(name: str, tag: str) -> nn.Module:
    tag_settings = get_pretrained_cfg(name, tag)
    try:
        with quick_hub():
            return open_clip.create_model(
                name,
                pretrained=tag,
                require_pretrained=True,
                # Otherwise 'ViT-B-16' with 'openai' would have another activation than in its training.
                force_quick_gelu=bool(tag_settings.get("quick_gelu", False)),
            )
    except (OSError, RuntimeError) as error:
        tags = [other for other in open_clip.list_pretrained_tags_by_model(name) if other != tag]
        raise unavailable("open_clip", name, tag, tags, error) from error


def _random_model(name: str, *, seed: int) -> nn.Module:
    has_remote_text_tower = "hf_model_name" in open_clip.get_model_config(name)["text_cfg"]
    try:
        with quick_hub() if has_remote_text_tower else nullcontext(), seeded(seed):
            return open_clip.create_model(
                name, load_weights=False, pretrained_text=False, force_preprocess_cfg=_common_preprocessing(name)
            )
    except OSError as error:
        raise FileNotFoundError(
            f"the configuration of the text tower of open_clip model {name!r} is not on this machine and cannot be "
            f"downloaded ({first_line(error)}); run once with a connection, or choose another model"
        ) from error


def _common_preprocessing(name: str) -> dict[str, Any]:
    """The preprocessing of all published weights of a model, for local files, which do not contain it."""
    keys = ("mean", "std", "interpolation", "resize_mode")
    tags = open_clip.list_pretrained_tags_by_model(name)
    variants = {tuple(get_pretrained_cfg(name, tag)[key] for key in keys) for tag in tags}
    if len(variants) == 1:
        return dict(zip(keys, variants.pop(), strict=True))
    if variants:
        logger.warning("the published weights of %s differ in preprocessing; using open_clip's default", name)
    return {}


def with_file(module: nn.Module, path: Path, *, model: str) -> nn.Module:
    """Load a local file into the model; open_clip converts the formats that it knows.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file does not contain plain tensors, or has those of another model.
    """
    state, expected = read_weights(path), module.state_dict()
    resized = [
        key for key in _POSITIONS if key in state and key in expected and state[key].shape != expected[key].shape
    ]
    if resized:  # open_clip would interpolate them without a warning, which gives a model that was never trained
        shapes = f"{tuple(state[resized[0]].shape)}, not {tuple(expected[resized[0]].shape)}"
        raise ValueError(
            f"{path} does not fit model {model!r}: its {resized[0]} is {shapes}; choose the model it is for"
        )
    try:
        open_clip.load_checkpoint(module, str(path), strict=True)
    except (RuntimeError, KeyError) as error:
        raise ValueError(
            f"{path} does not fit model {model!r}; choose the model it is for: {str(error)[:400]}"
        ) from error
    return module


def _named_tokenizer(name: str) -> Tokenizer:
    text_settings = open_clip.get_model_config(name)["text_cfg"]
    is_remote = bool(text_settings.get("hf_tokenizer_name")) or "siglip" in name.lower()
    return make_tokenizer(name, lambda: open_clip.get_tokenizer(name), is_remote=is_remote)


def make_tokenizer(name: str, make: Callable[[], Tokenizer], *, is_remote: bool) -> Tokenizer:
    """The tokenizer that `make` returns; with `is_remote` its files may be on a hub.

    Raises:
        FileNotFoundError: if its files are not available.
    """
    try:
        with quick_hub() if is_remote else nullcontext():
            return make()
    except (OSError, ValueError, ImportError) as error:
        raise FileNotFoundError(
            f"the tokenizer of open_clip model {name!r} is not on this machine and cannot be downloaded "
            f"({first_line(error)}); run once with a connection, or choose another model"
        ) from error


def _preprocess(values: dict[str, Any], *, model: str) -> Preprocess:
    """The preprocessing settings of open_clip as a record."""
    size = square_side(values["size"], model=model)
    return make_preprocess(
        model,
        crop_size=size,
        resize_size=size,
        resize_mode=values["resize_mode"],
        interpolation=values["interpolation"],
        mean=values["mean"],
        std=values["std"],
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    lower = {candidate.lower(): candidate for candidate in known}
    matches = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.4)]
    return f"nearest: {', '.join(matches)}" if matches else f"known: {', '.join(known) or 'none'}"
