"""Numbers of a report that no result file holds: worked out from a test's own answers. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mdmf.results import Episodes
from mdmf.statistics import mean_interval, wilson_interval


@dataclass(frozen=True)
class Answered:
    """A test's answers, query by query, (n·Q,) each, by class ids of the split.

    Attributes:
        true_class, answer: class ids.
        in_episode: (n·Q, N), the classes of each query's episode.
        n_classes: C.
    """

    true_class: np.ndarray
    answer: np.ndarray
    in_episode: np.ndarray
    n_classes: int

    @property
    def is_right(self) -> np.ndarray:
        """(n·Q,) bool."""
        return self.true_class == self.answer


def answered(episodes: Episodes, model: str, n_classes: int) -> Answered:
    """The answers of one model in a saved test."""
    predictions = episodes.answers[model].predictions
    return Answered(
        true_class=episodes.query_classes.ravel(),
        answer=np.take_along_axis(episodes.class_ids, predictions, axis=1).ravel(),
        in_episode=np.repeat(episodes.class_ids, predictions.shape[1], axis=0),
        n_classes=n_classes,
    )


def confusion_counts(answers: Answered) -> tuple[np.ndarray, np.ndarray]:
    """How often each class was answered with each, and how often it could have been.

    Returns:
        counts (C, C), true class × answered class; possible (C, C), queries of the true class in episodes that hold the
        other.
    """
    C = answers.n_classes
    counts = np.zeros((C, C), dtype=np.int64)
    np.add.at(counts, (answers.true_class, answers.answer), 1)
    possible = np.zeros((C, C), dtype=np.int64)
    np.add.at(possible, (answers.true_class[:, None], answers.in_episode), 1)
    return counts, possible


@dataclass(frozen=True)
class ClassNumbers:
    """One class: its queries, accuracy in percent with its interval, gain over a baseline with half its interval.

    Everything but `n_queries` is None for a class without queries, and the gain without a baseline.
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
    right = model.is_right[of_class].astype(np.float64)
    n = len(right)
    if n == 0:
        return ClassNumbers(0)
    numbers = ClassNumbers(n, float(100 * right.mean()), *wilson_interval(float(right.sum()), n))
    if baseline is None:
        return numbers
    baseline_right = baseline.is_right[of_class].astype(np.float64)
    difference = 100 * (right - baseline_right)
    return replace(
        numbers,
        baseline_percent=float(100 * baseline_right.mean()),
        gain=float(difference.mean()),
        gain_interval=mean_interval(difference) if n > 1 else None,
    )


def certainty_histogram(
    posterior: np.ndarray, labels: np.ndarray, *, n_bins: int = 20
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How sure a branch was where it was right, and where it was wrong.

    Args:
        posterior: (n, Q, N).
        labels: (n, Q).

    Returns:
        edges (n_bins + 1,) over [1/N, 1], and for right and wrong answers the share of all queries in each bin, in
        percent.
    """
    certainty = posterior.max(axis=-1).astype(np.float64).ravel()
    is_right = (posterior.argmax(axis=-1) == labels).ravel()
    edges = np.linspace(1 / posterior.shape[-1], 1, n_bins + 1)
    inside = certainty.clip(edges[0], edges[-1])  # half precision may fall a hair below 1/N
    counts = [np.histogram(inside[chosen], bins=edges)[0] for chosen in (is_right, ~is_right)]
    return edges, 100 * counts[0] / len(inside), 100 * counts[1] / len(inside)


@dataclass(frozen=True)
class SelectorNumbers:
    """Of some queries: how many, how often their own class's prompt was chosen, and the accuracy when it was or not.

    All but `n` in percent; None where there is no such query. `chance_percent` is how often it would be chosen blindly.
    """

    n: int
    own_percent: float | None
    chance_percent: float | None
    when_own: float | None
    when_other: float | None


def selector_numbers(
    chosen: np.ndarray, text: np.ndarray, answers: Answered
) -> tuple[SelectorNumbers, list[SelectorNumbers]]:
    """The prompt selector's choices over all queries, and per class.

    Args:
        chosen: (n, Q) label of the class whose prompt was taken; -1 for a query that could be given none.
        text: (C,) number of each class's text; the prompt of another class of the same text is a class's own.
    """
    usable = (chosen >= 0).ravel()
    is_own_text = text[answers.in_episode] == text[answers.true_class][:, None]  # (n·Q, N)
    is_own = np.take_along_axis(is_own_text, chosen.reshape(-1, 1).clip(min=0).astype(np.int64), axis=1)[:, 0]

    def of(these: np.ndarray) -> SelectorNumbers:
        return SelectorNumbers(
            int(these.sum()),
            _percent(is_own[these]),
            _percent(is_own_text[these]),
            _percent(answers.is_right[these & is_own]),
            _percent(answers.is_right[these & ~is_own]),
        )

    return of(usable), [of(usable & (answers.true_class == c)) for c in range(answers.n_classes)]


def _percent(values: np.ndarray) -> float | None:
    return float(100 * values.mean()) if len(values) else None
