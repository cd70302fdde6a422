"""Means, shares and their intervals, for results and tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Z = 1.96  # 97.5 % quantile of the normal distribution, as in published intervals


def mean_interval(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean of values (n,), n >= 2: 1.96·std/√n."""
    return float(Z * values.std(ddof=1) / np.sqrt(len(values)))


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation, which is None for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def wilson_half_width(share: float, n: int) -> float:
    """Half the width of the 95 % Wilson interval of a share of n, n >= 1."""
    return float(Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)))


def wilson_interval(n_right: float, n: int) -> tuple[float, float]:
    """Ends of the 95 % Wilson interval of `n_right` of n, both in percent; (0, 100) for n = 0."""
    if n == 0:
        return 0.0, 100.0
    share = n_right / n
    middle, half = (share + Z**2 / (2 * n)) / (1 + Z**2 / n), wilson_half_width(share, n)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)
