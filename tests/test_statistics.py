import math

import numpy as np
import pytest

from mdmf.statistics import mean_and_spread, mean_interval, wilson_half_width, wilson_interval


def test_interval_of_a_mean_by_hand():
    """Mean 50, standard deviation √(5000/3) of 4 values."""
    assert mean_interval(np.array([100.0, 50, 50, 0])) == pytest.approx(1.96 * math.sqrt(5000 / 3) / 2)


def test_spread_over_seeds_by_hand():
    assert mean_and_spread([1.0, 3.0]) == (2.0, math.sqrt(2))
    assert mean_and_spread([1.0]) == (1.0, None)


def test_wilson_interval_by_hand():
    """5 of 10: centre 0.5, half (z/(1 + z²/n))·√(p(1-p)/n + z²/4n²) = 0.26341."""
    assert wilson_half_width(0.5, 10) == pytest.approx(0.26341, abs=1e-5)
    assert wilson_interval(5, 10) == pytest.approx((23.66, 76.34), abs=0.01)
    assert wilson_interval(0, 0) == (0, 100)
    assert wilson_interval(0, 10)[0] == pytest.approx(0, abs=1e-9)
    assert wilson_interval(10, 10)[1] == pytest.approx(100)


def test_wilson_interval_of_a_published_example():
    """8 of 10: [0.490, 0.943] (Newcombe 1998, method 3)."""
    assert wilson_interval(8, 10) == pytest.approx((49.02, 94.33), abs=0.01)
