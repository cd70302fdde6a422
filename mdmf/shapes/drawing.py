"""Drawing of coloured shapes on varied backgrounds, many frames at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 40, 40),
    "orange": (240, 135, 25),
    "yellow": (240, 220, 50),
    "green": (45, 165, 65),
    "cyan": (50, 205, 215),
    "blue": (45, 85, 220),
    "purple": (135, 60, 190),
    "pink": (245, 130, 195),
}


@dataclass(frozen=True)
class Sprites:
    """M objects in each of N frames; lengths in frame sides, angles in radians clockwise.

    Attributes:
        shape: (N, M), index into `SHAPE_NAMES`.
        colour: (N, M, 3), 0..1.
        centre: (N, M, 2), x and y.
        radius: (N, M).
        angle: (N, M).
        visible: (N, M), 0 or 1.
    """

    shape: np.ndarray
    colour: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    visible: np.ndarray


# Signed distance (in radii) of points (x, y), each (n, H, W), from the edge of a shape; negative inside. Up is -y.


def _box(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - 0.95


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - 0.75) - 0.27


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _box(x, y, 0.85, 0.85)


def _bar(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _box(x, y, 0.42, 1.25)


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(_box(x, y, 0.36, 1.1), _box(x, y, 1.1, 0.36))


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Narrower than high, so its direction is visible."""
    return np.maximum(y - 0.85, 0.949 * np.abs(x) - 0.316 * y - 0.42)


def _half(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half a disc, its round side up."""
    return np.maximum(np.hypot(x, y - 0.5) - 1.15, y - 0.5)


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle,
    "ring": _ring,
    "square": _square,
    "cross": _cross,
    "bar": _bar,
    "triangle": _triangle,
    "half": _half,
}
SHAPE_NAMES = tuple(SHAPES)
COLOUR_NAMES = tuple(COLOURS)
POINTING_SHAPES = ("triangle", "half")
ANGLED_SHAPES = ("bar", *POINTING_SHAPES)


def draw_sprites(canvas: np.ndarray, sprites: Sprites) -> None:
    """Draw every object on its frame, later ones over earlier ones, with smooth edges.

    Args:
        canvas: (N, S, S, 3) float32, 0..1, changed in place.
    """
    for column in range(sprites.shape.shape[1]):
        for shape in np.unique(sprites.shape[:, column]):
            rows = np.flatnonzero((sprites.shape[:, column] == shape) & (sprites.visible[:, column] > 0))
            if len(rows):
                _draw_one(canvas, sprites, rows, column, SHAPES[SHAPE_NAMES[shape]])


def _draw_one(
    canvas: np.ndarray,
    sprites: Sprites,
    rows: np.ndarray,
    column: int,
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    size = canvas.shape[1]
    pixels = (np.arange(size, dtype=np.float32) + 0.5) / size

    def pick(values: np.ndarray) -> np.ndarray:
        return values[rows, column].astype(np.float32)[:, None, None]  # (n, 1, 1)

    centre = sprites.centre[rows, column].astype(np.float32)
    radius, cos, sin = pick(sprites.radius), np.cos(pick(sprites.angle)), np.sin(pick(sprites.angle))
    right = pixels[None, None, :] - centre[:, 0, None, None]  # (n, 1, S)
    down = pixels[None, :, None] - centre[:, 1, None, None]  # (n, S, 1)
    x = (right * cos + down * sin) / radius
    y = (down * cos - right * sin) / radius
    coverage = np.clip(0.5 - distance(x, y) * radius * size, 0.0, 1.0)[..., None]
    colour = sprites.colour[rows, column].astype(np.float32)[:, None, None, :]
    canvas[rows] += coverage * (colour - canvas[rows])


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A random muted background (size, size, 3) float32 in 0..1: a base colour, soft patches and a finer texture."""
    base = rng.uniform(0.2, 0.75) + rng.uniform(-0.06, 0.06, 3)
    patches = rng.normal(0.0, rng.uniform(0.01, 0.06), (4, 4, 3)) + rng.normal(0.0, rng.uniform(0.0, 0.06), (4, 4, 1))
    texture = rng.normal(0.0, rng.uniform(0.0, 0.05), (16, 16, 1))
    image = base + _upsample(patches, size) + _upsample(texture, size)
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def _upsample(grid: np.ndarray, size: int) -> np.ndarray:
    """Bilinear upsampling, (g, g, c) -> (size, size, c)."""
    n_cells = grid.shape[0]
    place = np.linspace(0.0, n_cells - 1.0, size)
    weight = np.clip(1.0 - np.abs(place[:, None] - np.arange(n_cells)), 0.0, 1.0)  # (size, g)
    return weight @ np.tensordot(weight, grid, axes=1)  # (y, x, c)


def random_colours(rng: np.random.Generator, n_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Different random colours for the objects of one frame: indices into `COLOUR_NAMES` (M,), RGB (M, 3) in 0..1."""
    chosen = rng.choice(len(COLOUR_NAMES), n_objects, replace=False)
    rgb = np.array([COLOURS[COLOUR_NAMES[index]] for index in chosen], dtype=float).reshape(n_objects, 3) / 255
    return chosen, np.clip(rgb + rng.uniform(-0.06, 0.06, (n_objects, 3)), 0.0, 1.0)


def random_distractors(rng: np.random.Generator, *, largest_number: int = 2) -> Sprites:
    """A few small grey shapes in one frame (N = 1), unrelated to the action."""
    n_objects = int(rng.integers(0, largest_number + 1))
    grey = rng.uniform(0.1, 0.9, (1, n_objects, 1))
    return Sprites(
        shape=rng.integers(0, len(SHAPE_NAMES), (1, n_objects)),
        colour=np.repeat(grey, 3, axis=2),
        centre=rng.uniform(0.05, 0.95, (1, n_objects, 2)),
        radius=rng.uniform(0.04, 0.09, (1, n_objects)),
        angle=rng.uniform(0, 2 * np.pi, (1, n_objects)),
        visible=np.ones((1, n_objects)),
    )
