"""What the two branches of a model say about each other: is the one that is trusted the one that is right?

All arrays hold n episodes of Q queries. A prediction is the class of the largest posterior, the first of equal ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdmf.results import Reliability
from mdmf.statistics import wilson_half_width

# As in mdmf.mutual.condition, which would bring torch here.
TAUGHT_BY_NONE, TAUGHT_BY_BOTH = -1, -2


def expected_calibration_error(posterior: np.ndarray, labels: np.ndarray, *, n_bins: int = 15) -> float:
    """Mean distance of accuracy and confidence over bins of confidence, Σ share_b |accuracy_b - confidence_b|.

    Guo et al., On Calibration of Modern Neural Networks, 2017, Eq. 5.

    Args:
        posterior: (n, Q, N).
        labels: (n, Q).
        n_bins: bins of equal width over (0, 1], right edges inclusive.

    Returns:
        A share, in [0, 1].

    Raises:
        ValueError: as `calibration_curve`.
    """
    bins = calibration_curve(posterior, labels, n_bins=n_bins)
    return sum(one["n"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / labels.size


def calibration_curve(posterior: np.ndarray, labels: np.ndarray, *, n_bins: int = 15) -> list[dict[str, Any]]:
    """Accuracy by confidence, the largest posterior.

    Args:
        posterior: (n, Q, N).
        labels: (n, Q).
        n_bins: bins of equal width over (0, 1], right edges inclusive.

    Returns:
        For each bin with queries, in order: `lower` and `upper` edge, queries `n`, and their `accuracy` and mean
        `confidence` as shares.

    Raises:
        ValueError: for shapes that do not fit, no queries, labels outside 0 … N - 1, or values that are no posterior.
    """
    if n_bins < 1:
        raise ValueError(f"expected at least 1 bin, got n_bins = {n_bins}")
    _check_labels(labels)
    _check_posterior("posterior", posterior, labels)
    confidence = posterior.max(axis=-1).ravel()
    is_right = (posterior.argmax(axis=-1) == labels).ravel()
    edges = np.arange(n_bins + 1) / n_bins
    # Compared in the posterior's own precision: 0.2 in single precision lies above 0.2 in double, 1.0000001 is a 1.
    bins = np.searchsorted(edges.astype(confidence.dtype), confidence, side="left") - 1
    bins = bins.clip(0, n_bins - 1)
    return [
        {
            "lower": float(edges[one]),
            "upper": float(edges[one + 1]),
            "n": int((bins == one).sum()),
            "accuracy": float(is_right[bins == one].mean()),
            "confidence": float(confidence[bins == one].mean(dtype=np.float64)),
        }
        for one in np.unique(bins)
    ]


def reliability(
    posteriors: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    trust: Mapping[str, np.ndarray] | None = None,
    teacher: np.ndarray | None = None,
) -> Reliability:
    """Is the branch that is trusted the right one, where the branches disagree and one is right?

    Args:
        posteriors: both branches -> (n, Q, N).
        labels: (n, Q).
        trust: the same branches -> (n, Q), larger is more trusted; None: the largest posterior of each branch.
        teacher: (n, Q), index of the teaching branch in the order of `posteriors`; -1: none teaches, -2: both do.

    Raises:
        ValueError: for other than two branches, shapes that do not fit, no queries, or values out of range.
    """
    first, second = _check_two_branches(posteriors, labels)
    if trust is None:
        trust = {branch: posterior.max(axis=-1) for branch, posterior in posteriors.items()}
    _check_per_branch("trust", trust, posteriors, labels)
    is_right = _is_right(posteriors, labels)
    decidable = is_right[first] != is_right[second]
    balance = np.sign(np.subtract(trust[first], trust[second], dtype=np.float64))  # 1: the first is more trusted
    favours_right = np.where(is_right[first], balance, -balance)
    by_trust = _percent_and_interval((1 + favours_right[decidable]) / 2)
    taught_by_right = None
    if teacher is not None:
        _check_teacher(teacher, 2, labels)
        taught = decidable & (teacher >= 0)
        taught_by_right = np.where(teacher == 0, is_right[first], is_right[second])[taught]
    by_teacher = (None, None) if taught_by_right is None else _percent_and_interval(taught_by_right)
    return Reliability(
        n_disagree=int((posteriors[first].argmax(axis=-1) != posteriors[second].argmax(axis=-1)).sum()),
        n_decidable=int(decidable.sum()),
        by_trust_percent=by_trust[0],
        by_trust_interval=by_trust[1],
        teacher_percent=by_teacher[0],
        teacher_interval=by_teacher[1],
        n_taught=None if taught_by_right is None else len(taught_by_right),
    )


def gain_correlation(
    weight_first: np.ndarray, posteriors: Mapping[str, np.ndarray], labels: np.ndarray
) -> float | None:
    """Does fusion give the first branch more weight where it gains? Pearson's correlation over queries.

    The gain of a query is 1 where only the first branch is right, -1 where only the second is, else 0.

    Args:
        weight_first: (n, Q), the weight of the first branch in fusion.
        posteriors: both branches -> (n, Q, N).
        labels: (n, Q).

    Returns:
        In [-1, 1]; None where the weight or the gain is the same for all queries.

    Raises:
        ValueError: for other than two branches, shapes that do not fit, no queries, or values out of range.
    """
    first, second = _check_two_branches(posteriors, labels)
    _check_per_query("weight_first", weight_first, labels)
    is_right = _is_right(posteriors, labels)
    gain = _standard(is_right[first].astype(np.float64) - is_right[second])
    weight = _standard(weight_first)
    if gain is None or weight is None:
        return None
    return float(np.clip((gain * weight).mean(), -1, 1))


def taught_shares(teacher: np.ndarray, branches: Sequence[str]) -> dict[str, float]:
    """Share of the queries taught by each branch alone, by `none` and by `both`; they sum to 1.

    Args:
        teacher: (n, Q), index into `branches`; -1: none teaches, -2: both do.

    Raises:
        ValueError: for no queries, another shape, an index that is no branch, or a branch called `none` or `both`.
    """
    if {"none", "both"} & set(branches):
        raise ValueError(f"no branch may be called 'none' or 'both', got {list(branches)}")
    _check_teacher(teacher, len(branches))
    codes = {**{branch: index for index, branch in enumerate(branches)}, "none": TAUGHT_BY_NONE, "both": TAUGHT_BY_BOTH}
    return {name: float((teacher == code).mean()) for name, code in codes.items()}


def diagnose(
    posterior: np.ndarray,
    branch_posteriors: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    fusion_weight: Mapping[str, np.ndarray] | None = None,
    teacher: np.ndarray | None = None,
) -> dict[str, Any]:
    """All of the above for one model, as plain values for a result file.

    Args:
        posterior: (n, Q, N), fused.
        branch_posteriors: branch -> (n, Q, N).
        labels: (n, Q).
        fusion_weight: branch -> (n, Q), which is then its trust; None: trust is the largest posterior.
        teacher: (n, Q), index of the teaching branch; -1: none teaches, -2: both do.

    Returns:
        `calibration_error` {`fused` and each branch: share}; with two branches `reliability`, the values of a
        `Reliability`; `gain_correlation`, None without two branches and their fusion weights; with a teacher
        `taught_share`.

    Raises:
        ValueError: for shapes that do not fit, no queries, values out of range, or a branch called `fused`.
    """
    if "fused" in branch_posteriors:
        raise ValueError(f"no branch may be called 'fused', got {list(branch_posteriors)}")
    _check_labels(labels)
    for name, one in {"fused": posterior, **branch_posteriors}.items():
        _check_posterior(f"posterior of {name}", one, labels, n_classes=posterior.shape[-1])
    if fusion_weight is not None:
        _check_per_branch("fusion_weight", fusion_weight, branch_posteriors, labels)
    if teacher is not None:
        _check_teacher(teacher, len(branch_posteriors), labels)
    found: dict[str, Any] = {
        "calibration_error": {
            name: expected_calibration_error(one, labels)
            for name, one in {"fused": posterior, **branch_posteriors}.items()
        },
        "gain_correlation": None,
    }
    if len(branch_posteriors) == 2:
        report = reliability(branch_posteriors, labels, trust=fusion_weight, teacher=teacher)
        found["reliability"] = report.as_json()
        if fusion_weight is not None:
            weight_first = fusion_weight[next(iter(branch_posteriors))]
            found["gain_correlation"] = gain_correlation(weight_first, branch_posteriors, labels)
    if teacher is not None:
        found["taught_share"] = taught_shares(teacher, list(branch_posteriors))
    return found


def _is_right(posteriors: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    return {branch: posterior.argmax(axis=-1) == labels for branch, posterior in posteriors.items()}


def _percent_and_interval(scores: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Mean of scores in [0, 1] and half its 95 % Wilson interval, both in percent; None without scores."""
    if len(scores) == 0:
        return None, None
    share = float(scores.mean())
    return 100 * share, 100 * wilson_half_width(share, len(scores))


def _standard(values: np.ndarray) -> np.ndarray | None:
    """Values with mean 0 and variance 1; None if they are all the same."""
    values = values.astype(np.float64)
    spread = np.ptp(values)
    if spread == 0:
        return None
    scaled = (values - values.min()) / spread  # so that the square of a tiny spread does not vanish
    return (scaled - scaled.mean()) / scaled.std()


def _check_two_branches(posteriors: Mapping[str, np.ndarray], labels: np.ndarray) -> tuple[str, str]:
    if len(posteriors) != 2:
        raise ValueError(f"expected exactly two branches, got {list(posteriors)}")
    first, second = posteriors
    _check_labels(labels)
    for branch, posterior in posteriors.items():
        _check_posterior(f"posterior of {branch}", posterior, labels, n_classes=posteriors[first].shape[-1])
    return first, second


def _check_labels(labels: np.ndarray) -> None:
    if labels.ndim != 2 or labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected labels (n, Q) of integers, at least one, got {labels.shape} of {labels.dtype}")


def _check_posterior(name: str, posterior: np.ndarray, labels: np.ndarray, *, n_classes: int | None = None) -> None:
    if posterior.ndim != 3 or posterior.shape[:2] != labels.shape or posterior.shape[-1] == 0:
        raise ValueError(f"expected {name} (n, Q, N) with (n, Q) = {labels.shape} as the labels, got {posterior.shape}")
    if n_classes is not None and posterior.shape[-1] != n_classes:
        raise ValueError(f"expected {name} over N = {n_classes} classes as the others, got {posterior.shape[-1]}")
    if labels.min() < 0 or labels.max() >= posterior.shape[-1]:
        raise ValueError(
            f"expected labels in 0 … {posterior.shape[-1] - 1}, got {int(labels.min())} … {int(labels.max())}"
        )
    total = posterior.sum(axis=-1, dtype=np.float64)
    if not (posterior >= 0).all() or not (np.abs(total - 1) < 1e-2).all():  # 1e-2: what half precision may be off
        raise ValueError(f"expected {name} to be non-negative and to sum to 1 over the classes; were these logits?")


def _check_per_branch(
    name: str, values: Mapping[str, np.ndarray], posteriors: Mapping[str, np.ndarray], labels: np.ndarray
) -> None:
    if set(values) != set(posteriors):
        raise ValueError(f"expected {name} of the branches {list(posteriors)}, got {list(values)}")
    for branch, value in values.items():
        _check_per_query(f"{name} of {branch}", value, labels)


def _check_per_query(name: str, values: np.ndarray, labels: np.ndarray) -> None:
    if values.shape != labels.shape:
        raise ValueError(f"expected {name} of shape {labels.shape} as the labels, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"expected {name} to be finite")


def _check_teacher(teacher: np.ndarray, n_branches: int, labels: np.ndarray | None = None) -> None:
    if teacher.ndim != 2 or teacher.size == 0 or not np.issubdtype(teacher.dtype, np.integer):
        raise ValueError(f"expected teacher (n, Q) of integers, at least one, got {teacher.shape} of {teacher.dtype}")
    if labels is not None:
        _check_per_query("teacher", teacher, labels)
    if teacher.min() < TAUGHT_BY_BOTH or teacher.max() >= n_branches:
        raise ValueError(
            f"expected teacher in 0 … {n_branches - 1}, -1 (none) or -2 (both), "
            f"got {int(teacher.min())} … {int(teacher.max())}"
        )
