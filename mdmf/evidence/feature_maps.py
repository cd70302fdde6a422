"""What a trained model does to single videos: the prompts it chooses, its features in two dimensions."""

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
_SAME_TEXT = 1e-4  # of its length: features of other sentences differ by much more


@torch.inference_mode()
def selector_choices(opened: OpenedTest) -> tuple[dict[str, Any], Arrays]:
    """The class whose prompt each query of the test was given.

    Returns:
        {`mode`}, and the arrays `selector/chosen` (n, Q), labels, -1 for a query without frames, and `selector/text`
        (C,), the number of each class's text: which of two classes of one text was chosen is chance.

    Raises:
        DoesNotApply: for a model that chooses no prompt.
    """
    selector = opened.model.selector
    if selector is None:
        raise DoesNotApply(f"{opened.name} gives no prompt to a query")
    if not selector.chooses_class or selector.mode == "off":
        raise DoesNotApply(f"with model.selector_test={selector.mode} no single prompt is chosen")
    source = opened.model.prompt_source
    prompts, chosen = ChosenPrompts(selector, opened.bank, source=source), []
    for start in range(0, len(opened.rows), _BATCH):
        batch = EpisodeBatch(opened.rows.part(start, start + _BATCH), opened.bank)
        labels, present = prompts.labels(batch), batch.query_present.get(source)
        chosen.append(labels if present is None else labels.masked_fill(~present, -1))
    arrays = {"selector/chosen": torch.cat(chosen).numpy().astype(np.int16)}
    return {"mode": selector.mode}, arrays | {"selector/text": _numbers_of_texts(prompts.class_text)}


def _numbers_of_texts(class_text: Tensor) -> np.ndarray:
    """(C, D) -> (C,): the first class whose text features are the same, up to rounding (sentences in another order)."""
    distance = torch.cdist(class_text, class_text, compute_mode="donot_use_mm_for_euclid_dist")
    is_same = distance < _SAME_TEXT * class_text.norm(dim=1, keepdim=True)
    return is_same.int().argmax(dim=1).numpy().astype(np.int32)


@torch.inference_mode()
def feature_maps(opened: OpenedTest) -> tuple[list[dict[str, Any]], Arrays]:
    """The test's videos in two dimensions, before and after the model.

    Before: the mean frame feature of each source. After: the mean token of each branch; a view's tokens are fused with
    the prompt of the video's own class, as those of a support video are.

    Returns:
        A list of {`when`, `of`, `explained` (two shares of the variance), `n_videos`}, and for entry i
        `embeddings/i/points` (B, 2) and `embeddings/i/classes` (B,).
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
            there = np.ones(len(rows), dtype=bool)
            for source in sources:
                found = present[source]
                there &= True if found is None else found.numpy()
            if there.sum() < 3:
                continue
            points, explained = principal_components(means.numpy()[there])
            arrays[f"embeddings/{len(maps)}/points"] = points.astype(np.float32)
            arrays[f"embeddings/{len(maps)}/classes"] = classes[there].astype(np.int16)
            maps.append({"when": when, "of": of, "explained": explained, "n_videos": int(there.sum())})
    return maps, arrays


def _mapped_videos(opened: OpenedTest) -> tuple[np.ndarray, np.ndarray]:
    """Store rows and classes of the videos that the test used, evenly thinned per class to `MAX_MAPPED_VIDEOS`."""
    store = opened.workspace.stores.first
    rows = store.rows_of(opened.saved.video_ids.tolist())
    number = {name: index for index, name in enumerate(opened.class_names)}
    classes = np.array([number[name] for name in store.table.class_name[rows]])
    per_class = max(2, MAX_MAPPED_VIDEOS // len(number))
    kept = []
    for index in range(len(number)):
        own = np.flatnonzero(classes == index)
        kept.append(own[np.unique(np.linspace(0, len(own) - 1, min(per_class, len(own))).round().astype(int))])
    places = np.concatenate(kept)
    return rows[places], classes[places]


def _token_means(
    opened: OpenedTest, features: Mapping[str, Tensor], classes: np.ndarray
) -> dict[str, tuple[Tensor, tuple[str, ...]]]:
    """branch -> mean token (B, D) of each video, and the sources it needs; of the branches that have weights."""
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
    """(B, D): the mean over a video's frame tokens, or of whatever tokens it has."""
    value = tokens.get("frames", next(iter(tokens.values())))
    return value.flatten(1, -2).mean(dim=1) if value.dim() > 2 else value


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """The two directions of largest variance, each with the sign that makes its largest weight positive.

    Args:
        vectors: (B, D), B >= 2.

    Returns:
        (B, 2) coordinates, and the share of the variance that each of the two explains.
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
