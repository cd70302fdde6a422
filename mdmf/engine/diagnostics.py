"""Diagnostics of a method's branches: calibration, and whether the trusted branch is the correct one.

Arrays are of n episodes of Q queries. A prediction is the class of the largest posterior, the first of equal ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdmf.results import Reliability
from mdmf.statistics import wilson_half_width
from mdmf.structures import TAUGHT_BY_NONE, TAUGHT_BY_SEVERAL


def expected_calibration_error(posterior: np.ndarray, labels: np.ndarray, *, n_bins: int = 15) -> float:
    """Mean difference of accuracy and confidence over bins of confidence, Σ share_b |accuracy_b - confidence_b|.

    Guo et al., On Calibration of Modern Neural Networks, 2017, Eq. 5.

    Args:
        posterior: (n, Q, N).
        labels: (n, Q).
        n_bins: bins of equal width over (0, 1], right edges inclusive.

    Returns:
        A share, in [0, 1].
    """
    bins = calibration_curve(posterior, labels, n_bins=n_bins)
    return sum(b["n"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / labels.size


def calibration_curve(posterior: np.ndarray, labels: np.ndarray, *, n_bins: int = 15) -> list[dict[str, Any]]:
    """Accuracy by confidence, the largest posterior.

    Args:
        posterior: (n, Q, N).
        labels: (n, Q).
        n_bins: bins of equal width over (0, 1], right edges inclusive.

    Returns:
        For each bin with queries, in order: edges `lower` and `upper`, number of queries `n`, and their `accuracy` and
        mean `confidence` as shares.
    """
    confidence = posterior.max(axis=-1).ravel()
    is_correct = (posterior.argmax(axis=-1) == labels).ravel()
    edges = np.arange(n_bins + 1) / n_bins
    # In the precision of the posterior: 0.2 in single precision is larger than 0.2 in double, and 1.0000001 is 1.
    bins = np.searchsorted(edges.astype(confidence.dtype), confidence, side="left") - 1
    bins = bins.clip(0, n_bins - 1)
    return [
        {
            "lower": float(edges[b]),
            "upper": float(edges[b + 1]),
            "n": int((bins == b).sum()),
            "accuracy": float(is_correct[bins == b].mean()),
            "confidence": float(confidence[bins == b].mean(dtype=np.float64)),
        }
        for b in np.unique(bins)
    ]


def reliability(
    posteriors: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    trust: Mapping[str, np.ndarray] | None = None,
    teacher: np.ndarray | None = None,
) -> Reliability:
    """How often the trusted branch, or the teacher, is correct where one branch is correct and another is wrong.

    Args:
        posteriors: branch -> (n, Q, N), two branches or more.
        labels: (n, Q).
        trust: branch -> (n, Q), larger is more trusted; default: the largest posterior of each branch.
        teacher: (n, Q), index of the teaching branch in the order of `posteriors`; -1: none teaches, -2: several do.
    """
    if trust is None:
        trust = {branch: posterior.max(axis=-1) for branch, posterior in posteriors.items()}
    predictions = np.stack([posterior.argmax(axis=-1) for posterior in posteriors.values()])  # (M, n, Q)
    is_correct = predictions == labels
    decidable = is_correct.any(axis=0) & ~is_correct.all(axis=0)
    trusts = np.stack([trust[branch] for branch in posteriors])
    is_trusted = trusts == trusts.max(axis=0)  # several branches where trust is equal
    by_trust = (is_trusted & is_correct).sum(axis=0) / is_trusted.sum(axis=0)
    trust_percent, trust_interval = _percent_and_interval(by_trust[decidable])
    teacher_percent, teacher_interval, n_taught = None, None, None
    if teacher is not None:
        taught = decidable & (teacher >= 0)
        by_teacher = np.take_along_axis(is_correct, np.maximum(teacher, 0)[None], axis=0)[0][taught]
        teacher_percent, teacher_interval = _percent_and_interval(by_teacher)
        n_taught = len(by_teacher)
    return Reliability(
        n_disagree=int((predictions != predictions[0]).any(axis=0).sum()),
        n_decidable=int(decidable.sum()),
        by_trust_percent=trust_percent,
        by_trust_interval=trust_interval,
        teacher_percent=teacher_percent,
        teacher_interval=teacher_interval,
        n_taught=n_taught,
    )


def gain_correlation(
    weights: Mapping[str, np.ndarray], posteriors: Mapping[str, np.ndarray], labels: np.ndarray
) -> float | None:
    """Pearson's correlation of a branch's fusion weight and its gain over queries, mean over branches.

    The gain of a branch on a query is 1 or 0, whether it is correct, minus the share of the other branches that are
    correct: 1 where it alone is correct, -1 where it alone is wrong. Both of two branches have the same correlation.

    Args:
        weights: branch -> (n, Q), fusion weight.
        posteriors: branch -> (n, Q, N), two branches or more.
        labels: (n, Q).

    Returns:
        In [-1, 1]; None if the weight or the gain of a branch is the same for all queries.
    """
    is_correct = {name: (posterior.argmax(axis=-1) == labels).astype(float) for name, posterior in posteriors.items()}
    n_correct, n_others = sum(is_correct.values()), len(is_correct) - 1
    correlations = []
    for branch in list(is_correct)[: 1 if n_others == 1 else None]:
        gain = _standardized(is_correct[branch] - (n_correct - is_correct[branch]) / n_others)
        weight = _standardized(weights[branch])
        if gain is None or weight is None:
            return None
        correlations.append(np.clip((gain * weight).mean(), -1, 1))
    return float(np.mean(correlations))


def taught_shares(teacher: np.ndarray, branches: Sequence[str]) -> dict[str, float]:
    """Share of the queries taught by each branch alone, by `none`, and by `both` (of more than two: `several`).

    Args:
        teacher: (n, Q), index into `branches`; -1: none teaches, -2: several do.
    """
    codes = {branch: index for index, branch in enumerate(branches)}
    codes |= {"none": TAUGHT_BY_NONE, "both" if len(branches) <= 2 else "several": TAUGHT_BY_SEVERAL}
    return {name: float((teacher == code).mean()) for name, code in codes.items()}


def diagnose(
    posterior: np.ndarray,
    branch_posteriors: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    fusion_weight: Mapping[str, np.ndarray] | None = None,
    teacher: np.ndarray | None = None,
) -> dict[str, Any]:
    """All diagnostics of one method, as plain values for a result file.

    Args:
        posterior: (n, Q, N), fused posterior.
        branch_posteriors: branch -> (n, Q, N).
        labels: (n, Q).
        fusion_weight: branch -> (n, Q), the trust in it; default: the largest posterior of each branch.
        teacher: (n, Q), index of the teaching branch; -1: none teaches, -2: several do.

    Returns:
        `calibration_error` {`fused` and each branch: share}; `gain_correlation`, None without fusion weights; with two
        branches or more, `reliability` (the values of a `Reliability`); with a teacher, `taught_share`.
    """
    diagnosis: dict[str, Any] = {
        "calibration_error": {
            name: expected_calibration_error(values, labels)
            for name, values in {"fused": posterior, **branch_posteriors}.items()
        },
        "gain_correlation": None,
    }
    if len(branch_posteriors) > 1:
        record = reliability(branch_posteriors, labels, trust=fusion_weight, teacher=teacher)
        diagnosis["reliability"] = record.as_json()
        if fusion_weight is not None:
            diagnosis["gain_correlation"] = gain_correlation(fusion_weight, branch_posteriors, labels)
    if teacher is not None:
        diagnosis["taught_share"] = taught_shares(teacher, list(branch_posteriors))
    return diagnosis


def _percent_and_interval(scores: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Mean of scores in [0, 1] and half its 95 % Wilson interval, both in percent; None without scores."""
    if len(scores) == 0:
        return None, None
    share = float(scores.mean())
    return 100 * share, 100 * wilson_half_width(share, len(scores))


def _standardized(values: np.ndarray) -> np.ndarray | None:
    """Values scaled to mean 0 and variance 1; None if all are equal."""
    values = values.astype(np.float64)
    spread = np.ptp(values)
    if spread == 0:
        return None
    scaled = (values - values.min()) / spread  # first to [0, 1]: the square of a tiny spread would be 0
    return (scaled - scaled.mean()) / scaled.std()
