"""Actions of the moving-shapes world: the motion of the objects of each class as a function of time.

Lengths are in frame sides, x points right, y down; angles are in radians clockwise. `u` is the time of frames, 0..1.
Random values are drawn before `u` is used, so the same generator gives the same motion for any choice of frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

Path = Callable[[np.ndarray], np.ndarray]  # progress (T,) in 0..1 -> offsets (T, 2)
Course = Callable[[np.ndarray], np.ndarray]  # progress (T,) -> values (T,)
Offsets = Callable[[np.ndarray], np.ndarray]  # progress (T,) -> offsets of every object (T, M, 2)
Formation = Callable[[np.random.Generator, float], Offsets]  # generator and reach -> a random formation

RADIUS = (0.07, 0.13)
REACH = (0.22, 0.42)
_FINE = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True)
class Motion:
    """Place, size and angle of M objects at T times.

    Attributes:
        centre: (T, M, 2), x and y.
        radius: (T, M).
        angle: (T, M).
        visible: (T, M), 0 or 1.
    """

    centre: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    visible: np.ndarray


@dataclass(frozen=True)
class Action:
    """Motion of one action class; with `needs_angle`, its objects are shapes whose angle is visible."""

    motion: Callable[[np.ndarray, np.random.Generator], Motion]
    needs_angle: bool = False


def _draw_pace(rng: np.random.Generator) -> Course:
    """Random progress of an action over time: 0 during a rest before it, 1 during a rest after it."""
    start, end = rng.uniform(0.0, 0.3), rng.uniform(0.7, 1.0)
    return lambda u: np.clip((u - start) / (end - start), 0.0, 1.0)


def _still(centre: np.ndarray, rng: np.random.Generator) -> Motion:
    """Objects on the given centres (T, M, 2) with a random size and angle that do not change."""
    n_times, n_objects = centre.shape[:2]
    ones = np.ones((n_times, n_objects))
    return Motion(centre, ones * rng.uniform(*RADIUS, n_objects), ones * rng.uniform(0, 2 * np.pi, n_objects), ones)


def _middle(rng: np.random.Generator, extent: np.ndarray) -> np.ndarray:
    """A random point (2,) from which a path of half-width `extent` (2,) stays in the frame."""
    margin = np.minimum(extent + RADIUS[1], 0.5)
    return rng.uniform(margin, 1.0 - margin)


def _rotate(offsets: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return offsets @ np.array([[cos, sin], [-sin, cos]])


def _along(path: Path, *, reach: tuple[float, float] = REACH, turn: float = 0.12) -> Action:
    """Action of one object on a path; the distribution of its mean position is the same for every path."""

    def motion(u: np.ndarray, rng: np.random.Generator) -> Motion:
        length, angle, pace = rng.uniform(*reach), rng.uniform(-turn, turn), _draw_pace(rng)
        whole = path(pace(_FINE))
        mean = whole.mean(axis=0)
        middle = _middle(rng, length * np.abs(whole - mean).max(axis=0))
        offsets = _rotate(length * (path(pace(u)) - mean), angle)
        return _still((middle + offsets)[:, None], rng)

    return Action(motion)


def _together(formation: Formation, *, reach: tuple[float, float] = REACH) -> Action:
    """Action of several objects around a random middle."""

    def motion(u: np.ndarray, rng: np.random.Generator) -> Motion:
        pace, offsets = _draw_pace(rng), formation(rng, rng.uniform(*reach))
        middle = _middle(rng, np.abs(offsets(_FINE)).max(axis=(0, 1)))
        return _still(middle + offsets(pace(u)), rng)

    return Action(motion)


def _in_place(*, radius: Course | None = None, angle: Course | None = None, visible: Course | None = None) -> Action:
    """Action of one object at a fixed place, with changing radius (a factor), angle or visibility."""

    def motion(u: np.ndarray, rng: np.random.Generator) -> Motion:
        progress, vigour = _draw_pace(rng)(u), rng.uniform(0.8, 1.2)
        middle = _middle(rng, np.full(2, 0.1))
        still = _still(np.broadcast_to(middle, (len(u), 1, 2)), rng)
        return Motion(
            still.centre,
            still.radius if radius is None else still.radius * radius(progress)[:, None],
            still.angle if angle is None else still.angle + vigour * angle(progress)[:, None],
            still.visible if visible is None else visible(progress)[:, None].astype(float),
        )

    return Action(motion, needs_angle=angle is not None)


# Paths of one object -------------------------------------------------------------------------------------------------


def _line(progress: np.ndarray, *, direction: tuple[float, float], course: Course) -> np.ndarray:
    return course(progress)[:, None] * np.asarray(direction)


def _corner(progress: np.ndarray, *, first: tuple[float, float], then: tuple[float, float]) -> np.ndarray:
    covered_first, covered_then = np.clip(2 * progress, 0, 1), np.clip(2 * progress - 1, 0, 1)
    return covered_first[:, None] * np.asarray(first) + covered_then[:, None] * np.asarray(then)


def _circle(progress: np.ndarray, *, turns: float) -> np.ndarray:
    angle = 2 * np.pi * turns * progress
    return 0.5 * np.stack([np.sin(angle), -np.cos(angle)], axis=-1)


def _zigzag(progress: np.ndarray, *, axis: int) -> np.ndarray:
    offsets = np.zeros((len(progress), 2))
    offsets[:, axis] = 0.5 * np.sin(2 * np.pi * 2 * progress)
    return offsets


def _steadily(progress: np.ndarray) -> np.ndarray:
    return progress


def _out_and_back(progress: np.ndarray) -> np.ndarray:
    return 1.0 - np.abs(2 * progress - 1)


def _stop_in_between(progress: np.ndarray) -> np.ndarray:
    return 0.5 * np.clip(progress / 0.35, 0, 1) + 0.5 * np.clip((progress - 0.65) / 0.35, 0, 1)


LEFT, RIGHT, UP, DOWN = (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)


def _move(direction: tuple[float, float], course: Course = _steadily) -> Action:
    return _along(partial(_line, direction=direction, course=course))


def _turn_corner(first: tuple[float, float], then: tuple[float, float]) -> Action:
    return _along(partial(_corner, first=first, then=then), reach=(0.2, 0.34))


# Formations of several objects ---------------------------------------------------------------------------------------


def _star(rng: np.random.Generator, reach: float, *, n_objects: int, spread: Course) -> Offsets:
    """Objects at equal angles around the middle, at a distance that follows `spread` (0: touching, 1: far)."""
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(n_objects) / n_objects
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=-1)  # (M, 2)
    return lambda progress: (0.11 + 0.5 * reach * spread(progress))[:, None, None] * rays


def _meeting(rng: np.random.Generator, reach: float, *, collide: bool) -> Offsets:
    """Two objects that move towards each other and bounce back, or pass each other."""
    side, turn = rng.choice([-1.0, 1.0]), rng.uniform(-0.5, 0.5)

    def offsets(progress: np.ndarray) -> np.ndarray:
        course = 1 - 2 * progress  # 1 and -1: far apart, 0: together
        along = 0.5 * reach * np.abs(course) + 0.1 if collide else 0.5 * reach * course
        first = side * np.stack([along, np.full_like(along, 0.0 if collide else 0.09)], axis=-1)
        return _rotate(np.stack([first, -first], axis=1), turn)

    return offsets


def _exchange(rng: np.random.Generator, reach: float) -> Offsets:
    """Two objects that exchange places by half a turn around their middle."""
    start, sense = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])

    def offsets(progress: np.ndarray) -> np.ndarray:
        angle = start + sense * np.pi * progress
        first = 0.45 * reach * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return np.stack([first, -first], axis=1)

    return offsets


def _pursuit(rng: np.random.Generator, reach: float) -> Offsets:
    """Two objects that move along one line, to the left or to the right; the second approaches the first."""
    side = rng.choice([-1.0, 1.0])

    def offsets(progress: np.ndarray) -> np.ndarray:
        leader = 0.8 * reach * (progress - 0.5) + 0.17
        follower = 0.8 * reach * (progress - 0.5) - 0.27 + 0.2 * progress
        x = side * np.stack([leader, follower], axis=-1)  # (T, 2)
        return np.stack([x, np.zeros_like(x)], axis=-1)

    return offsets


def _side_by_side(rng: np.random.Generator, reach: float, *, direction: float) -> Offsets:
    """Two objects side by side that rise (`direction` -1) or sink (1) together."""
    x = rng.choice([-1.0, 1.0]) * rng.uniform(0.14, 0.22) * np.array([1.0, -1.0])

    def offsets(progress: np.ndarray) -> np.ndarray:
        y = direction * reach * (progress - 0.5)
        return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)

    return offsets


def _closer(progress: np.ndarray) -> np.ndarray:
    return 1.0 - progress


# The classes ---------------------------------------------------------------------------------------------------------

ACTIONS: dict[str, Action] = {
    "move_left": _move(LEFT),
    "move_right": _move(RIGHT),
    "move_up": _move(UP),
    "move_down": _move(DOWN),
    "move_up_left": _move((-0.8, -0.8)),
    "move_up_right": _move((0.8, -0.8)),
    "move_down_left": _move((-0.8, 0.8)),
    "move_down_right": _move((0.8, 0.8)),
    "grow": _in_place(radius=lambda progress: 0.6 * 3.5**progress),
    "shrink": _in_place(radius=lambda progress: 0.6 * 3.5 ** (1 - progress)),
    "spin_clockwise": _in_place(angle=lambda progress: 1.4 * np.pi * progress),
    "spin_counterclockwise": _in_place(angle=lambda progress: -1.4 * np.pi * progress),
    "orbit_clockwise": _along(partial(_circle, turns=1.0), turn=0.6),
    "orbit_counterclockwise": _along(partial(_circle, turns=-1.0), turn=0.6),
    "zigzag_sideways": _along(partial(_zigzag, axis=0)),
    "zigzag_upright": _along(partial(_zigzag, axis=1)),
    "appear": _in_place(visible=lambda progress: progress > 0.45),
    "vanish": _in_place(visible=lambda progress: progress < 0.55),
    "blink": _in_place(visible=lambda progress: np.sin(2 * np.pi * 2 * progress + 1e-6) >= 0),
    "left_and_back": _move(LEFT, _out_and_back),
    "right_and_back": _move(RIGHT, _out_and_back),
    "speed_up": _move(RIGHT, lambda progress: progress**2.5),
    "slow_down": _move(RIGHT, lambda progress: 1 - (1 - progress) ** 2.5),
    "stop_and_go": _move(RIGHT, _stop_in_between),
    "left_then_up": _turn_corner(LEFT, UP),
    "left_then_down": _turn_corner(LEFT, DOWN),
    "right_then_up": _turn_corner(RIGHT, UP),
    "right_then_down": _turn_corner(RIGHT, DOWN),
    "up_and_back": _move(UP, _out_and_back),
    "down_and_back": _move(DOWN, _out_and_back),
    "approach": _together(partial(_star, n_objects=2, spread=_closer)),
    "separate": _together(partial(_star, n_objects=2, spread=_steadily)),
    "gather": _together(partial(_star, n_objects=3, spread=_closer)),
    "scatter": _together(partial(_star, n_objects=3, spread=_steadily)),
    "collide": _together(partial(_meeting, collide=True)),
    "pass": _together(partial(_meeting, collide=False)),
    "swap": _together(_exchange),
    "chase": _together(_pursuit),
    "rise_together": _together(partial(_side_by_side, direction=-1.0)),
    "sink_together": _together(partial(_side_by_side, direction=1.0)),
}
