"""Numbers of a report that are not in the result file: they are computed from the saved answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mdmf.results import Episodes
from mdmf.statistics import mean_interval, wilson_interval


@dataclass(frozen=True)
class Answered:
    """The answers of a test, query by query, as class ids of the split.

    Attributes:
        true_class, answer: (n·Q,).
        in_episode: (n·Q, N), classes of the query's episode.
        n_classes: C.
    """

    true_class: np.ndarray
    answer: np.ndarray
    in_episode: np.ndarray
    n_classes: int

    @property
    def is_correct(self) -> np.ndarray:
        """(n·Q,) bool."""
        return self.true_class == self.answer


def answered(episodes: Episodes, model: str, n_classes: int) -> Answered:
    """The answers of one model of a saved test."""
    predictions = episodes.answers[model].predictions
    return Answered(
        true_class=episodes.query_classes.ravel(),
        answer=np.take_along_axis(episodes.class_ids, predictions, axis=1).ravel(),
        in_episode=np.repeat(episodes.class_ids, predictions.shape[1], axis=0),
        n_classes=n_classes,
    )


def confusion_counts(answers: Answered) -> tuple[np.ndarray, np.ndarray]:
    """Confusion counts, and the number of queries on which each confusion was possible.

    Returns:
        counts (C, C), true class × answered class; possible (C, C), queries of the true class in episodes with the
        other class.
    """
    C = answers.n_classes
    counts = np.zeros((C, C), dtype=np.int64)
    np.add.at(counts, (answers.true_class, answers.answer), 1)
    possible = np.zeros((C, C), dtype=np.int64)
    np.add.at(possible, (answers.true_class[:, None], answers.in_episode), 1)
    return counts, possible


@dataclass(frozen=True)
class ClassNumbers:
    """Numbers of one class: accuracy in percent with the ends of its interval, gain in points with half its interval.

    All but `n_queries` are None for a class without queries; `baseline_percent` and gain are None without a baseline.
    """

    n_queries: int
    percent: float | None = None
    low: float | None = None
    high: float | None = None
    baseline_percent: float | None = None
    gain: float | None = None
    gain_interval: float | None = None


def class_numbers(model: Answered, baseline: Answered | None) -> list[ClassNumbers]:
    """Per class: accuracy, and the gain over a baseline, paired query by query."""
    return [_class_numbers(model, baseline, model.true_class == c) for c in range(model.n_classes)]


def _class_numbers(model: Answered, baseline: Answered | None, of_class: np.ndarray) -> ClassNumbers:
    correct = model.is_correct[of_class].astype(np.float64)
    n = len(correct)
    if n == 0:
        return ClassNumbers(0)
    numbers = ClassNumbers(n, float(100 * correct.mean()), *wilson_interval(float(correct.sum()), n))
    if baseline is None:
        return numbers
    baseline_correct = baseline.is_correct[of_class].astype(np.float64)
    difference = 100 * (correct - baseline_correct)
    return replace(
        numbers,
        baseline_percent=float(100 * baseline_correct.mean()),
        gain=float(difference.mean()),
        gain_interval=mean_interval(difference) if n > 1 else None,
    )


def certainty_histogram(
    posterior: np.ndarray, labels: np.ndarray, *, n_bins: int = 20
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Histograms of certainty, the largest posterior, of correct and of wrong answers.

    Args:
        posterior: (n, Q, N).
        labels: (n, Q).

    Returns:
        edges (n_bins + 1,) over [1/N, 1], and for correct and wrong answers the share of all queries in each bin, in
        percent.
    """
    certainty = posterior.max(axis=-1).astype(np.float64).ravel()
    is_correct = (posterior.argmax(axis=-1) == labels).ravel()
    edges = np.linspace(1 / posterior.shape[-1], 1, n_bins + 1)
    certainty = certainty.clip(edges[0], edges[-1])  # in half precision it may be slightly below 1/N
    correct, wrong = (np.histogram(certainty[mask], bins=edges)[0] for mask in (is_correct, ~is_correct))
    return edges, 100 * correct / len(certainty), 100 * wrong / len(certainty)


@dataclass(frozen=True)
class SelectorNumbers:
    """Numbers of the prompt selector on some queries; percentages are None without such a query.

    Attributes:
        n: number of queries with a prompt.
        match_percent: queries with the prompt of their own class.
        chance_percent: the same for a random choice.
        accuracy_with_match: accuracy of the queries with the prompt of their own class.
        accuracy_with_other: accuracy of the other queries.
    """

    n: int
    match_percent: float | None
    chance_percent: float | None
    accuracy_with_match: float | None
    accuracy_with_other: float | None


def selector_numbers(
    chosen: np.ndarray, text: np.ndarray, answers: Answered
) -> tuple[SelectorNumbers, list[SelectorNumbers]]:
    """Numbers of the prompt selector over all queries, and per class.

    Args:
        chosen: (n, Q), label of the class of the chosen prompt; -1 for a query without a prompt.
        text: (C,), number of each class's text; prompts of classes with the same text are equal.
        answers: answers of the model.
    """
    usable = (chosen >= 0).ravel()
    has_true_text = text[answers.in_episode] == text[answers.true_class][:, None]  # (n·Q, N)
    is_match = np.take_along_axis(has_true_text, chosen.reshape(-1, 1).clip(min=0).astype(np.int64), axis=1)[:, 0]

    def numbers_of(mask: np.ndarray) -> SelectorNumbers:
        return SelectorNumbers(
            n=int(mask.sum()),
            match_percent=_percent(is_match[mask]),
            chance_percent=_percent(has_true_text[mask]),
            accuracy_with_match=_percent(answers.is_correct[mask & is_match]),
            accuracy_with_other=_percent(answers.is_correct[mask & ~is_match]),
        )

    return numbers_of(usable), [numbers_of(usable & (answers.true_class == c)) for c in range(answers.n_classes)]


def _percent(values: np.ndarray) -> float | None:
    return float(100 * values.mean()) if len(values) else None
