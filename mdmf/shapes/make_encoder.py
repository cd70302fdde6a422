"""Training, evaluation and files of the tiny CLIP of the demo."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch.nn import functional

from mdmf.encoders.tiny_tokenizer import WordTokenizer
from mdmf.resources import resource_folder
from mdmf.shapes.captions import CAPTION_KINDS, captioned_frames, scene_numbers
from mdmf.shapes.encoder_training import (
    Batch,
    TinyTraining,
    build_tiny_clip,
    tiny_config,
    to_image_tensor,
    train_tiny_clip,
)
from mdmf.shapes.world import SHAPES_SPLIT
from mdmf.structures import Preprocess
from mdmf.yaml_text import read_yaml

BATCH_SIZE = 128
KIND_WEIGHTS = {"place": 4.0, "tilt": 2.0, "size": 2.0, "number": 2.0, "spread": 2.0, "arrangement": 2.0, "action": 1.5}


def make_demo_encoder(
    out: Path, *, n_steps: int | None = None, seed: int = 0, n_measured: int = 1500
) -> dict[str, Any]:
    """Train the tiny CLIP, and write its weights and description.

    Args:
        out: folder of the two files.
        n_steps: training steps; None: those of the included encoder.
        n_measured: held-out frames per kind of caption.

    Returns:
        The record stored with the weights: seed, steps, accuracies on held-out frames.
    """
    torch.manual_seed(seed)
    started = time.monotonic()
    training = TinyTraining() if n_steps is None else TinyTraining(n_steps=n_steps)
    prompts = read_yaml(resource_folder("prompts") / "shapes.yaml")["classes"]
    sentences = {name: prompts[name] for name in SHAPES_SPLIT["train"]}
    config = tiny_config(shared_words(sentences))
    preprocess = Preprocess(**config["mdmf"]["preprocess"])
    tokenizer = WordTokenizer(config["mdmf"]["words"], context_length=config["text_cfg"]["context_length"])
    for class_prompts in prompts.values():  # an unknown word is an error before the training, not after it
        tokenizer([class_prompts] if isinstance(class_prompts, str) else class_prompts)
    model = build_tiny_clip(config)
    batches = make_batches(seed, sentences, preprocess.crop_size)
    train_tiny_clip(model, batches, tokenizer=tokenizer, preprocess=preprocess, settings=training)
    reached = measure(model, tokenizer, preprocess, sentences, n_frames=n_measured, seed=seed + 1_000_000)
    reached["minutes"] = round((time.monotonic() - started) / 60, 1)
    record = {"seed": seed, "n_steps": training.n_steps, "batch_size": BATCH_SIZE, "reached": reached}
    write(out, model, config, record)
    return record


def shared_words(sentences: dict[str, str]) -> list[str]:
    """All words of captions, sorted, from 800 random captions of every kind."""
    rng = np.random.default_rng(0)
    captions = set(sentences.values()) | {"a shape"}
    for kind in CAPTION_KINDS:
        captions.update(captioned_frames(rng, kind, n_frames=800, size=4, action_sentences=sentences).captions)
    return sorted({word for caption in captions for word in caption.split()})


def make_batches(seed: int, sentences: dict[str, str], size: int) -> Iterator[Batch]:
    """Endless batches, each with one kind of caption; the next one is drawn in a thread."""
    weights = np.array([KIND_WEIGHTS.get(kind, 1.0) for kind in CAPTION_KINDS])

    def make(index: int) -> Batch:
        rng = np.random.default_rng([seed, index])
        kind = CAPTION_KINDS[rng.choice(len(CAPTION_KINDS), p=weights / weights.sum())]
        scenes = captioned_frames(rng, kind, n_frames=BATCH_SIZE, size=size, action_sentences=sentences)
        return Batch(scenes.frames, scenes.captions, *scene_numbers(scenes.sprites))

    with ThreadPoolExecutor(1) as pool:
        next_batch = pool.submit(make, 0)
        for index in itertools.count(1):
            batch, next_batch = next_batch.result(), pool.submit(make, index)
            yield batch


@torch.inference_mode()
def measure(
    model: Any,
    tokenizer: WordTokenizer,
    preprocess: Preprocess,
    sentences: dict[str, str],
    *,
    n_frames: int,
    seed: int,
) -> dict[str, Any]:
    """Accuracy on new frames: caption retrieval per kind, and R² of linear regressions of place and size."""
    rng = np.random.default_rng(seed)
    accuracy: dict[str, float] = {}
    r2: dict[str, float] = {}
    for kind in CAPTION_KINDS:
        scenes = captioned_frames(rng, kind, n_frames=n_frames, size=preprocess.crop_size, action_sentences=sentences)
        features = model.encode_image(to_image_tensor(scenes.frames, preprocess))
        distinct = sorted(set(scenes.captions))
        texts = functional.normalize(model.encode_text(tokenizer(distinct)), dim=-1)
        chosen = (functional.normalize(features, dim=-1) @ texts.T).argmax(dim=-1)
        is_right = [distinct[place] == caption for place, caption in zip(chosen, scenes.captions, strict=True)]
        accuracy[kind] = round(float(np.mean(is_right)), 3)
        if kind == "place":
            sprites, inputs = scenes.sprites, features.double().numpy()
            r2["x"] = linear_r2(inputs, sprites.centre[:, 0, 0])
            r2["y"] = linear_r2(inputs, sprites.centre[:, 0, 1])
            r2["log_radius"] = linear_r2(inputs, np.log(sprites.radius[:, 0]))
    return {"caption_accuracy": accuracy, "linear_r2": r2}


def linear_r2(features: np.ndarray, target: np.ndarray) -> float:
    """R² on the second half of the rows of a ridge regression fitted on the first half."""
    inputs = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    half = len(inputs) // 2
    gram = inputs[:half].T @ inputs[:half] + 1e-2 * np.eye(inputs.shape[1])
    predicted = inputs[half:] @ np.linalg.solve(gram, inputs[:half].T @ target[:half])
    return round(float(1 - np.mean((predicted - target[half:]) ** 2) / np.var(target[half:])), 3)


def write(folder: Path, model: torch.nn.Module, config: dict[str, Any], record: dict[str, Any]) -> None:
    """Write the weights in half precision, and the configuration with the record of the training."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}
    (folder / "tiny_clip.safetensors").write_bytes(save(weights))
    config["mdmf"]["training"] = record
    (folder / "tiny_clip.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
