"""The motions of the embedded world."""

import numpy as np
import pytest

from mdmf.shapes.actions import ACTIONS, Motion

TIMES = np.linspace(0.0, 1.0, 33)
SEEDS = range(40)


def motion(name: str, seed: int, u: np.ndarray = TIMES) -> Motion:
    return ACTIONS[name].motion(u, np.random.default_rng(seed))


def test_there_are_at_least_forty_actions() -> None:
    assert len(ACTIONS) >= 40


@pytest.mark.parametrize("name", ACTIONS)
def test_motion_has_the_stated_shapes_and_stays_in_the_frame(name: str) -> None:
    for seed in SEEDS:
        got = motion(name, seed)
        n_objects = got.radius.shape[1]
        assert got.centre.shape == (len(TIMES), n_objects, 2)
        assert got.radius.shape == got.angle.shape == got.visible.shape == (len(TIMES), n_objects)
        assert np.all((got.centre > -0.05) & (got.centre < 1.05))
        assert np.all((got.radius > 0.03) & (got.radius < 0.35))
        assert set(np.unique(got.visible)) <= {0.0, 1.0}


@pytest.mark.parametrize("name", ACTIONS)
def test_motion_does_not_depend_on_which_times_are_asked_for(name: str) -> None:
    whole, part = motion(name, 3), motion(name, 3, TIMES[5:9])
    for field in ("centre", "radius", "angle", "visible"):
        np.testing.assert_allclose(getattr(part, field), getattr(whole, field)[5:9], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [("move_left", 0, -1), ("move_right", 0, 1), ("move_up", 1, -1), ("move_down", 1, 1), ("rise_together", 1, -1)],
)
def test_direction_is_what_the_name_says(name: str, axis: int, sign: int) -> None:
    for seed in SEEDS:
        x = motion(name, seed).centre[..., axis]
        assert np.all(sign * (x[-1] - x[0]) > 0.15)


@pytest.mark.parametrize(
    ("name", "mirror"),
    [
        ("move_left", "move_right"),
        ("move_up", "move_down"),
        ("move_up_left", "move_down_right"),
        ("left_then_up", "right_then_down"),
        ("left_and_back", "right_and_back"),
        ("gather", "scatter"),
        ("approach", "separate"),
        ("orbit_clockwise", "orbit_counterclockwise"),
        ("rise_together", "sink_together"),
    ],
)
def test_mean_position_does_not_tell_a_class_from_its_mirror(name: str, mirror: str) -> None:
    means = [
        np.mean([motion(each, seed).centre.mean(axis=(0, 1)) for seed in range(300)], axis=0) for each in (name, mirror)
    ]
    np.testing.assert_allclose(means[0], means[1], atol=0.03)


def test_grow_ends_larger_and_shrink_smaller() -> None:
    for seed in SEEDS:
        grown, shrunk = motion("grow", seed).radius[:, 0], motion("shrink", seed).radius[:, 0]
        assert grown[-1] > 3 * grown[0]
        assert shrunk[-1] < shrunk[0] / 3


def test_spin_turns_the_way_it_says() -> None:
    for seed in SEEDS:
        assert np.all(np.diff(motion("spin_clockwise", seed).angle[:, 0]) >= 0)
        assert np.all(np.diff(motion("spin_counterclockwise", seed).angle[:, 0]) <= 0)


def test_orbit_turns_the_way_it_says() -> None:
    for seed in SEEDS:
        for name, sign in (("orbit_clockwise", 1), ("orbit_counterclockwise", -1)):
            path = motion(name, seed).centre[:, 0]
            x, y = (path - (path.min(axis=0) + path.max(axis=0)) / 2).T
            area = np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])  # positive: clockwise, since y points down
            assert np.sign(area) == sign


def test_appear_starts_empty_and_vanish_ends_empty() -> None:
    for seed in SEEDS:
        assert motion("appear", seed).visible[[0, -1], 0].tolist() == [0.0, 1.0]
        assert motion("vanish", seed).visible[[0, -1], 0].tolist() == [1.0, 0.0]


def test_swap_exchanges_places_and_pass_does_not_touch_twice() -> None:
    for seed in SEEDS:
        swapped = motion("swap", seed).centre
        np.testing.assert_allclose(swapped[0, 0], swapped[-1, 1], atol=1e-9)
        distance = np.linalg.norm(np.diff(motion("collide", seed).centre, axis=1)[:, 0], axis=-1)
        assert distance.argmin() in range(10, 23)
        assert min(distance[0], distance[-1]) > 1.5 * distance.min()


def test_three_objects_gather_and_scatter() -> None:
    for seed in SEEDS:
        for name, order in (("gather", slice(None)), ("scatter", slice(None, None, -1))):
            centre = motion(name, seed).centre
            spread = np.linalg.norm(centre - centre.mean(axis=1, keepdims=True), axis=-1).mean(axis=1)[order]
            assert centre.shape[1] == 3
            assert spread[0] > 2 * spread[-1]
