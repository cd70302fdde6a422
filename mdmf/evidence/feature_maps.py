"""Evidence of single videos: the prompts that the model chooses, and its features in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdmf.engine.answerers import ChosenPrompts, EpisodeBatch
from mdmf.evidence.opened_test import DoesNotApply, OpenedTest
from mdmf.models.branch import Tokens
from mdmf.results import Arrays

MAX_MAPPED_VIDEOS = 600
_BATCH = 1000
_SAME_TEXT = 1e-4  # relative distance of features of the same sentences; other sentences differ by much more


@torch.inference_mode()
def selector_choices(opened: OpenedTest) -> tuple[dict[str, Any], Arrays]:
    """The class whose prompt each query of the test was given.

    Returns:
        {`mode`}, and the arrays `selector/chosen` (n, Q), labels, -1 for a query without frames, and `selector/text`
        (C,), the number of each class's text, equal for classes with the same text.

    Raises:
        DoesNotApply: if the model does not choose a single prompt.
    """
    selector = opened.model.selector
    if selector is None:
        raise DoesNotApply(f"{opened.name} gives no prompt to a query")
    if not selector.chooses_class or selector.mode == "off":
        raise DoesNotApply(f"with model.selector_test={selector.mode} no single prompt is chosen")
    source = opened.model.prompt_source
    prompts, chosen_labels = ChosenPrompts(selector, opened.bank, source=source), []
    for start in range(0, len(opened.rows), _BATCH):
        batch = EpisodeBatch(opened.rows.part(start, start + _BATCH), opened.bank)
        labels, present = prompts.labels(batch), batch.query_present.get(source)
        chosen_labels.append(labels if present is None else labels.masked_fill(~present, -1))
    arrays = {"selector/chosen": torch.cat(chosen_labels).numpy().astype(np.int16)}
    return {"mode": selector.mode}, arrays | {"selector/text": _numbers_of_texts(prompts.class_text)}


def _numbers_of_texts(class_text: Tensor) -> np.ndarray:
    """(C, D) -> (C,), the first class with the same text features, up to rounding (sentences in another order)."""
    distance = torch.cdist(class_text, class_text, compute_mode="donot_use_mm_for_euclid_dist")
    is_same = distance < _SAME_TEXT * class_text.norm(dim=1, keepdim=True)
    return is_same.int().argmax(dim=1).numpy().astype(np.int32)


@torch.inference_mode()
def feature_maps(opened: OpenedTest) -> tuple[list[dict[str, Any]], Arrays]:
    """The test's videos in two dimensions, before and after the model.

    Before: the mean frame feature of each source. After: the mean token of each branch; a method with prompts gives
    each video the prompt of its class, as for a support video.

    Returns:
        A list of the values of a `FeatureMap`, and for entry i `embeddings/i/points` (B, 2) and `embeddings/i/classes`
        (B,).
    """
    rows, classes = _mapped_videos(opened)
    positions = opened.bank.positions(rows)
    features = opened.bank.features_at(positions)
    present = {source: part.present(positions) for source, part in opened.bank.sources.items()}
    maps: list[dict[str, Any]] = []
    arrays: Arrays = {}
    before = {source: (features[source].mean(dim=1), (source,)) for source in opened.settings.model.used_sources}
    for when, parts in (("before", before), ("after", _token_means(opened, features, classes))):
        for of, (means, sources) in parts.items():
            complete = np.ones(len(rows), dtype=bool)
            for source in sources:
                if (present_videos := present[source]) is not None:
                    complete &= present_videos.numpy()
            if complete.sum() < 3:
                continue
            points, explained = principal_components(means.numpy()[complete])
            arrays[f"embeddings/{len(maps)}/points"] = points.astype(np.float32)
            arrays[f"embeddings/{len(maps)}/classes"] = classes[complete].astype(np.int16)
            prompted = when == "after" and opened.model.selector is not None
            record = {"when": when, "of": of, "explained": explained, "n_videos": int(complete.sum())}
            maps.append(record | {"prompted": prompted})
    return maps, arrays


def _mapped_videos(opened: OpenedTest) -> tuple[np.ndarray, np.ndarray]:
    """Store rows and classes of the test's videos; evenly spaced ones, at most `MAX_MAPPED_VIDEOS`."""
    store = opened.workspace.stores.first
    rows = store.rows_of(opened.saved.video_ids.tolist())
    number = {name: index for index, name in enumerate(opened.class_names)}
    classes = np.array([number[name] for name in store.table.class_name[rows]])
    per_class = max(2, MAX_MAPPED_VIDEOS // len(number))
    chosen = []
    for index in range(len(number)):
        of_class = np.flatnonzero(classes == index)
        places = np.linspace(0, len(of_class) - 1, min(per_class, len(of_class))).round().astype(int)
        chosen.append(of_class[np.unique(places)])
    places = np.concatenate(chosen)
    return rows[places], classes[places]


def _token_means(
    opened: OpenedTest, features: Mapping[str, Tensor], classes: np.ndarray
) -> dict[str, tuple[Tensor, tuple[str, ...]]]:
    """branch -> mean token (B, D) of each video and sources of the branch, for branches with weights."""
    model, prompts = opened.model, None
    if model.selector is not None:
        if opened.bank.class_text is None:
            return {}
        prompts = opened.bank.class_text[torch.from_numpy(classes)]
    branches = {name: model.branch(name) for name in model.branches}
    return {
        name: (_mean_token(branch.embed(features, prompts)), branch.sources)
        for name, branch in branches.items()
        if branch.has_weights
    }


def _mean_token(tokens: Tokens) -> Tensor:
    """(B, D), mean over the frame tokens of each video, or over its other tokens if it has no frame tokens."""
    value = tokens.get("frames", next(iter(tokens.values())))
    return value.flatten(1, -2).mean(dim=1) if value.dim() > 2 else value


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Projection on the first two principal components, signed so that the largest weight of each is positive.

    Args:
        vectors: (B, D), B >= 2.

    Returns:
        (B, 2), coordinates, and the share of the variance of each component.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    two = np.zeros((2, centred.shape[1]))
    two[: min(2, len(directions))] = directions[:2]
    signs = np.sign(two[np.arange(2), np.abs(two).argmax(axis=1)])
    total = float((lengths**2).sum())
    shares = np.zeros(2)
    if total > 0:
        shares[: min(2, len(lengths))] = lengths[:2] ** 2 / total
    return centred @ (two * signs[:, None]).T, [float(share) for share in shares]
