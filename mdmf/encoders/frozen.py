"""The interface of frozen encoders, and the base class of CLIP-like ones: precision, normalisation, hash of weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from mdmf.encoders.weights import weights_hash
from mdmf.structures import ImageEncoder, Preprocess

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
IDENTITY_KEYS = ("library", "model", "weights", "precision", "weights_hash")
SMALL_MODEL_PARAMETERS = 20_000_000
_TEXTS_PER_CALL = 256


class FrozenEncoder(ImageEncoder, Protocol):
    """An image and text encoder: D is the size of their joint space.

    Attributes:
        logit_scale: the multiplier of cosine similarities that the encoder was trained with.
    """

    logit_scale: float

    def encode_texts(self, sentences: list[str]) -> Tensor:
        """B sentences -> features (B, D), float32, not normalised."""


class ClipEncoder(ABC):
    """A FrozenEncoder around a CLIP-like module; subclasses embed pixels and sentences.

    Args:
        model: the torch module with its weights; it is frozen, moved and cast in place. Its parameter `logit_scale` is
            a logarithm, as in CLIP.
        visual: the image tower of `model`; its size determines the `auto` precision.
        names: `library`, `model` and `weights`, for the identity.
        precision: `auto`, `float32`, `bfloat16` or `float16`, the dtype of the weights. On a CPU that is several times
            faster than autocast.
    """

    def __init__(
        self,
        model: Any,
        *,
        visual: Any,
        names: dict[str, str],
        preprocess: Preprocess,
        device: str | torch.device,
        precision: str,
    ) -> None:
        self.device = torch.device(device)
        n_parameters = sum(parameter.numel() for parameter in visual.parameters())
        precision = resolve_precision(precision, device=self.device, n_visual_parameters=n_parameters)
        model = model.float().eval().requires_grad_(False)
        self.identity = {**names, "precision": precision, "weights_hash": weights_hash(model.state_dict())}
        self.logit_scale = float(model.logit_scale.exp().item())
        self.preprocess = preprocess
        self._dtype = PRECISIONS[precision]
        self._model = model.to(self.device, self._dtype)
        self._mean, self._std = (
            torch.tensor(numbers, dtype=torch.float32, device=self.device).reshape(1, 3, 1, 1)
            for numbers in (preprocess.mean, preprocess.std)
        )
        size = preprocess.crop_size
        self.feature_size = self.encode_images(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[1]

    @abstractmethod
    def _embed_pixels(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (B, 3, S, S) -> features (B, D)."""

    @abstractmethod
    def _embed_sentences(self, sentences: list[str]) -> Tensor:
        """B sentences -> features (B, D)."""

    def normalize(self, frames: Tensor) -> Tensor:
        """Scale frames to 0..1 and normalise them, on the encoder's device.

        Args:
            frames: (B, S, S, 3), uint8.

        Returns:
            (B, 3, S, S), float32.
        """
        pixels = frames.to(self.device).permute(0, 3, 1, 2).contiguous()  # (B, S, S, 3) -> (B, 3, S, S)
        return pixels.to(torch.float32).div(255).sub(self._mean).div(self._std)

    def encode_images(self, frames: Tensor) -> Tensor:
        """Embed frames in the joint image-text space.

        Args:
            frames: (B, S, S, 3), uint8 RGB, resized and cropped according to `preprocess`.

        Returns:
            (B, D), float32, not normalised, on the encoder's device.

        Raises:
            ValueError: for another dtype or shape.
        """
        size = self.preprocess.crop_size
        if frames.dtype != torch.uint8 or frames.ndim != 4 or tuple(frames.shape[1:]) != (size, size, 3):
            raise ValueError(
                f"expected uint8 frames of shape (B, {size}, {size}, 3), got {frames.dtype} {tuple(frames.shape)}; "
                "resize and crop them according to the `preprocess` of this encoder"
            )
        with torch.inference_mode():
            features = self._embed_pixels(self.normalize(frames).to(self._dtype)).float()
        return features.clone()  # outside inference mode: an ordinary tensor that training may use

    def encode_texts(self, sentences: list[str]) -> Tensor:
        """Embed sentences in the joint image-text space.

        Returns:
            (B, D), float32, not normalised, on the encoder's device.

        Raises:
            ValueError: for an empty list, or a single string.
            FileNotFoundError: if the model's tokenizer is not on this machine and cannot be downloaded.
        """
        if isinstance(sentences, str) or not sentences:
            raise ValueError(f"expected a list of at least one sentence, got {sentences!r}")
        with torch.inference_mode():
            chunks = [
                self._embed_sentences(sentences[start : start + _TEXTS_PER_CALL]).float()
                for start in range(0, len(sentences), _TEXTS_PER_CALL)
            ]
        return torch.cat(chunks)


def make_preprocess(
    model: str,
    *,
    crop_size: int,
    resize_size: int,
    resize_mode: str,
    interpolation: str,
    mean: Sequence[float],
    std: Sequence[float],
) -> Preprocess:
    """The preprocessing of a model as a record.

    Raises:
        ValueError: naming the model, if mdmf cannot reproduce the preprocessing.
    """
    if len(mean) != 3 or len(std) != 3:
        raise ValueError(f"model {model!r} expects {len(mean)} channels; mdmf has RGB frames, 3 channels")
    try:
        return Preprocess(
            crop_size=crop_size,
            resize_size=resize_size,
            resize_mode=resize_mode,
            interpolation=interpolation,
            mean=(float(mean[0]), float(mean[1]), float(mean[2])),
            std=(float(std[0]), float(std[1]), float(std[2])),
        )
    except ValueError as error:
        raise ValueError(f"mdmf cannot reproduce the preprocessing of model {model!r}: {error}") from error


def square_side(size: int | Sequence[int], *, model: str) -> int:
    """The side of a square given as one number or as (height, width).

    Raises:
        ValueError: naming the model, for a rectangle.
    """
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    if height != width:
        raise ValueError(f"model {model!r} expects frames of {height} x {width}; mdmf supports square frames only")
    return height


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block, and restore its generator afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def resolve_precision(precision: str, *, device: torch.device, n_visual_parameters: int) -> str:
    """The precision; `auto` is float32 for small models, and otherwise 16 bits if the hardware supports them."""
    if precision != "auto":
        return precision
    if n_visual_parameters < SMALL_MODEL_PARAMETERS:
        return "float32"
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"
    return "bfloat16" if device.type == "cpu" and cpu_has_bfloat16() else "float32"


@cache
def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware; False if this is not known (systems other than Linux)."""
    description = Path("/proc/cpuinfo")
    if not description.is_file():
        return False
    flags = set(description.read_text(encoding="utf-8", errors="replace").split())
    return bool(flags & {"amx_bf16", "avx512_bf16", "bf16"})
