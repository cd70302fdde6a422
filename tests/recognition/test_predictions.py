import json
from dataclasses import replace

import numpy as np
import pytest

from mdmf.recognition.predictions import UNKNOWN, Moment, Predictions, trusted_branches
from mdmf.results import Answers


def predictions(**changes) -> Predictions:
    values = {
        "classes": ("jump", "kick", "run"),
        "clips": ("a.mp4", "b.mp4", "c.mp4"),
        "posterior": np.array([[0.2, 0.7, 0.1], [np.nan] * 3, [0.4, 0.2, 0.4]]),
        "branch_posteriors": {"otam": np.array([[0.5, 0.3, 0.2], [np.nan] * 3, [0.3, 0.3, 0.4]])},
        "trusted": ("otam", "", "otam"),
        "notes": ("", "not answered: it is cut", ""),
        "about": {"model": "otam", "window": None},
    }
    return Predictions(**values | changes)


def test_best_second_and_certainty_by_hand():
    said = predictions()
    assert said.best == ["kick", None, "jump"]  # the first of equal ones
    assert said.second_best == ["jump", None, "run"]
    np.testing.assert_allclose(said.probability, [0.7, np.nan, 0.4])
    np.testing.assert_allclose(said.second_probability, [0.2, np.nan, 0.4])
    np.testing.assert_allclose(said.certainty["otam"], [0.5, np.nan, 0.4])
    assert said.has_answer.tolist() == [True, False, True]
    assert len(said) == 3


@pytest.mark.parametrize(
    ("limit", "answers"),
    [(None, ["kick", None, "jump"]), (0.4, ["kick", None, "jump"]), (0.41, ["kick", None, UNKNOWN]), (1.0, None)],
)
def test_answers_below_the_limit_are_unknown_and_one_at_it_is_not(limit, answers):
    said = predictions(unknown_below=limit)
    assert said.answers == (answers or [UNKNOWN, None, UNKNOWN])
    assert said.best == ["kick", None, "jump"]


def test_the_record_is_json_and_says_everything():
    said = predictions(unknown_below=0.5, moments=(Moment(0, 10, 0.0, 0.4), Moment(), Moment(5, 15)))
    record = json.loads(json.dumps(said.to_dict(), allow_nan=False))
    assert record["model"] == "otam"
    assert record["classes"] == ["jump", "kick", "run"]
    assert record["rows"][0] == {
        "clip": "a.mp4",
        "first_frame": 0,
        "end_frame": 10,
        "start_seconds": 0.0,
        "end_seconds": 0.4,
        "answer": "kick",
        "best": "kick",
        "probability": 0.7,
        "second_best": "jump",
        "second_probability": 0.2,
        "certainty": {"otam": 0.5},
        "trusted": "otam",
        "posterior": {"jump": 0.2, "kick": 0.7, "run": 0.1},
        "note": "",
    }
    assert record["rows"][1]["probability"] is None
    assert record["rows"][1]["answer"] is None
    assert record["rows"][1]["note"] == "not answered: it is cut"
    assert record["rows"][2]["answer"] == UNKNOWN


def test_a_record_of_many_rows_ranks_them_no_more_often_than_one_of_few(monkeypatch):
    """Ranked anew for each row, the windows of an hour would take minutes."""
    n_rankings = []
    real = np.argsort
    monkeypatch.setattr(np, "argsort", lambda *values, **more: n_rankings.append(1) or real(*values, **more))

    def n_rankings_of(n: int) -> int:
        n_rankings.clear()
        said = Predictions(("a", "b"), ("x",) * n, np.full((n, 2), 0.5), {}, ("",) * n, ("",) * n)
        assert len(said.to_dict()["rows"]) == n
        return len(n_rankings)

    assert n_rankings_of(50) == n_rankings_of(2) > 0


def test_the_table_of_pandas_has_a_row_for_each():
    frame = predictions().to_frame()
    assert list(frame["clip"]) == ["a.mp4", "b.mp4", "c.mp4"]
    assert list(frame["p kick"].fillna(-1)) == [0.7, -1, 0.2]
    assert list(frame["certainty otam"].fillna(-1)) == [0.5, -1, 0.4]
    assert "first_frame" not in frame
    assert "posterior" not in frame


def test_the_most_certain_branch_is_trusted_and_the_largest_share_where_they_vary():
    posteriors = {"rgb": [[[0.6, 0.4], [0.5, 0.5]], [[0.1, 0.9], [1, 0]]], "flow": [[[0.6, 0.4], [0, 1]], [[0, 1]] * 2]}
    by_branch = {name: np.array(values) for name, values in posteriors.items()}
    answers = Answers(by_branch["rgb"], by_branch["rgb"].argmax(-1), by_branch)
    assert trusted_branches(answers) == ["rgb", "flow", "flow", "rgb"]
    shares = {"rgb": np.array([[0.1, 0.5], [0.6, 0.2]]), "flow": np.array([[0.9, 0.5], [0.4, 0.8]])}
    assert trusted_branches(replace(answers, fusion_weights=shares)) == ["flow", "rgb", "rgb", "flow"]
    assert trusted_branches(Answers(np.zeros((1, 0, 2)), np.zeros((1, 0)))) == []
