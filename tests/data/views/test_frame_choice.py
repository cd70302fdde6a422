"""Frame rules against numbers worked out by hand."""

import numpy as np
import pytest

from mdmf.data.views.frame_choice import choose_frames, jitter_frames


@pytest.mark.parametrize(
    ("n_available", "n_frames", "expected"),
    [
        (16, 8, [1, 3, 5, 7, 9, 11, 13, 15]),
        (10, 4, [1, 3, 6, 8]),  # 1.25, 3.75, 6.25, 8.75
        (8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (3, 8, [0, 0, 0, 1, 1, 2, 2, 2]),
        (7, 1, [3]),
        (1, 3, [0, 0, 0]),
    ],
)
def test_uniform_takes_segment_centres(n_available, n_frames, expected):
    frames = choose_frames(n_available, n_frames)
    assert frames.tolist() == expected
    assert frames.dtype == np.int64


@pytest.mark.parametrize(
    ("n_available", "n_frames", "expected"),
    [
        (10, 4, [1, 3, 5, 8]),  # 1, 3.33, 5.67, 8
        (10, 8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (100, 3, [1, 49, 98]),  # 1, 49.5, 98
        (5, 1, [1]),
        (3, 4, [1, 1, 1, 1]),
        (2, 4, [0, 0, 0, 1]),  # linspace(1, 0, 4) backwards
        (1, 4, [0, 0, 0, 0]),
    ],
)
def test_linspace_inner_leaves_out_first_and_last(n_available, n_frames, expected):
    assert choose_frames(n_available, n_frames, rule="linspace_inner").tolist() == expected


@pytest.mark.parametrize("rule", ["uniform", "linspace_inner"])
def test_every_rule_stays_inside_and_goes_forward(rule):
    for n_available in range(1, 40):
        for n_frames in range(1, 20):
            frames = choose_frames(n_available, n_frames, rule=rule)
            assert len(frames) == n_frames
            assert frames.min() >= 0
            assert frames.max() < n_available
            assert (np.diff(frames) >= 0).all()


def test_uniform_is_exact_where_floats_are_not():
    n_available = 3**33  # above 2**52: (t + 0.5) * n / T in floats is wrong here
    assert choose_frames(n_available, 8)[-1] == 15 * n_available // 16


def test_short_videos_follow_the_named_policy():
    assert choose_frames(3, 3, short="refuse").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"3 frames, fewer than the T = 4"):
        choose_frames(3, 4, short="refuse")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_available": 0, "n_frames": 8}, "at least 1 frame, got n_available = 0"),
        ({"n_available": 8, "n_frames": 0}, "n_frames = 0"),
        ({"n_available": 8, "n_frames": 8, "rule": "random"}, "unknown frame rule 'random'"),
        ({"n_available": 8, "n_frames": 8, "short": "loop"}, "unknown policy for short videos 'loop'"),
    ],
)
def test_impossible_choices_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        choose_frames(**arguments)


class FixedDraws:
    """A generator that always draws the same number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self, size: int) -> np.ndarray:
        return np.full(size, self.value)


def test_jitter_reaches_both_ends_of_each_segment():
    assert jitter_frames(12, 4, rng=FixedDraws(0.0)).tolist() == [0, 3, 6, 9]
    assert jitter_frames(12, 4, rng=FixedDraws(np.nextafter(1, 0))).tolist() == [2, 5, 8, 11]
    assert jitter_frames(10, 4, rng=FixedDraws(0.5)).tolist() == choose_frames(10, 4).tolist()


def test_jitter_never_leaves_its_segments():
    rng = np.random.default_rng(0)
    for n_available in (1, 5, 8, 9, 100, 3001):
        edges = np.arange(9) * n_available / 8
        for _ in range(50):
            frames = jitter_frames(n_available, 8, rng=rng)
            assert (frames >= np.floor(edges[:-1])).all()
            assert (frames < np.ceil(edges[1:])).all()
            assert frames.max() < n_available


def test_jitter_uses_every_frame_of_a_segment():
    rng = np.random.default_rng(1)
    seen = {int(jitter_frames(20, 2, rng=rng)[1]) for _ in range(400)}
    assert seen == set(range(10, 20))


def test_jitter_refuses_an_empty_video():
    with pytest.raises(ValueError, match="n_available = 0"):
        jitter_frames(0, 4, rng=np.random.default_rng(0))
