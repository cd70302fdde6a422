import numpy as np
import pytest

from mdmf.report.numbers import (
    Answered,
    answered,
    certainty_histogram,
    class_numbers,
    confusion_counts,
    selector_numbers,
)
from mdmf.results import Answers, Episodes


def test_answers_are_told_by_the_classes_behind_the_labels():
    episodes = Episodes(
        class_ids=np.array([[2, 0], [1, 2]]),
        support=np.zeros((2, 2, 1), dtype=int),
        query=np.zeros((2, 2), dtype=int),
        labels=np.array([[0, 1], [0, 1]]),
        video_ids=np.array(["a.mp4"]),
        answers={"m": Answers(np.zeros((2, 2, 2)), np.array([[0, 0], [1, 1]]))},
    )
    found = answered(episodes, "m", 3)
    assert found.true_class.tolist() == [2, 0, 1, 2]
    assert found.answer.tolist() == [2, 2, 2, 2]
    assert found.in_episode.tolist() == [[2, 0], [2, 0], [1, 2], [1, 2]]


TRUE = np.array([0, 0, 0, 1])
ANSWERS = Answered(TRUE, np.array([0, 1, 2, 1]), np.array([[0, 1], [0, 1], [2, 0], [1, 0]]), 3)


def test_confusions_by_hand():
    counts, possible = confusion_counts(ANSWERS)
    assert counts.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert possible.tolist() == [[3, 2, 1], [1, 1, 0], [0, 0, 0]]


def test_gain_is_paired_query_by_query():
    """Two of three right against one of three: differences 1, 0, 0 of class 0."""
    model = Answered(TRUE, np.array([0, 0, 2, 1]), ANSWERS.in_episode, 3)
    first, second, third = class_numbers(model, ANSWERS)
    assert (first.n_queries, second.n_queries, third.n_queries) == (3, 1, 0)
    assert first.percent == pytest.approx(200 / 3)
    assert first.baseline_percent == pytest.approx(100 / 3)
    assert first.gain == pytest.approx(100 / 3)
    assert first.gain_interval == pytest.approx(1.96 * np.std([100, 0, 0], ddof=1) / np.sqrt(3))
    assert (second.gain, second.gain_interval) == (0, None)  # one query has no spread
    assert third.percent is None
    assert class_numbers(model, None)[0].gain is None


def test_histogram_holds_every_query_once():
    posterior = np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [0.0, 1.0]]], dtype=np.float16)
    labels = np.array([[0, 1], [1, 1]])
    edges, right, wrong = certainty_histogram(posterior, labels, n_bins=5)
    np.testing.assert_allclose(edges, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert right.sum() + wrong.sum() == pytest.approx(100)
    assert right.tolist() == [25, 0, 25, 0, 25]  # 0.5; 0.8, in half precision a hair below; 1
    assert wrong.sum() == 25


def test_selector_numbers_by_hand():
    model = Answered(np.array([5, 6, 5, 6]), np.array([5, 5, 5, 6]), np.tile([5, 6], (4, 1)), 7)
    overall, per_class = selector_numbers(np.array([[0, 0], [1, -1]]), np.arange(7), model)
    assert (overall.n, overall.match_percent, overall.chance_percent) == (3, pytest.approx(100 / 3), 50)
    assert (overall.accuracy_with_match, overall.accuracy_with_other) == (100, 50)
    assert (per_class[5].n, per_class[5].match_percent, per_class[6].match_percent) == (2, 50, 0)
    assert per_class[6].accuracy_with_match is None
    assert per_class[0].match_percent is None


def test_the_prompt_of_a_class_of_the_same_text_is_a_querys_own():
    """Classes 0 and 2 have one text: to be given the other's prompt is chance, and changes nothing."""
    in_episode = np.array([[0, 1, 2], [2, 1, 0], [1, 0, 2]])
    model = Answered(np.array([0, 2, 1]), np.array([0, 2, 2]), in_episode, 3)
    overall, per_class = selector_numbers(np.array([[2], [0], [2]]), np.array([0, 1, 0]), model)
    assert [one.match_percent for one in per_class] == [100, 0, 100]
    assert [one.chance_percent for one in per_class] == pytest.approx([200 / 3, 100 / 3, 200 / 3])
    assert (overall.accuracy_with_match, overall.accuracy_with_other) == (100, 0)
