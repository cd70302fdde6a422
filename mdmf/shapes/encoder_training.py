"""Model, losses and training of the tiny CLIP of the demo."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from mdmf.encoders.tiny_tokenizer import WordTokenizer
from mdmf.structures import Preprocess

_LARGEST_LOGIT_SCALE = 4.6052  # log 100, CLIP's own bound


@dataclass(frozen=True)
class Batch:
    """Frames with captions, and numbers to predict from their features by a linear head.

    Attributes:
        frames: (B, S, S, 3) uint8.
        captions: B.
        numbers: (B, M), of about zero mean and unit variance.
        known: (B, M), 0 or 1.
    """

    frames: np.ndarray
    captions: list[str]
    numbers: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class TinyTraining:
    """Settings of the training.

    With captions alone, the features of all frames pointed in one direction and the loss stayed at chance for 1,200
    steps. The image tower is therefore also trained to predict numbers (place, size, count …) through a linear head:
    without captions for the first `n_reading_steps`, and together with them afterwards.
    """

    n_steps: int = 2000
    n_reading_steps: int = 400
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    n_warmup_steps: int = 30
    largest_gradient_norm: float = 1.0


def tiny_config(words: Sequence[str], *, image_size: int = 60, feature_size: int = 128) -> dict[str, Any]:
    """An open_clip model configuration, with the preprocessing and the words of the tokenizer under `mdmf`."""
    return {
        "embed_dim": feature_size,
        "vision_cfg": {
            "image_size": image_size,
            "patch_size": 12,
            "layers": 4,
            "width": 128,
            "head_width": 32,
            "pool_type": "avg",
            "pos_embed_type": "sin_cos_2d",
        },
        "text_cfg": {
            "context_length": 12,
            "vocab_size": len(words) + 3,
            "width": 128,
            "heads": 4,
            "layers": 2,
        },
        "mdmf": {
            "preprocess": {
                "crop_size": image_size,
                "resize_size": image_size,
                "resize_mode": "shortest",
                "interpolation": "bicubic",
                "mean": [0.5, 0.5, 0.5],
                "std": [0.25, 0.25, 0.25],
            },
            "words": list(words),
        },
    }


def build_tiny_clip(config: dict[str, Any]) -> CLIP:
    """The untrained open_clip model of a `tiny_config`."""
    return CLIP(config["embed_dim"], CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"]))


def to_image_tensor(frames: np.ndarray, preprocess: Preprocess) -> Tensor:
    """Frames (B, S, S, 3) uint8 of the model's size -> normalised (B, 3, S, S) float32."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    return (torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255 - mean) / std


def contrastive_loss(image_features: Tensor, text_features: Tensor, text_of_image: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric loss; all images that share a caption are its positives.

    Args:
        image_features: (B, D).
        text_features: (C, D), one per distinct caption.
        text_of_image: (B,), the caption of each image.
        scale: scalar that multiplies the cosines.

    Returns:
        Scalar.
    """
    logits = (
        scale * functional.normalize(image_features, dim=-1) @ functional.normalize(text_features, dim=-1).T
    )  # (B, C)
    image_loss = functional.cross_entropy(logits, text_of_image)
    is_positive = functional.one_hot(text_of_image, len(text_features)).to(logits.dtype)  # (B, C)
    share = is_positive / is_positive.sum(dim=0, keepdim=True)
    text_loss = -(share * logits.log_softmax(dim=0)).sum(dim=0).mean()
    return 0.5 * (image_loss + text_loss)


def reading_loss(predicted: Tensor, numbers: Tensor, known: Tensor) -> Tensor:
    """Mean squared error over the known numbers, (B, M) each -> scalar."""
    return ((predicted - numbers) ** 2 * known).sum() / known.sum()


def train_tiny_clip(
    model: CLIP,
    batches: Iterator[Batch],
    *,
    tokenizer: WordTokenizer,
    preprocess: Preprocess,
    settings: TinyTraining,
) -> list[float]:
    """Train `model` in place, in bfloat16 autocast, for `settings.n_steps` batches; return the loss of each."""
    batch = next(batches)
    head = nn.Linear(model.visual.output_dim, batch.numbers.shape[1])
    optimizer = torch.optim.AdamW(
        _parameter_groups([*model.parameters(), *head.parameters()], settings.weight_decay),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
    )
    losses = []
    model.train()
    for step in tqdm(range(settings.n_steps), desc="training the tiny encoder", unit="step"):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _rate_factor(step, settings)
        loss = _batch_loss(
            model,
            head,
            batch,
            tokenizer=tokenizer,
            preprocess=preprocess,
            with_captions=step >= settings.n_reading_steps,
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.largest_gradient_norm)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, _LARGEST_LOGIT_SCALE)
        losses.append(float(loss.detach()))
        batch = next(batches)
    model.eval()
    return losses


def _rate_factor(step: int, settings: TinyTraining) -> float:
    """Factor of the learning rate: a linear warm-up times a half cosine."""
    return min(1.0, (step + 1) / settings.n_warmup_steps) * 0.5 * (1 + math.cos(math.pi * step / settings.n_steps))


def _batch_loss(
    model: CLIP,
    head: nn.Module,
    batch: Batch,
    *,
    tokenizer: WordTokenizer,
    preprocess: Preprocess,
    with_captions: bool,
) -> Tensor:
    distinct = sorted(set(batch.captions))
    index = {caption: place for place, caption in enumerate(distinct)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image_features = model.encode_image(to_image_tensor(batch.frames, preprocess)).float()
        text_features = model.encode_text(tokenizer(distinct)) if with_captions else None
    numbers, known = (torch.from_numpy(values).float() for values in (batch.numbers, batch.known))
    loss = reading_loss(head(image_features), numbers, known)
    if text_features is None:
        return loss
    text_of_image = torch.tensor([index[caption] for caption in batch.captions])
    return loss + contrastive_loss(image_features, text_features.float(), text_of_image, model.logit_scale.exp())


def _parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of the optimizer, with weight decay for matrices only."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
