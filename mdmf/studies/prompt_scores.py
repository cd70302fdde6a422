"""Zero-shot accuracy of prompts on val: each template alone, and all templates together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdmf.class_names import class_key, nearest_hint
from mdmf.data.features.bank import FeatureBank
from mdmf.distances.pairwise import cosine_similarity
from mdmf.encoders.prompts import PromptFile, class_sentences, class_text_features
from mdmf.encoders.text_cache import FEATURE_NORM
from mdmf.engine.workspace import Workspace
from mdmf.models.text_at_test import text_settings
from mdmf.settings import CorruptSettings, Settings
from mdmf.source_settings import DEFAULT_SOURCE
from mdmf.statistics import mean_interval

SPLIT = "val"  # prompts are chosen on val, never on test
ENSEMBLE = "all together"
_VIDEOS_AT_ONCE = 512

Sentences = Mapping[str, Sequence[str]]
"""Class -> its finished sentences."""


@dataclass(frozen=True)
class Score:
    """Zero-shot accuracy of one set of sentences, in percent, with its 95 % interval over videos.

    `difference` is the paired difference to all templates together, with its interval; None for all together.
    """

    name: str
    percent: float
    interval: float
    difference: float | None = None
    difference_interval: float | None = None


@dataclass(frozen=True)
class Confusion:
    """Number of videos of one class that are predicted as another class, of the `n_of_class` videos of the class."""

    true_class: str
    predicted: str
    n_videos: int
    n_of_class: int


@dataclass(frozen=True)
class PromptScores:
    """Result of `score_prompts`.

    Attributes:
        file: file of the prompts.
        split: split of the videos.
        n_classes, n_videos: of the split; every class is a possible answer to every video.
        scores: all templates together, then each template.
        confusions: of all templates together, most frequent first.
        same_sentences: groups of classes with the same sentences.
        notes: notes on the features.
    """

    file: Path
    split: str
    n_classes: int
    n_videos: int
    scores: tuple[Score, ...]
    confusions: tuple[Confusion, ...]
    same_sentences: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def zero_shot_settings(settings: Settings) -> Settings:
    """The same experiment with the baseline `zero_shot`, without other models and corruptions."""
    model = text_settings(settings.model)
    evaluation = settings.evaluation.model_copy(update={"baselines": ()})
    corrupt = CorruptSettings(seed=settings.corrupt.seed)
    return settings.model_copy(update={"model": model, "evaluation": evaluation, "corrupt": corrupt})


def classes_named(classes: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Split -> its classes among `wanted`, whose spelling may differ (see `class_key`); all classes if it is empty.

    Raises:
        ValueError: for a name of no class, with the nearest class name.
    """
    if not wanted:
        return {split: tuple(names) for split, names in classes.items()}
    known = [name for names in classes.values() for name in names]
    known_keys = {class_key(name) for name in known}
    for name in wanted:
        if class_key(name) not in known_keys:
            raise ValueError(f"{name!r} is not a class of the data set{nearest_hint(name, known)}")
    keys = {class_key(name) for name in wanted}
    return {split: tuple(name for name in names if class_key(name) in keys) for split, names in classes.items()}


def score_prompts(workspace: Workspace, prompts: PromptFile, *, n_confusions: int = 10) -> PromptScores:
    """Zero-shot accuracy over all val videos, each among all val classes, with each template and with all together.

    The prediction is that of the baseline `zero_shot`: the class whose text is nearest to the mean frame. A correct
    prediction of one of n classes with the same sentences counts 1/n.

    Args:
        workspace: with the settings of `zero_shot_settings`; missing features are computed.
        prompts: prompts of every val class.
        n_confusions: largest number of pairs in the result.

    Raises:
        ValueError: if val has fewer than two classes or two usable videos, or the prompts lack a class.
    """
    names = workspace.index.classes[SPLIT]
    if len(names) < 2:
        raise ValueError(f"prompts are scored on {SPLIT} and need at least 2 classes; it has {len(names)} classes")
    sentences = class_sentences(prompts, names, known_classes=workspace.index.known_classes)
    videos, labels = _mean_frames(workspace)
    if len(labels) < 2:
        raise ValueError(f"prompts are scored on {SPLIT} and need at least 2 videos; it has {len(labels)} usable ones")
    encode = workspace.encoder().encode_texts
    correct, confusions = {}, []
    for row, sentences_of_row in {ENSEMBLE: sentences, **template_sentences(prompts, sentences)}.items():
        answers = zero_shot_answers(videos, sentences_of_row, encode)
        correct[row] = correctness(answers, labels, sentences_of_row)
        if row == ENSEMBLE:
            confusions = confusion_pairs(answers, labels, sentences_of_row)[:n_confusions]
    return PromptScores(
        file=prompts.path,
        split=SPLIT,
        n_classes=len(names),
        n_videos=len(labels),
        scores=tuple(_score(row, values, correct[ENSEMBLE]) for row, values in correct.items()),
        confusions=tuple(confusions),
        same_sentences=tuple(group for group in _groups(sentences) if len(group) > 1),
        notes=tuple(workspace.notes(SPLIT)),
    )


def template_sentences(prompts: PromptFile, sentences: Sentences) -> dict[str, Sentences]:
    """Template -> the sentences of each class with this template alone.

    A class with its own finished sentences keeps all of them for every template. If no class uses templates, the rows
    are the first sentence of every class, the second, …; a class with fewer sentences repeats its last.
    """
    names = list(sentences)
    if any(class_sentences(replace(prompts, templates=()), [name])[name] == [] for name in names):  # a template is used
        return {
            template: class_sentences(replace(prompts, templates=(template,)), names) for template in prompts.templates
        }
    n_places = max(map(len, sentences.values()))
    return {
        f"sentence {place + 1} of each class": {
            name: [of_class[min(place, len(of_class) - 1)]] for name, of_class in sentences.items()
        }
        for place in range(n_places)
    }


def zero_shot_answers(videos: Tensor, sentences: Sentences, encode: Callable[[list[str]], Tensor]) -> np.ndarray:
    """The class of each video by text alone.

    Args:
        videos: (V, D), mean frames.
        sentences: sentences of the C classes.
        encode: texts -> (n_texts, D).

    Returns:
        (V,) int64, 0 … C - 1 in the order of `sentences`; the first of several classes with the same sentences.
    """
    text = class_text_features(encode, sentences).to(videos)  # (C, D)
    text = text * (FEATURE_NORM / text.norm(dim=-1).mean())
    answers: np.ndarray = cosine_similarity(videos, text).argmax(dim=-1).cpu().numpy()  # (V, C) -> (V,)
    return answers


def correctness(answers: np.ndarray, labels: np.ndarray, sentences: Sentences) -> np.ndarray:
    """1 for a correct answer, 1/n if n classes have the sentences of the correct class, 0 for a wrong answer.

    Args:
        answers: (V,) class numbers.
        labels: (V,) class numbers.
        sentences: sentences of the classes in order.

    Returns:
        (V,) float64.
    """
    group_of, sizes = _group_numbers(sentences)
    same: np.ndarray = group_of[answers] == group_of[labels]
    return same / sizes[group_of[labels]]


def confusion_pairs(answers: np.ndarray, labels: np.ndarray, sentences: Sentences) -> list[Confusion]:
    """Pairs of true class and wrong prediction, most videos first; arguments as for `correctness`."""
    names = list(sentences)
    group_of, _ = _group_numbers(sentences)
    group_names = [" = ".join(group) for group in _groups(sentences)]
    n_of_class = np.bincount(labels, minlength=len(names))
    wrong = group_of[answers] != group_of[labels]
    pairs = Counter(zip(labels[wrong].tolist(), group_of[answers[wrong]].tolist(), strict=True))
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [
        Confusion(names[true], group_names[group], count, int(n_of_class[true])) for (true, group), count in ordered
    ]


def _mean_frames(workspace: Workspace) -> tuple[Tensor, np.ndarray]:
    """(V, D), mean frames of the usable val videos, and (V,), their class numbers."""
    number = {name: place for place, name in enumerate(workspace.index.classes[SPLIT])}
    records = [record for record in workspace.index.records if record.split == SPLIT]
    store = workspace.stores.readers[DEFAULT_SOURCE]
    rows = workspace.stores.first.rows_of([record.video_id for record in records])
    usable = store.ok[rows]
    labels = np.array([number[record.class_name] for record in records], dtype=np.int64)[usable]
    bank = FeatureBank({DEFAULT_SOURCE: store}, rows[usable], class_text=None)
    positions = bank.positions(rows[usable])
    chunks = [positions[start : start + _VIDEOS_AT_ONCE] for start in range(0, len(positions), _VIDEOS_AT_ONCE)]
    means = [bank.features_at(chunk)[DEFAULT_SOURCE].float().mean(dim=1) for chunk in chunks]  # (B, T, D) -> (B, D)
    return torch.cat(means) if means else torch.empty(0, store.feature_size), labels


def _groups(sentences: Sentences) -> list[tuple[str, ...]]:
    """The classes in groups of equal sentences; most groups have one class."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, of_class in sentences.items():
        groups.setdefault(tuple(sorted(of_class)), []).append(name)
    return [tuple(group) for group in groups.values()]


def _group_numbers(sentences: Sentences) -> tuple[np.ndarray, np.ndarray]:
    """(C,) number of each class's group, and the size of each group."""
    groups = _groups(sentences)
    number = {name: place for place, group in enumerate(groups) for name in group}
    return np.array([number[name] for name in sentences]), np.array([len(group) for group in groups])


def _score(name: str, correct: np.ndarray, ensemble: np.ndarray) -> Score:
    """Score of one row from the correctness (V,) of its answers and of those of all templates together."""
    score = Score(name, float(100 * correct.mean()), mean_interval(100 * correct))
    if name == ENSEMBLE:
        return score
    difference = correct - ensemble
    return replace(
        score, difference=float(100 * difference.mean()), difference_interval=mean_interval(100 * difference)
    )
