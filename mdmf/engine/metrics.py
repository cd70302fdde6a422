"""Accuracy with its interval, and accuracy per class."""

from dataclasses import dataclass

import numpy as np

from mdmf.statistics import mean_interval


@dataclass(frozen=True)
class Accuracy:
    """Mean accuracy over episodes in percent, and half the width of its 95 % interval, 1.96·std/√n."""

    percent: float
    interval: float
    n_episodes: int

    def __str__(self) -> str:
        return f"{self.percent:.2f} ± {self.interval:.2f}"


def episode_accuracy(predictions: np.ndarray, labels: np.ndarray) -> Accuracy:
    """Accuracy over episodes.

    Args:
        predictions: (n, Q) labels.
        labels: (n, Q).

    Raises:
        ValueError: for fewer than two episodes, or different shapes.
    """
    if predictions.shape != labels.shape:
        raise ValueError(
            f"expected predictions and labels of the same shape, got {predictions.shape} and {labels.shape}"
        )
    if len(labels) < 2:
        raise ValueError(f"an interval needs at least 2 episodes, got {len(labels)}")
    per_episode = 100.0 * (predictions == labels).mean(axis=1)
    return Accuracy(float(per_episode.mean()), mean_interval(per_episode), len(per_episode))


def class_accuracy(
    predictions: np.ndarray, labels: np.ndarray, class_ids: np.ndarray, n_classes: int
) -> list[float | None]:
    """Accuracy in percent of the queries of each class; None for a class without queries.

    Args:
        predictions: (n, Q) labels.
        labels: (n, Q).
        class_ids: (n, N), class id of each label.
        n_classes: C.
    """
    true_class = np.take_along_axis(class_ids, labels, axis=1).ravel()
    n_queries = np.bincount(true_class, minlength=n_classes)
    n_correct = np.bincount(true_class, weights=(predictions == labels).ravel(), minlength=n_classes)
    return [float(100 * correct / n) if n else None for correct, n in zip(n_correct, n_queries, strict=True)]
