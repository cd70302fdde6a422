"""Single frames with captions, from which the tiny encoder is trained.

The captions of a batch name one kind of attribute (place, number, colour ...). The frames show random scenes, not
videos of the world; only the kind `action` uses motions, those of the training classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mdmf.shapes.drawing import (
    ANGLED_SHAPES,
    COLOUR_NAMES,
    POINTING_SHAPES,
    SHAPE_NAMES,
    Sprites,
    draw_background,
    draw_sprites,
    random_colours,
    random_distractors,
)
from mdmf.shapes.world import SHAPES_SPLIT, action_sprites

ROWS = ("top", "upper", "middle", "lower", "bottom")
COLUMNS = ("far left", "left", "centre", "right", "far right")
SIZES = ("tiny", "small", "medium", "large", "huge")
NUMBERS = ("no shape", "one shape", "two shapes", "three shapes", "four shapes")
DIRECTIONS = ("up", "up right", "right", "down right", "down", "down left", "left", "up left")
BAR_DIRECTIONS = ("upright", "leaning right", "lying flat", "leaning left")
ARRANGEMENTS = ("side by side", "leaning left", "one above the other", "leaning right")
_LARGEST_NUMBER = 4


@dataclass(frozen=True)
class CaptionedFrames:
    """Frames (N, S, S, 3) uint8 RGB, their N captions, and the objects that they show."""

    frames: np.ndarray
    captions: list[str]
    sprites: Sprites


def _objects(rng: np.random.Generator, n_objects: int, *, shapes: tuple[str, ...] = SHAPE_NAMES) -> Sprites:
    """Random objects at random places in one frame (N = 1)."""
    names = rng.choice(shapes, n_objects)
    return Sprites(
        shape=np.array([[SHAPE_NAMES.index(name) for name in names]], dtype=int).reshape(1, n_objects),
        colour=random_colours(rng, n_objects)[1][None],
        centre=rng.uniform(0.08, 0.92, (1, n_objects, 2)),
        radius=np.exp(rng.uniform(np.log(0.05), np.log(0.28), (1, n_objects))),
        angle=rng.uniform(0, 2 * np.pi, (1, n_objects)),
        visible=np.ones((1, n_objects)),
    )


def _with(sprites: Sprites, **values: np.ndarray) -> Sprites:
    return Sprites(**{**vars(sprites), **values})


def _bin(value: float, low: float, high: float, names: tuple[str, ...]) -> str:
    return names[int(np.clip((value - low) / (high - low) * len(names), 0, len(names) - 1))]


def _place_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    scene = _objects(rng, 1)
    x, y = scene.centre[0, 0]
    return scene, f"a shape at the {_bin(y, 0.08, 0.92, ROWS)} {_bin(x, 0.08, 0.92, COLUMNS)}"


def _row_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    scene = _objects(rng, 1)
    return scene, f"a shape at the {_bin(scene.centre[0, 0, 1], 0.08, 0.92, ('top', 'middle', 'bottom'))}"


def _column_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    scene = _objects(rng, 1)
    return scene, f"a shape at the {_bin(scene.centre[0, 0, 0], 0.08, 0.92, ('left', 'centre', 'right'))}"


def _size_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    scene = _objects(rng, 1)
    return scene, f"a {_bin(np.log(scene.radius[0, 0]), np.log(0.05), np.log(0.28), SIZES)} shape"


def _colour_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    index, rgb = random_colours(rng, 1)
    return _with(_objects(rng, 1), colour=rgb[None]), f"a {COLOUR_NAMES[index[0]]} shape"


def _shape_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    scene = _objects(rng, 1)
    return scene, f"a {SHAPE_NAMES[scene.shape[0, 0]]}"


def _look_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    index, rgb = random_colours(rng, 1)
    scene = _with(_objects(rng, 1), colour=rgb[None])
    return scene, f"a {COLOUR_NAMES[index[0]]} {SHAPE_NAMES[scene.shape[0, 0]]}"


def _tilt_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    scene = _objects(rng, 1, shapes=ANGLED_SHAPES)
    name = SHAPE_NAMES[scene.shape[0, 0]]
    if name in POINTING_SHAPES:
        return scene, f"a shape pointing {DIRECTIONS[int(np.round(scene.angle[0, 0] / (np.pi / 4))) % 8]}"
    return scene, f"a {name} {BAR_DIRECTIONS[int(np.round(scene.angle[0, 0] / (np.pi / 4))) % 4]}"


def _number_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    number = int(rng.integers(0, _LARGEST_NUMBER + 1))
    scene = _objects(rng, number)
    return _with(scene, radius=np.clip(scene.radius, 0.07, 0.16)), NUMBERS[number]


def _spread_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    number, spread = int(rng.integers(2, 4)), rng.uniform(0.1, 0.4)
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(number) / number
    word = _bin(spread, 0.1, 0.4, ("close together", "apart", "far apart"))
    return _ring_scene(rng, spread, angles), f"{NUMBERS[number]} {word}"


def _arrangement_scene(rng: np.random.Generator) -> tuple[Sprites, str]:
    spread, angle = rng.uniform(0.12, 0.4), rng.uniform(0, np.pi)
    word = ARRANGEMENTS[int(np.round(angle / (np.pi / 4))) % 4]
    return _ring_scene(rng, spread, np.array([angle, angle + np.pi])), f"two shapes {word}"


def _ring_scene(rng: np.random.Generator, spread: float, angles: np.ndarray) -> Sprites:
    scene = _objects(rng, len(angles))
    middle = rng.uniform(spread + 0.05, 0.95 - spread, 2)
    centre = middle + spread * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return _with(scene, centre=centre[None], radius=np.clip(scene.radius, 0.07, 0.15))


SceneMaker = Callable[[np.random.Generator], tuple[Sprites, str]]
SCENES: dict[str, SceneMaker] = {
    "place": _place_scene,
    "row": _row_scene,
    "column": _column_scene,
    "size": _size_scene,
    "colour": _colour_scene,
    "shape": _shape_scene,
    "look": _look_scene,
    "tilt": _tilt_scene,
    "number": _number_scene,
    "spread": _spread_scene,
    "arrangement": _arrangement_scene,
}
CAPTION_KINDS = (*SCENES, "action")


def captioned_frames(
    rng: np.random.Generator, kind: str, *, n_frames: int, size: int, action_sentences: Mapping[str, str]
) -> CaptionedFrames:
    """Random frames whose captions name one kind of attribute.

    Args:
        kind: one of `CAPTION_KINDS`.
        size: side of the frames in pixels.
        action_sentences: training class -> its sentence; used by the kind `action`.

    Raises:
        ValueError: for an unknown kind, or for a class that is not a training class.
    """
    if kind not in CAPTION_KINDS:
        raise ValueError(f"unknown kind of caption {kind!r}; expected one of {CAPTION_KINDS}")
    unseen = set(action_sentences) - set(SHAPES_SPLIT["train"])
    if unseen:
        raise ValueError(f"the encoder is trained with the names of training classes only, got {sorted(unseen)}")
    make = SCENES[kind] if kind in SCENES else lambda rng: _action_scene(rng, action_sentences)
    scenes = [make(rng) for _ in range(n_frames)]
    sprites = _stack([scene for scene, _ in scenes])
    canvas = np.stack([draw_background(rng, size) for _ in range(n_frames)])
    draw_sprites(canvas, _stack([random_distractors(rng) for _ in range(n_frames)]))
    draw_sprites(canvas, sprites)
    frames = np.round(canvas * 255).astype(np.uint8)
    return CaptionedFrames(frames, [caption for _, caption in scenes], sprites)


def _action_scene(rng: np.random.Generator, action_sentences: Mapping[str, str]) -> tuple[Sprites, str]:
    class_name = str(rng.choice(list(action_sentences)))
    return action_sprites(class_name, rng.uniform(0.0, 1.0, 1), rng), action_sentences[class_name]


def _stack(scenes: list[Sprites]) -> Sprites:
    """Scenes of one frame each as one record, padded with invisible objects."""
    n_objects = max(scene.shape.shape[1] for scene in scenes)

    def fill(name: str) -> np.ndarray:
        values = [vars(scene)[name] for scene in scenes]
        filled = np.ones((len(scenes), n_objects, *values[0].shape[2:]), values[0].dtype)
        if name == "visible":
            filled[:] = 0
        for row, value in zip(filled, values, strict=True):
            row[: value.shape[1]] = value[0]
        return filled

    return Sprites(**{name: fill(name) for name in vars(scenes[0])})


def scene_numbers(sprites: Sprites) -> tuple[np.ndarray, np.ndarray]:
    """Properties of frames as numbers of about zero mean and unit variance, independent of the order of objects.

    Number of objects, mean place, spread of the places (x, y and both together), mean log radius, mean colour, share of
    each shape, and mean direction (once and twice the angle) of the shapes with a visible angle.

    Args:
        sprites: of N frames.

    Returns:
        Numbers (N, M), and whether each is known (N, M), 0 or 1: in a frame without objects only their number is.
    """
    visible = sprites.visible[..., None]
    n_objects = sprites.visible.sum(axis=1, keepdims=True)

    def mean(values: np.ndarray) -> np.ndarray:
        return (values * visible).sum(axis=1) / np.maximum(n_objects, 1)

    centre = mean(sprites.centre)
    offset = sprites.centre - centre[:, None]
    headed = np.isin(sprites.shape, [SHAPE_NAMES.index(name) for name in ANGLED_SHAPES])[..., None]
    angles = np.stack([sprites.angle, 2 * sprites.angle], axis=-1)
    numbers = np.concatenate(
        [
            (n_objects - 1.5) / 0.8,
            (centre - 0.5) / 0.24,
            np.sqrt(mean(offset**2)) / 0.12,
            mean(offset[..., :1] * offset[..., 1:]) / 0.03,
            (mean(np.log(sprites.radius)[..., None]) + 2.13) / 0.45,
            (mean(sprites.colour) - 0.5) / 0.25,
            mean(np.eye(len(SHAPE_NAMES))[sprites.shape]) * 2.5,
            mean(np.concatenate([np.cos(angles), np.sin(angles)], axis=-1) * headed) * 1.2,
        ],
        axis=1,
    )
    known = np.broadcast_to(n_objects > 0, numbers.shape).astype(float)
    known[:, 0] = 1
    return numbers, known
