import json
import math
from itertools import pairwise

import numpy as np
import pytest

from mdmf.engine.diagnostics import (
    calibration_curve,
    diagnose,
    expected_calibration_error,
    gain_correlation,
    reliability,
    taught_shares,
)
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
    weight = of_both(rng.random(labels.shape), ("a", "b"))
    correlation = gain_correlation(weight, posteriors, labels)
    assert gain_correlation(weight, swapped, labels) == pytest.approx(correlation, abs=1e-12)
    turned = of_both(weight["b"], ("a", "b"))
    assert gain_correlation(turned, posteriors, labels) == pytest.approx(-correlation, abs=1e-12)


def test_swapping_classes_changes_nothing():
    posteriors = {"a": random_posteriors(0), "b": random_posteriors(1)}
    unique = {branch: (one + np.array([0, 1e-4, 2e-4])) / (1 + 3e-4) for branch, one in posteriors.items()}  # no ties
    labels = random_labels(2)
    mirrored = {branch: one[..., ::-1] for branch, one in unique.items()}
    assert reliability(mirrored, 2 - labels) == reliability(unique, labels)


# Correlation with the gain


def of_both(weight: np.ndarray, names: tuple[str, str] = ("local", "global")) -> dict[str, np.ndarray]:
    """The weights of two branches that sum to 1."""
    return {names[0]: weight, names[1]: 1 - weight}


def test_gain_correlation_by_hand():
    """Gains 1, 1, -1, 0, 0, -1 with mean 0; weights .5 + .1 * (1, 0, -1, 2, -2, 0)."""
    weight = 0.5 + 0.1 * np.array([[1, 0, -1], [2, -2, 0]])
    expected = (1 + 1) / math.sqrt(4 * 10)
    assert gain_correlation(of_both(weight), BRANCHES, LABELS) == pytest.approx(expected, abs=1e-12)


def test_weight_that_follows_the_gain_has_correlation_1():
    gain = np.array([[1, 1, -1], [0, 0, -1]])
    assert gain_correlation(of_both(0.5 + 0.2 * gain), BRANCHES, LABELS) == pytest.approx(1, abs=1e-12)
    assert gain_correlation(of_both(0.5 - 1e-300 * gain), BRANCHES, LABELS) is None  # 0.5 it is, in double precision
    assert gain_correlation(of_both(-1e-300 * gain), BRANCHES, LABELS) == pytest.approx(-1, abs=1e-12)


def test_gain_correlation_agrees_with_numpy():
    posteriors = {"a": random_posteriors(0), "b": random_posteriors(1)}
    labels = random_labels(2)
    weight = np.random.default_rng(3).random(labels.shape).astype(np.float32)
    gain = (posteriors["a"].argmax(-1) == labels).astype(int) - (posteriors["b"].argmax(-1) == labels)
    expected = np.corrcoef(weight.ravel(), gain.ravel())[0, 1]
    assert gain_correlation(of_both(weight, ("a", "b")), posteriors, labels) == pytest.approx(expected, abs=1e-6)


def test_no_correlation_without_spread():
    assert gain_correlation(of_both(np.full((2, 3), 0.1)), BRANCHES, LABELS) is None
    same = {"a": BRANCHES["local"], "b": BRANCHES["local"]}
    assert gain_correlation(of_both(np.arange(6.0).reshape(2, 3), ("a", "b")), same, LABELS) is None


# Teaching


def test_taught_shares_by_hand():
    shares = taught_shares(TEACHER, ["local", "global"])
    assert shares == {"local": 2 / 6, "global": 2 / 6, "none": 1 / 6, "both": 1 / 6}
    assert sum(shares.values()) == pytest.approx(1)
    assert taught_shares(np.array([[1]], np.int8), ["a", "b"]) == {"a": 0, "b": 1, "none": 0, "both": 0}


def test_diagnosis_by_hand():
    fused = (BRANCHES["local"] + BRANCHES["global"]) / 2
    weight_local = 0.5 + 0.1 * np.array([[1, 0, -1], [2, -2, 0]])
    weight = {"local": weight_local, "global": 1 - weight_local}
    diagnosis = diagnose(fused, BRANCHES, LABELS, fusion_weight=weight, teacher=TEACHER)
    assert set(diagnosis) == {"calibration_error", "reliability", "gain_correlation", "taught_share"}
    assert list(diagnosis["calibration_error"]) == ["fused", "local", "global"]
    assert diagnosis["calibration_error"]["local"] == expected_calibration_error(BRANCHES["local"], LABELS)
    assert diagnosis["calibration_error"]["fused"] == expected_calibration_error(fused, LABELS)
    # By weight: local, tie, global, tie on the decidable queries; the first and the third are right.
    assert diagnosis["reliability"]["by_trust_percent"] == 75
    assert diagnosis["reliability"]["n_taught"] == 3
    assert diagnosis["gain_correlation"] == pytest.approx(2 / math.sqrt(40), abs=1e-12)
    assert diagnosis["taught_share"] == taught_shares(TEACHER, list(BRANCHES))


def test_without_weights_trust_is_the_largest_posterior():
    diagnosis = diagnose(BRANCHES["local"], BRANCHES, LABELS)
    assert set(diagnosis) == {"calibration_error", "reliability", "gain_correlation"}
    assert diagnosis["reliability"]["by_trust_percent"] == 37.5
    assert diagnosis["gain_correlation"] is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_diagnosis_is_plain_json(dtype):
    branches = {branch: one.astype(dtype) for branch, one in BRANCHES.items()}
    weight = {branch: one[..., 0] for branch, one in branches.items()}
    for given in ({}, {"fusion_weight": weight}, {"teacher": TEACHER.astype(np.int8)}):
        diagnosis = diagnose(branches["local"], branches, LABELS, **given)
        assert json.loads(json.dumps(diagnosis, allow_nan=False)) == diagnosis


@pytest.mark.parametrize("names", [[], ["a"]])
def test_fewer_than_two_branches_have_calibration_only(names):
    branches = dict.fromkeys(names, BRANCHES["local"])
    diagnosis = diagnose(BRANCHES["global"], branches, LABELS, teacher=np.full((2, 3), -1))
    assert list(diagnosis["calibration_error"]) == ["fused", *names]
    assert "reliability" not in diagnosis
    assert diagnosis["gain_correlation"] is None
    assert diagnosis["taught_share"] == {**dict.fromkeys(names, 0), "none": 1, "both": 0}


def test_three_branches_by_hand():
    """Two queries of one episode; each branch by its posterior of class 0, which is right."""
    labels = np.array([[0, 0]])
    branches = {"a": binary([[0.9, 0.4]]), "b": binary([[0.8, 0.3]]), "c": binary([[0.1, 0.8]])}
    teacher = np.array([[0, -2]])
    weight = {"a": np.array([[0.5, 0.2]]), "b": np.array([[0.3, 0.3]]), "c": np.array([[0.2, 0.5]])}
    report = reliability(branches, labels, teacher=teacher)
    assert (report.n_disagree, report.n_decidable, report.n_taught) == (2, 2, 1)
    assert report.by_trust_percent == 75  # a and c are equally sure of the first query, one is right; c of the second
    assert report.teacher_percent == 100
    assert taught_shares(teacher, list(branches)) == {"a": 0.5, "b": 0, "c": 0, "none": 0, "several": 0.5}
    # Gains: a (0.5, -0.5), b (0.5, -0.5), c (-1, 1); b's weight is the same for both queries.
    assert gain_correlation(weight, branches, labels) is None
    weight["b"] = np.array([[0.2, 0.3]])
    assert gain_correlation(weight, branches, labels) == pytest.approx((1 - 1 + 1) / 3)


def test_a_single_query_is_enough():
    posterior = binary([[0.75]])
    branches = {"a": posterior, "b": binary([[0.25]])}
    diagnosis = diagnose(posterior, branches, np.array([[0]]), teacher=np.array([[0]]))
    assert diagnosis["calibration_error"] == {"fused": 0.25, "a": 0.25, "b": 0.75}
    assert (diagnosis["reliability"]["by_trust_percent"], diagnosis["reliability"]["teacher_percent"]) == (50, 100)


def test_inputs_are_left_as_they_are():
    posteriors = {branch: one.copy() for branch, one in BRANCHES.items()}
    diagnose(posteriors["local"], posteriors, LABELS, fusion_weight=None, teacher=TEACHER)
    for branch, one in posteriors.items():
        np.testing.assert_array_equal(one, BRANCHES[branch])
