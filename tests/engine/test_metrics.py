import math

import numpy as np
import pytest

from mdmf.engine.metrics import class_accuracy, episode_accuracy


def test_interval_by_hand():
    """Episodes of 100, 50, 50 and 0 %: mean 50, standard deviation √(5000/3)."""
    labels = np.array([[0, 1]] * 4)
    predictions = np.array([[0, 1], [0, 0], [1, 1], [1, 0]])
    accuracy = episode_accuracy(predictions, labels)
    assert accuracy.percent == 50
    assert accuracy.interval == pytest.approx(1.96 * math.sqrt(5000 / 3) / 2)
    assert accuracy.n_episodes == 4
    assert str(accuracy) == "50.00 ± 40.01"


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    labels = np.zeros((400, 5), dtype=int)
    covered = 0
    for _ in range(1000):
        accuracy = episode_accuracy((rng.random((400, 5)) > 0.7).astype(int), labels)
        covered += abs(accuracy.percent - 70) <= accuracy.interval
    assert 0.93 <= covered / 1000 <= 0.97


def test_accuracy_per_class_follows_the_class_not_the_label():
    class_ids = np.array([[2, 0], [0, 2]])
    labels = np.array([[0, 1], [0, 1]])
    predictions = np.array([[0, 0], [0, 0]])
    assert class_accuracy(predictions, labels, class_ids, 3) == [50.0, None, 50.0]


def test_refuses_what_has_no_interval():
    with pytest.raises(ValueError, match="at least 2 episodes, got 1"):
        episode_accuracy(np.zeros((1, 2)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="of the same shape"):
        episode_accuracy(np.zeros((2, 2)), np.zeros((2, 3)))
