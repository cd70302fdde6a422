import json
import math
from itertools import pairwise

import numpy as np
import pytest

from mdmf.engine import diagnostics
from mdmf.engine.diagnostics import (
    calibration_curve,
    diagnose,
    expected_calibration_error,
    gain_correlation,
    reliability,
    taught_shares,
)
from mdmf.mutual import condition
from mdmf.results import Reliability


def binary(first_class: list[list[float]]) -> np.ndarray:
    """(n, Q, 2) from the posteriors (n, Q) of class 0."""
    share = np.array(first_class)
    return np.stack([share, 1 - share], axis=-1)


def random_posteriors(seed: int, n: int = 30, Q: int = 4, N: int = 3) -> np.ndarray:
    """Posteriors in steps of 1/16, so that ties and bin edges happen."""
    counts = np.random.default_rng(seed).multinomial(16, np.full(N, 1 / N), size=(n, Q))
    return counts / 16


def random_labels(seed: int, n: int = 30, Q: int = 4, N: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, N, (n, Q))


# Six queries, all of class 0 of 2. Right: first only, first only, second only, both, none, second only.
LABELS = np.zeros((2, 3), dtype=np.int64)
BRANCHES = {
    "local": binary([[0.9, 0.6, 0.2], [0.8, 0.1, 0.4]]),
    "global": binary([[0.3, 0.1, 0.7], [0.9, 0.2, 0.6]]),
}
# Largest posterior of local .9 .6 .8 | .8 .9 .6, of global .7 .9 .7 | .9 .8 .6: of the four decidable queries the
# trusted branch is right, wrong, wrong, and the last is a tie.
TEACHER = np.array([[0, 1, -1], [0, -2, 1]])  # decidable and taught by one: right, wrong, -, and the last right


def wilson_half_width(share: float, n: int) -> float:
    """From the two roots of (p - share)² = z² p (1 - p) / n."""
    z2 = 1.96**2 / n
    root = math.sqrt((2 * share + z2) ** 2 - 4 * (1 + z2) * share**2)
    return 100 * root / (2 * (1 + z2))


# Calibration


def test_calibration_error_by_hand():
    """Two bins: (0, .5] holds .5 (right); (.5, 1] holds .6 (wrong), .75 (right), 1 (right)."""
    posterior = binary([[0.5, 0.4], [0.75, 1.0]])
    labels = np.array([[0, 0], [0, 0]])
    assert calibration_curve(posterior, labels, n_bins=2) == [
        {"lower": 0.0, "upper": 0.5, "n": 1, "accuracy": 1.0, "confidence": 0.5},
        {
            "lower": 0.5,
            "upper": 1.0,
            "n": 3,
            "accuracy": pytest.approx(2 / 3),
            "confidence": pytest.approx(2.35 / 3),
        },
    ]
    expected = 1 / 4 * 0.5 + 3 / 4 * (2.35 - 2) / 3
    assert expected_calibration_error(posterior, labels, n_bins=2) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_bins", [1, 2, 4, 10, 15])
def test_calibration_error_agrees_with_a_loop(n_bins):
    posterior, labels = random_posteriors(0), random_labels(1)
    total = 0.0
    for b in range(n_bins):
        inside = [
            (max(query), int(np.argmax(query)) == label)
            for query, label in zip(posterior.reshape(-1, 3).tolist(), labels.ravel().tolist(), strict=True)
            if b / n_bins < max(query) <= (b + 1) / n_bins
        ]
        if inside:
            confidence, accuracy = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            total += len(inside) / labels.size * abs(accuracy - confidence)
    assert expected_calibration_error(posterior, labels, n_bins=n_bins) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_right_edge_belongs_to_its_bin_in_every_precision(dtype):
    uniform = np.full((1, 1, 5), 0.2, dtype)
    (one,) = calibration_curve(uniform, np.zeros((1, 1), int))
    assert (one["lower"], one["upper"]) == (2 / 15, 3 / 15)


def test_a_posterior_a_little_above_1_is_in_the_last_bin():
    posterior = np.array([[[np.nextafter(np.float32(1), np.float32(2)), 0]]], np.float32)
    (one,) = calibration_curve(posterior, np.zeros((1, 1), int))
    assert one["upper"] == 1


def test_bins_of_the_curve_hold_every_query_once_in_order():
    curve = calibration_curve(random_posteriors(0), random_labels(1))
    assert sum(one["n"] for one in curve) == 120
    assert all(one["lower"] < one["confidence"] <= one["upper"] for one in curve)
    assert all(left["upper"] <= right["lower"] for left, right in pairwise(curve))
    assert json.loads(json.dumps(curve)) == curve


@pytest.mark.parametrize("gap", [0.0, 0.1, 0.3])
def test_calibration_error_is_the_known_gap_of_over_confident_posteriors(gap):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.8, 1.0, (200, 500))
    right = rng.random((200, 500)) < confidence - gap
    posterior = binary(confidence)
    labels = np.where(right, 0, 1)
    assert expected_calibration_error(posterior, labels) == pytest.approx(gap, abs=0.01)


def test_a_sure_and_wrong_model_has_the_largest_error():
    assert expected_calibration_error(binary([[1.0, 1.0]]), np.array([[1, 1]])) == 1
    assert expected_calibration_error(binary([[1.0, 1.0]]), np.array([[0, 0]])) == 0


# Reliability


def test_reliability_by_hand():
    assert reliability(BRANCHES, LABELS, teacher=TEACHER).as_json() == {
        "n_disagree": 4,
        "n_decidable": 4,
        "by_trust_percent": 100 * 1.5 / 4,
        "by_trust_interval": pytest.approx(wilson_half_width(1.5 / 4, 4)),
        "teacher_percent": pytest.approx(100 * 2 / 3),
        "teacher_interval": pytest.approx(wilson_half_width(2 / 3, 3)),
        "n_taught": 3,
    }


def test_wilson_interval_of_a_published_example():
    """8 of 10: [0.490, 0.943] (Newcombe 1998's method 3), half its width is 22.7 %."""
    n = 10
    labels = np.zeros((1, n), dtype=int)
    branches = {"a": binary([[1.0] * 8 + [0.0] * 2]), "b": binary([[0.4] * 8 + [0.6] * 2])}
    report = reliability(branches, labels)
    assert (report.n_decidable, report.by_trust_percent) == (10, 80)
    assert report.by_trust_interval == pytest.approx(100 * (0.9433 - 0.4902) / 2, abs=0.01)


def test_branches_that_disagree_may_both_be_wrong():
    posteriors = {"a": np.array([[[0.1, 0.6, 0.3]]]), "b": np.array([[[0.1, 0.3, 0.6]]])}
    report = reliability(posteriors, np.array([[0]]), teacher=np.array([[0]]))
    nothing = dict.fromkeys(("by_trust_percent", "by_trust_interval", "teacher_percent", "teacher_interval"))
    assert report == Reliability(n_disagree=1, n_decidable=0, n_taught=0, **nothing)


def test_without_a_teacher_nothing_is_said_of_it():
    report = reliability(BRANCHES, LABELS)
    assert (report.teacher_percent, report.teacher_interval, report.n_taught) == (None, None, None)
    nobody = reliability(BRANCHES, LABELS, teacher=np.where(TEACHER % 2, -1, -2))
    assert (nobody.teacher_percent, nobody.teacher_interval, nobody.n_taught) == (None, None, 0)


def test_given_trust_is_what_counts():
    always = {"local": np.ones((2, 3)), "global": np.zeros((2, 3))}
    assert reliability(BRANCHES, LABELS, trust=always).by_trust_percent == 50
    perfect = {"global": np.array([[0, 0, 1], [0, 0, 1]]), "local": np.array([[1, 1, 0], [0, 0, 0]])}
    report = reliability(BRANCHES, LABELS, trust=perfect)
    assert report.by_trust_percent == 100
    assert report.by_trust_interval == pytest.approx(wilson_half_width(1, 4))
    assert report.by_trust_interval > 0
    tied = {branch: np.full((2, 3), 0.5) for branch in BRANCHES}
    assert reliability(BRANCHES, LABELS, trust=tied).by_trust_percent == 50


@pytest.mark.parametrize("seed", range(5))
def test_reliability_agrees_with_a_loop(seed):
    posteriors = {"a": random_posteriors(seed), "b": random_posteriors(seed + 100)}
    labels = random_labels(seed)
    teacher = np.random.default_rng(seed).integers(-2, 2, labels.shape)
    n_disagree, trusted, taught = 0, [], []
    for i, j in np.ndindex(labels.shape):
        queries = [posteriors[branch][i, j].tolist() for branch in ("a", "b")]
        predictions = [query.index(max(query)) for query in queries]
        n_disagree += predictions[0] != predictions[1]
        right = [prediction == labels[i, j] for prediction in predictions]
        if sum(right) != 1:
            continue
        if max(queries[0]) == max(queries[1]):
            trusted.append(0.5)
        else:
            trusted.append(float(right[0] if max(queries[0]) > max(queries[1]) else right[1]))
        if teacher[i, j] >= 0:
            taught.append(right[teacher[i, j]])
    assert 0.5 in trusted
    report = reliability(posteriors, labels, teacher=teacher)
    assert (report.n_disagree, report.n_decidable, report.n_taught) == (n_disagree, len(trusted), len(taught))
    assert report.by_trust_percent == pytest.approx(100 * sum(trusted) / len(trusted))
    assert report.by_trust_interval == pytest.approx(wilson_half_width(sum(trusted) / len(trusted), len(trusted)))
    assert report.teacher_percent == pytest.approx(100 * sum(taught) / len(taught))


def test_swapping_the_branches_changes_nothing_but_the_number_of_the_teacher():
    posteriors = {"a": random_posteriors(0), "b": random_posteriors(1)}
    labels = random_labels(2)
    rng = np.random.default_rng(3)
    trust = {branch: rng.integers(0, 3, labels.shape) for branch in posteriors}
    teacher = rng.integers(-2, 2, labels.shape)
    swapped = dict(reversed(posteriors.items()))
    swapped_teacher = np.where(teacher >= 0, 1 - teacher, teacher)
    assert reliability(swapped, labels, trust=trust, teacher=swapped_teacher) == reliability(
        posteriors, labels, trust=trust, teacher=teacher
    )
    weight = rng.random(labels.shape)
    correlation = gain_correlation(weight, posteriors, labels)
    assert gain_correlation(1 - weight, swapped, labels) == pytest.approx(correlation, abs=1e-12)
    assert gain_correlation(weight, swapped, labels) == pytest.approx(-correlation, abs=1e-12)


def test_swapping_classes_changes_nothing():
    posteriors = {"a": random_posteriors(0), "b": random_posteriors(1)}
    unique = {branch: (one + np.array([0, 1e-4, 2e-4])) / (1 + 3e-4) for branch, one in posteriors.items()}  # no ties
    labels = random_labels(2)
    mirrored = {branch: one[..., ::-1] for branch, one in unique.items()}
    assert reliability(mirrored, 2 - labels) == reliability(unique, labels)


# Correlation with the gain


def test_gain_correlation_by_hand():
    """Gains 1, 1, -1, 0, 0, -1 with mean 0; weights .5 + .1 * (1, 0, -1, 2, -2, 0)."""
    weight = 0.5 + 0.1 * np.array([[1, 0, -1], [2, -2, 0]])
    expected = (1 + 1) / math.sqrt(4 * 10)
    assert gain_correlation(weight, BRANCHES, LABELS) == pytest.approx(expected, abs=1e-12)


def test_weight_that_follows_the_gain_has_correlation_1():
    gain = np.array([[1, 1, -1], [0, 0, -1]])
    assert gain_correlation(0.5 + 0.2 * gain, BRANCHES, LABELS) == pytest.approx(1, abs=1e-12)
    assert gain_correlation(0.5 - 1e-300 * gain, BRANCHES, LABELS) is None  # 0.5 it is, in double precision
    assert gain_correlation(-1e-300 * gain, BRANCHES, LABELS) == pytest.approx(-1, abs=1e-12)


def test_gain_correlation_agrees_with_numpy():
    posteriors = {"a": random_posteriors(0), "b": random_posteriors(1)}
    labels = random_labels(2)
    weight = np.random.default_rng(3).random(labels.shape).astype(np.float32)
    gain = (posteriors["a"].argmax(-1) == labels).astype(int) - (posteriors["b"].argmax(-1) == labels)
    expected = np.corrcoef(weight.ravel(), gain.ravel())[0, 1]
    assert gain_correlation(weight, posteriors, labels) == pytest.approx(expected, abs=1e-6)


def test_no_correlation_without_spread():
    assert gain_correlation(np.full((2, 3), 0.1), BRANCHES, LABELS) is None
    same = {"a": BRANCHES["local"], "b": BRANCHES["local"]}
    assert gain_correlation(np.arange(6.0).reshape(2, 3), same, LABELS) is None


# Teaching


def test_taught_shares_by_hand():
    shares = taught_shares(TEACHER, ["local", "global"])
    assert shares == {"local": 2 / 6, "global": 2 / 6, "none": 1 / 6, "both": 1 / 6}
    assert sum(shares.values()) == pytest.approx(1)
    assert taught_shares(np.array([[1]], np.int8), ["a", "b"]) == {"a": 0, "b": 1, "none": 0, "both": 0}


def test_codes_of_no_and_both_teachers_are_those_of_the_condition():
    assert diagnostics.TAUGHT_BY_NONE == condition.TAUGHT_BY_NONE
    assert diagnostics.TAUGHT_BY_BOTH == condition.TAUGHT_BY_BOTH


# All together


def test_diagnosis_by_hand():
    fused = (BRANCHES["local"] + BRANCHES["global"]) / 2
    weight_local = 0.5 + 0.1 * np.array([[1, 0, -1], [2, -2, 0]])
    weight = {"local": weight_local, "global": 1 - weight_local}
    found = diagnose(fused, BRANCHES, LABELS, fusion_weight=weight, teacher=TEACHER)
    assert set(found) == {"calibration_error", "reliability", "gain_correlation", "taught_share"}
    assert list(found["calibration_error"]) == ["fused", "local", "global"]
    assert found["calibration_error"]["local"] == expected_calibration_error(BRANCHES["local"], LABELS)
    assert found["calibration_error"]["fused"] == expected_calibration_error(fused, LABELS)
    # By weight: local, tie, global, tie on the decidable queries; the first and the third are right.
    assert found["reliability"]["by_trust_percent"] == 75
    assert found["reliability"]["n_taught"] == 3
    assert found["gain_correlation"] == pytest.approx(2 / math.sqrt(40), abs=1e-12)
    assert found["taught_share"] == taught_shares(TEACHER, list(BRANCHES))


def test_without_weights_trust_is_the_largest_posterior():
    found = diagnose(BRANCHES["local"], BRANCHES, LABELS)
    assert set(found) == {"calibration_error", "reliability", "gain_correlation"}
    assert found["reliability"]["by_trust_percent"] == 37.5
    assert found["gain_correlation"] is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_diagnosis_is_plain_json(dtype):
    branches = {branch: one.astype(dtype) for branch, one in BRANCHES.items()}
    weight = {branch: one[..., 0] for branch, one in branches.items()}
    for given in ({}, {"fusion_weight": weight}, {"teacher": TEACHER.astype(np.int8)}):
        found = diagnose(branches["local"], branches, LABELS, **given)
        assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c"]])
def test_other_than_two_branches_have_calibration_only(names):
    branches = dict.fromkeys(names, BRANCHES["local"])
    found = diagnose(BRANCHES["global"], branches, LABELS, teacher=np.full((2, 3), -1))
    assert list(found["calibration_error"]) == ["fused", *names]
    assert "reliability" not in found
    assert found["gain_correlation"] is None
    assert found["taught_share"] == {**dict.fromkeys(names, 0), "none": 1, "both": 0}


def test_a_single_query_is_enough():
    posterior = binary([[0.75]])
    branches = {"a": posterior, "b": binary([[0.25]])}
    found = diagnose(posterior, branches, np.array([[0]]), teacher=np.array([[0]]))
    assert found["calibration_error"] == {"fused": 0.25, "a": 0.25, "b": 0.75}
    assert (found["reliability"]["by_trust_percent"], found["reliability"]["teacher_percent"]) == (50, 100)


def test_inputs_are_left_as_they_are():
    posteriors = {branch: one.copy() for branch, one in BRANCHES.items()}
    diagnose(posteriors["local"], posteriors, LABELS, fusion_weight=None, teacher=TEACHER)
    for branch, one in posteriors.items():
        np.testing.assert_array_equal(one, BRANCHES[branch])


# Bad input


@pytest.mark.parametrize(
    ("posterior", "labels", "message"),
    [
        (np.full((2, 3, 2), 0.5), np.zeros((2, 3)), "labels .* of integers"),
        (np.full((2, 3, 2), 0.5), np.zeros(6, int), r"labels \(n, Q\)"),
        (np.full((0, 3, 2), 0.5), np.zeros((0, 3), int), "at least one"),
        (np.full((2, 0, 2), 0.5), np.zeros((2, 0), int), "at least one"),
        (np.full((2, 3), 0.5), np.zeros((2, 3), int), r"posterior \(n, Q, N\)"),
        (np.full((2, 4, 2), 0.5), np.zeros((2, 3), int), r"got \(2, 4, 2\)"),
        (np.full((2, 3, 0), 0.5), np.zeros((2, 3), int), r"got \(2, 3, 0\)"),
        (np.full((2, 3, 2), 0.5), np.full((2, 3), 2), "labels in 0 … 1, got 2 … 2"),
        (np.full((2, 3, 2), 0.5), np.full((2, 3), -1), "labels in 0 … 1, got -1 … -1"),
        (np.full((2, 3, 2), 0.7), np.zeros((2, 3), int), "were these logits"),
        (np.full((2, 3, 2), [1.5, -0.5]), np.zeros((2, 3), int), "non-negative"),
        (np.full((2, 3, 2), np.nan), np.zeros((2, 3), int), "sum to 1"),
    ],
)
def test_refuses_what_is_no_posterior_or_label(posterior, labels, message):
    for function in (expected_calibration_error, calibration_curve):
        with pytest.raises(ValueError, match=message):
            function(posterior, labels)
    with pytest.raises(ValueError, match=message.replace("posterior", "posterior of fused")):
        diagnose(posterior, {}, labels)
    with pytest.raises(ValueError, match=message.replace("posterior", "posterior of a")):
        reliability({"a": posterior, "b": posterior}, labels)
    with pytest.raises(ValueError, match=message.replace("posterior", "posterior of a")):
        gain_correlation(np.zeros((2, 3)), {"a": posterior, "b": posterior}, labels)


def test_refuses_no_bins():
    with pytest.raises(ValueError, match="at least 1 bin, got n_bins = 0"):
        expected_calibration_error(BRANCHES["local"], LABELS, n_bins=0)


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c"]])
def test_reliability_is_of_two_branches(names):
    branches = dict.fromkeys(names, BRANCHES["local"])
    with pytest.raises(ValueError, match="exactly two branches"):
        reliability(branches, LABELS)
    with pytest.raises(ValueError, match="exactly two branches"):
        gain_correlation(np.zeros((2, 3)), branches, LABELS)


def test_refuses_branches_over_other_classes():
    branches = {"a": BRANCHES["local"], "b": np.full((2, 3, 4), 0.25)}
    for call in (lambda: reliability(branches, LABELS), lambda: diagnose(BRANCHES["local"], branches, LABELS)):
        with pytest.raises(ValueError, match="posterior of b over N = 2 classes as the others, got 4"):
            call()


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        ({"local": np.zeros((2, 3))}, r"of the branches \['local', 'global'\], got \['local'\]"),
        ({"local": np.zeros((2, 3)), "rgb": np.zeros((2, 3))}, r"got \['local', 'rgb'\]"),
        ({"local": np.zeros((2, 3)), "global": np.zeros((3, 2))}, r"of global of shape \(2, 3\).* got \(3, 2\)"),
        ({"local": np.full((2, 3), np.nan), "global": np.zeros((2, 3))}, "of local to be finite"),
    ],
)
def test_refuses_trust_that_does_not_fit(trust, message):
    with pytest.raises(ValueError, match=message):
        reliability(BRANCHES, LABELS, trust=trust)
    with pytest.raises(ValueError, match=message):
        diagnose(BRANCHES["local"], BRANCHES, LABELS, fusion_weight=trust)


def test_refuses_a_weight_that_does_not_fit():
    with pytest.raises(ValueError, match=r"weight_first of shape \(2, 3\)"):
        gain_correlation(np.zeros(6), BRANCHES, LABELS)
    with pytest.raises(ValueError, match="weight_first to be finite"):
        gain_correlation(np.full((2, 3), np.inf), BRANCHES, LABELS)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (np.zeros((2, 3)), "teacher .* of integers"),
        (np.zeros(6, int), r"teacher \(n, Q\)"),
        (np.zeros((0, 3), int), "at least one"),
        (np.full((2, 3), 2), r"teacher in 0 … 1, -1 \(none\) or -2 \(both\), got 2 … 2"),
        (np.full((2, 3), -3), r"got -3 … -3"),
    ],
)
def test_refuses_what_is_no_teacher(teacher, message):
    with pytest.raises(ValueError, match=message):
        taught_shares(teacher, ["local", "global"])
    with pytest.raises(ValueError, match=message):
        reliability(BRANCHES, LABELS, teacher=teacher)
    with pytest.raises(ValueError, match=message):
        diagnose(BRANCHES["local"], BRANCHES, LABELS, teacher=teacher)


def test_refuses_teachers_of_other_queries():
    with pytest.raises(ValueError, match=r"teacher of shape \(2, 3\)"):
        reliability(BRANCHES, LABELS, teacher=np.zeros((3, 2), int))


def test_refuses_names_that_have_another_meaning():
    for name in ("none", "both"):
        with pytest.raises(ValueError, match="no branch may be called"):
            taught_shares(TEACHER, ["a", name])
    with pytest.raises(ValueError, match="no branch may be called 'fused'"):
        diagnose(BRANCHES["local"], {"fused": BRANCHES["local"]}, LABELS)
