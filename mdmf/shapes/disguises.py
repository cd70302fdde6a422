"""Three renderings of a scene of the moving-shapes world: plain, visible only in flow, or only in single frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mdmf.shapes.drawing import SHAPE_NAMES, SHAPES, Sprites, draw_sprites

_N_WAVES = 96
# Longer waves and a sharper seam improve the flow, but also make objects more visible in single frames.
_SHORTEST_WAVE = 5.0  # pixels; with the octaves below, a texture correlates with itself by half at 2.4 pixels
_N_OCTAVES = 2.0
_SEAM = 2.0  # pixels over which one texture turns into another
_N_DECOYS = 40
_DECOY_RADIUS = (0.06, 0.14)  # of a frame side, similar to objects
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))
_LARGEST_JUMP = 0.1  # of a frame side


@dataclass(frozen=True)
class Scene:
    """The content of a video, independent of its disguise.

    Attributes:
        background: (W, W, 3), 0..1; a frame with a margin on each side for the movement of the camera.
        camera: (T, 2), x and y in whole pixels, the displacement of the whole picture.
        layers: the sprites of T frames, the lowest first; the last layer contains the objects of the action.
        size: side of a frame in pixels.
    """

    background: np.ndarray
    camera: np.ndarray
    layers: tuple[Sprites, ...]
    size: int


def render_plain(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Frames (T, S, S, 3) float32, 0..1, of the scene without disguise. `rng` is not used."""
    canvas = _window(scene.camera, scene.background, scene.size)
    for sprites in scene.layers:
        draw_sprites(canvas, _displaced(sprites, scene.camera / scene.size))
    return canvas


def render_camouflage(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Frames (T, S, S, 3), 0..1, in which objects and background have the same texture: only motion shows objects.

    The texture of an object moves, turns and grows with it. Objects are small: at 72 pixels, OpenCV's DIS detects
    their motion only with finest scale 0, or between enlarged frames.
    """
    base = rng.uniform(0.43, 0.57) + rng.uniform(-0.04, 0.04, 3)
    contrast = rng.uniform(0.15, 0.19)
    canvas = _window(scene.camera, _patchwork(len(scene.background), rng), scene.size)
    for sprites in scene.layers:
        _cover(canvas, _displaced(sprites, scene.camera / scene.size), rng)
    return np.clip(base + contrast * canvas, 0.0, 1.0)


def render_shake(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Frames (T, S, S, 3), 0..1, in which objects are as visible as in plain frames, but flow is useless.

    The camera jumps, the light flickers, and the soft patches of the background change from frame to frame.
    """
    n_frames, n_margin = len(scene.camera), _largest_jump(scene.size)
    camera = scene.camera + _random_jumps(scene, rng)
    wide = np.pad(scene.background, ((n_margin, n_margin), (n_margin, n_margin), (0, 0)), mode="reflect")
    points = _pixel_grid(scene.size).reshape(-1, 2)
    patches = [random_texture(rng, n_waves=16, shortest_wave=16.0).values(points) for _ in range(n_frames)]
    canvas = _window(camera, wide, scene.size)
    canvas += rng.uniform(0.04, 0.07) * np.reshape(patches, canvas.shape)
    for sprites in scene.layers:
        draw_sprites(canvas, _displaced(sprites, camera / scene.size))
    brightness = rng.uniform(0.8, 1.2, (n_frames, 1, 1, 1))
    return np.clip(brightness * canvas, 0.0, 1.0)


DISGUISES: dict[str, Callable[[Scene, np.random.Generator], np.ndarray]] = {
    "plain": render_plain,
    "camouflage": render_camouflage,
    "shake": render_shake,
}


# Textures ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Texture:
    """A smooth random pattern on the whole plane: a sum of waves, of mean 0 and variance about 1.

    A wave that leaves the band of wavelengths when the texture grows enters it again at the other end. Waves are weak
    at both ends, so the change is smooth, and the statistics of the texture are the same at every size and angle.

    Attributes:
        direction: (K, 2), unit vectors.
        place: (K,), position of each wave in the band of wavelengths, 0..1.
        phase: (K,), radians.
        tint: (K, 3), strength of each wave in the colour channels.
        shortest_wave: lower end of the band of wavelengths, pixels.
    """

    direction: np.ndarray
    place: np.ndarray
    phase: np.ndarray
    tint: np.ndarray
    shortest_wave: float

    def values(self, points: np.ndarray, *, growth: float = 1.0) -> np.ndarray:
        """The texture (n, 3) float32 at `points` (n, 2), in pixels from its centre, enlarged by the factor `growth`."""
        place = (self.place + np.log2(growth) / _N_OCTAVES) % 1.0
        wavelength = self.shortest_wave * 2.0 ** (_N_OCTAVES * place)
        waves = (2 * np.pi * self.direction / wavelength[:, None]).T.astype(np.float32)  # (2, K)
        strength = 2.0 / np.sqrt(len(place)) * np.sin(np.pi * place)[:, None] * self.tint  # (K, 3)
        return np.cos(points.astype(np.float32) @ waves + self.phase.astype(np.float32)) @ strength.astype(np.float32)


def random_texture(
    rng: np.random.Generator, *, n_waves: int = _N_WAVES, shortest_wave: float = _SHORTEST_WAVE
) -> Texture:
    """A random greyish texture of waves with evenly spaced wavelengths and directions."""
    angle = rng.uniform(0, 2 * np.pi) + _GOLDEN_ANGLE * np.arange(
        n_waves
    )  # so waves of similar length differ in direction
    return Texture(
        direction=np.stack([np.cos(angle), np.sin(angle)], axis=-1),
        place=(np.arange(n_waves) + rng.random()) / n_waves % 1.0,
        phase=rng.uniform(0, 2 * np.pi, n_waves),
        tint=1.0 + rng.normal(0.0, 0.3, (n_waves, 3)),
        shortest_wave=shortest_wave,
    )


def _patchwork(size: int, rng: np.random.Generator) -> np.ndarray:
    """A background (size, size, 3) of mean 0 and variance 1, full of still shapes: a seam shows no object."""
    ground = random_texture(rng).values(_pixel_grid(size).reshape(-1, 2)).reshape(1, size, size, 3)
    n_decoys = (1, _N_DECOYS)
    decoys = Sprites(
        shape=rng.integers(0, len(SHAPE_NAMES), n_decoys),
        colour=np.zeros((*n_decoys, 3)),
        centre=rng.uniform(0.0, 1.0, (*n_decoys, 2)),
        radius=rng.uniform(*_DECOY_RADIUS, n_decoys),
        angle=rng.uniform(0, 2 * np.pi, n_decoys),
        visible=np.ones(n_decoys),
    )
    _cover(ground, decoys, rng)
    return ground[0]


def _cover(canvas: np.ndarray, sprites: Sprites, rng: np.random.Generator) -> None:
    """Draw each visible object with its own texture, in place, on textures (T, S, S, 3) of mean 0 and variance 1."""
    size = canvas.shape[1]
    textures = [random_texture(rng) for _ in range(sprites.shape.shape[1])]
    pixels = _pixel_grid(size)
    mean_radius = sprites.radius.mean(axis=0)  # (M,)
    for frame, column in np.argwhere(sprites.visible > 0):
        radius = sprites.radius[frame, column]
        offsets = pixels - sprites.centre[frame, column] * size
        along = _along_axes(offsets, sprites.angle[frame, column])  # (S, S, 2), pixels along the axes of the object
        distance = SHAPES[SHAPE_NAMES[sprites.shape[frame, column]]]
        edge = distance(along[..., 0] / (radius * size), along[..., 1] / (radius * size)) * radius * size
        blend = np.pi / 2 * np.clip(0.5 - edge / _SEAM, 0.0, 1.0)  # its cosine and sine keep the variance 1
        inside = blend > 0
        values = textures[column].values(along[inside], growth=radius / mean_radius[column])  # (n, 3)
        weight = blend[inside][:, None]
        canvas[frame, inside] = np.cos(weight) * canvas[frame, inside] + np.sin(weight) * values


def _along_axes(offsets: np.ndarray, angle: float) -> np.ndarray:
    """Offsets (..., 2) in the coordinates of an object that is turned by `angle` clockwise."""
    right, down = offsets[..., 0], offsets[..., 1]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([right * cos + down * sin, down * cos - right * sin], axis=-1)


def _pixel_grid(size: int) -> np.ndarray:
    """The centres (size, size, 2) of the pixels of an image, x and y."""
    centres = np.arange(size) + 0.5
    return np.stack(np.meshgrid(centres, centres), axis=-1)


# The camera ----------------------------------------------------------------------------------------------------------


def _window(camera: np.ndarray, background: np.ndarray, size: int) -> np.ndarray:
    """Windows (T, S, S, 3) of the frames on a background (W, W, 3) that is displaced by `camera` (T, 2)."""
    n_margin = (len(background) - size) // 2
    windows = [(n_margin - y, n_margin - x) for x, y in camera]
    return np.stack([background[top : top + size, left : left + size] for top, left in windows])


def _displaced(sprites: Sprites, shift: np.ndarray) -> Sprites:
    return Sprites(**{**vars(sprites), "centre": sprites.centre + shift[:, None]})


def _largest_jump(size: int) -> int:
    return round(_LARGEST_JUMP * size)


def _random_jumps(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Random displacements (T, 2) in whole pixels that keep all visible objects of the action in the frame."""
    objects, largest = scene.layers[-1], _largest_jump(scene.size)
    centre = objects.centre * scene.size + scene.camera[:, None]  # (T, M, 2), pixels
    radius = (objects.radius * scene.size)[..., None]
    hidden = (objects.visible == 0)[..., None]
    room_before = np.where(hidden, largest, centre - radius).min(axis=1)  # (T, 2)
    room_after = np.where(hidden, largest, scene.size - centre - radius).min(axis=1)
    lowest = -np.floor(np.clip(room_before, 0, largest)).astype(int)
    highest = np.floor(np.clip(room_after, 0, largest)).astype(int)
    return rng.integers(lowest, highest + 1)
