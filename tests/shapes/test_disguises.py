"""What a camouflaged and a shaken video show to the flow, and what to single frames."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mdmf.shapes import world
from mdmf.shapes.disguises import (
    Scene,
    random_texture,
    render_camouflage,
    render_plain,
    render_shake,
)
from mdmf.shapes.drawing import SHAPE_NAMES, Sprites, draw_sprites

SIZE = 72
RED = (0.85, 0.1, 0.1)
Render = Callable[[Scene, np.random.Generator], np.ndarray]


def sprites(centre: np.ndarray, *, radius: float = 0.13, shape: str = "circle", **values: np.ndarray) -> Sprites:
    """One object on the given centres (T, 2) in pixels."""
    ones = np.ones((len(centre), 1))
    return Sprites(
        shape=np.full((len(centre), 1), SHAPE_NAMES.index(shape)),
        colour=ones[..., None] * np.array(RED),
        centre=centre[:, None] / SIZE,
        radius=values.get("radii", radius * ones),
        angle=values.get("angle", 0.0 * ones),
        visible=values.get("visible", ones),
    )


def scene(objects: Sprites, camera: np.ndarray | None = None, distractors: Sprites | None = None) -> Scene:
    n_frames = len(objects.shape)
    background = np.full((SIZE + 4, SIZE + 4, 3), 0.5, dtype=np.float32)
    layers = (objects,) if distractors is None else (distractors, objects)
    return Scene(background, np.zeros((n_frames, 2), dtype=int) if camera is None else camera, layers, SIZE)


def straight(velocity: tuple[float, float], n_frames: int = 20, **values: str) -> Sprites:
    """An object that crosses the middle of the frame."""
    return sprites(36.0 + (np.arange(n_frames)[:, None] - n_frames / 2) * np.array(velocity), **values)


def still(n_frames: int, place: tuple[float, float] = (36.0, 36.0), **values: np.ndarray) -> Sprites:
    return sprites(np.tile(np.array(place), (n_frames, 1)), **values)


def mask(of: Scene) -> np.ndarray:
    """Where the objects of the action are in a plain or camouflaged video (T, S, S)."""
    objects = of.layers[-1]
    white = {**vars(objects), "colour": np.ones_like(objects.colour)}
    white["centre"] = objects.centre + of.camera[:, None] / SIZE
    canvas = np.zeros((len(of.camera), SIZE, SIZE, 3), dtype=np.float32)
    draw_sprites(canvas, Sprites(**white))
    return canvas[..., 0] > 0.5


def red_mask(frames: np.ndarray) -> np.ndarray:
    """Where a red object is seen in each frame (T, S, S)."""
    return frames[..., 0] - frames[..., 1:].max(axis=-1) > 0.25


def to_bytes(frames: np.ndarray) -> np.ndarray:
    return np.round(255 * frames).astype(np.uint8)


def compressed(frames: np.ndarray, path: Path) -> np.ndarray:
    world._encode(frames, path, world._choose_codec())
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def flow(frames: np.ndarray, enlarged: int = 3) -> np.ndarray:
    """DIS flow (T - 1, S, S, 2) in pixels, between enlarged frames, as an encoder of larger images sees them."""
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    large = [cv2.resize(frame, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC) for frame in grey]
    flows = [method.calc(first, second, None) / enlarged for first, second in pairwise(large)]
    return np.stack([cv2.resize(values, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for values in flows])


def median_inside(flows: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(T - 1, 2)."""
    return np.stack([np.median(values[where], axis=0) for values, where in zip(flows, inside[:-1], strict=True)])


def world_scenes(n_numbers: int = 8) -> list[tuple[Scene, np.ndarray]]:
    """Scenes of the world itself, and their camouflaged frames in 0..255."""
    scenes = []
    for class_name in ("move_left", "gather", "grow", "spin_clockwise"):
        for number in range(n_numbers):
            drawn = world._draw_scene(class_name, world._generator(class_name, 0, number))
            frames = world.render_video(class_name, seed=0, number=number, disguise="camouflage")
            scenes.append((drawn, frames.astype(float)))
    return scenes


# Textures


@pytest.mark.parametrize("growth", [0.4, 0.75, 1.0, 1.3, 2.2])
def test_texture_has_the_same_statistics_at_every_size(growth: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-100, 100, (2000, 2))
    textures = [random_texture(rng) for _ in range(10)]
    here = np.stack([texture.values(points, growth=growth) for texture in textures])
    beside = np.stack([texture.values(points + np.array([2.4, 0.0]), growth=growth) for texture in textures])
    assert here.mean() == pytest.approx(0.0, abs=0.05)
    assert here.std() == pytest.approx(1.04, abs=0.05)  # sqrt(1 + 0.3**2), from the tint
    assert np.corrcoef(here.ravel(), beside.ravel())[0, 1] == pytest.approx(0.5, abs=0.07)


def test_texture_grows_with_its_object_and_never_jumps() -> None:
    rng = np.random.default_rng(1)
    texture, points = random_texture(rng), rng.uniform(-10, 10, (500, 2))
    for growth in np.geomspace(0.5, 2.0, 25):
        now = texture.values(growth * points, growth=growth)
        soon = texture.values(1.02 * growth * points, growth=1.02 * growth)
        assert np.abs(soon - now).mean() < 0.06  # of a standard deviation of 1
        assert np.abs(soon - now).max() < 0.25


# Camouflage


def test_texture_moves_and_turns_with_its_object() -> None:
    angle = np.array([[0.0], [np.pi / 2]])
    turning = sprites(np.array([[20.0, 36.0], [50.0, 40.0]]), radius=0.2, shape="square", angle=angle)
    first, second = render_camouflage(scene(turning), np.random.default_rng(0))
    before, after = first[30:42, 14:26], second[34:46, 44:56]
    assert before.std() > 0.1
    np.testing.assert_allclose(after, np.rot90(before, -1), atol=1e-3)  # clockwise


def test_texture_grows_with_the_objects_radius() -> None:
    radii = np.array([[0.2], [0.23]])
    first, second = render_camouflage(scene(still(2, radii=radii)), np.random.default_rng(0)).astype(np.float32)
    enlarged = cv2.warpAffine(first, cv2.getRotationMatrix2D((35.5, 35.5), 0, 1.15), (SIZE, SIZE))
    inside = np.s_[27:45, 27:45]
    as_grown = np.corrcoef(enlarged[inside].ravel(), second[inside].ravel())[0, 1]
    as_still = np.corrcoef(first[inside].ravel(), second[inside].ravel())[0, 1]
    assert as_grown > 0.93
    assert as_still < as_grown - 0.05


def test_single_camouflaged_frames_have_the_same_statistics_inside_and_outside() -> None:
    means, deviations, colours = [], [], []
    for drawn, frames in world_scenes():
        inside = mask(drawn)
        means.append((frames[inside].mean() - frames[~inside].mean()) / frames.std())
        deviations.append(frames[inside].std() / frames[~inside].std())
        colours.append(frames[inside].mean(axis=0) - frames[~inside].mean(axis=0))
    assert len(means) == 32
    error = np.std(means) / np.sqrt(len(means))
    assert np.mean(means) == pytest.approx(0.0, abs=3 * error)
    assert error < 0.06
    assert np.mean(deviations) == pytest.approx(1.0, abs=0.08)
    assert np.abs(np.mean(colours, axis=0)).max() < 8  # of 255


def test_the_outline_stands_out_little_in_a_camouflaged_frame() -> None:
    """In a plain frame nearly all steep gradients are on outlines; in a camouflaged one they are everywhere."""

    def contrast(frames: np.ndarray, inside: np.ndarray) -> float:
        down, right = np.gradient(frames.mean(axis=-1), axis=(1, 2))
        kernel = np.ones((3, 3), np.uint8)
        outline = [cv2.morphologyEx(where.astype(np.uint8), cv2.MORPH_GRADIENT, kernel) > 0 for where in inside]
        energy = down**2 + right**2
        return energy[np.stack(outline)].mean() / energy[~np.stack(outline)].mean()

    scenes = world_scenes(4)
    rng = np.random.default_rng(0)
    plain = [contrast(render_plain(drawn, rng), mask(drawn)) for drawn, _ in scenes]
    hidden = [contrast(frames, mask(drawn)) for drawn, frames in scenes]
    assert np.median(plain) > 10
    assert np.median(hidden) < 1.5


def test_what_stands_still_is_hidden_under_camouflage() -> None:
    blinking = np.array([1, 1, 0, 0, 1.0])[:, None]
    frames = render_camouflage(
        scene(still(5, visible=blinking), distractors=still(5, (12, 60))), np.random.default_rng(0)
    )
    np.testing.assert_array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[2], frames[3])
    np.testing.assert_array_equal(frames[0], frames[4])
    assert np.abs(frames[2] - frames[1]).max() > 0.2


def test_camouflage_moves_with_the_camera_as_one_picture() -> None:
    camera = np.array([[0, 0], [1, -2], [2, 2]])
    frames = render_camouflage(scene(still(3), camera, still(3, (50, 20))), np.random.default_rng(0))
    for (x, y), frame in zip(camera, frames, strict=True):
        seen = np.roll(frames[0], (y, x), axis=(0, 1))
        np.testing.assert_allclose(frame[4:-4, 4:-4], seen[4:-4, 4:-4], atol=1e-4)


def test_only_where_a_camouflaged_object_moves_do_frames_differ() -> None:
    moving = scene(straight((1.5, 0.5)))
    frames, inside = render_camouflage(moving, np.random.default_rng(0)), mask(moving)
    change = ((frames[1:] - frames[:-1]) ** 2).mean(axis=-1)
    near = np.stack([cv2.dilate(where.astype(np.uint8), np.ones((5, 5))) > 0 for where in inside[1:] | inside[:-1]])
    assert change[~near].max() == 0.0
    assert change[inside[1:]].mean() > 0.005


@pytest.mark.parametrize("velocity", [(2.0, 0.0), (-1.5, 0.0), (0.0, 1.5), (-1.0, -1.0)])
@pytest.mark.parametrize("encode", [False, True])
def test_flow_of_a_camouflaged_object_is_its_motion(
    tmp_path: Path, velocity: tuple[float, float], encode: bool
) -> None:
    moving = scene(straight(velocity, shape="square"))
    frames = to_bytes(render_camouflage(moving, np.random.default_rng(2)))
    flows = flow(compressed(frames, tmp_path / "video.mp4") if encode else frames)
    inside = mask(moving)
    np.testing.assert_allclose(np.median(median_inside(flows, inside), axis=0), velocity, atol=0.25)
    error = np.linalg.norm(median_inside(flows, inside) - velocity, axis=-1)
    assert np.median(error) < 0.25 * np.linalg.norm(velocity)
    near = np.stack([cv2.dilate(where.astype(np.uint8), np.ones((15, 15))) > 0 for where in inside])
    assert np.percentile(np.abs(flows[~near[:-1]]), 95) < 0.15


def test_flow_of_the_worlds_camouflaged_videos_tells_their_directions() -> None:
    agreements = []
    for class_name in ("move_left", "move_right", "move_up", "move_down"):
        for number in range(3):
            drawn = world._draw_scene(class_name, world._generator(class_name, 0, number))
            frames = world.render_video(class_name, seed=0, number=number, disguise="camouflage")
            seen = median_inside(flow(frames), mask(drawn)).mean(axis=0)
            true = np.diff(drawn.layers[-1].centre[:, 0] * SIZE + drawn.camera, axis=0).mean(axis=0)
            agreements.append(seen @ true / (np.linalg.norm(seen) * np.linalg.norm(true)))
    assert min(agreements) > 0.8


# Shake


@pytest.mark.parametrize("encode", [False, True])
def test_flow_of_a_shaken_object_does_not_tell_its_motion(tmp_path: Path, encode: bool) -> None:
    projections = []
    for seed, velocity in enumerate([(1.5, 0.0), (-1.5, 0.0), (0.0, 1.5), (0.0, -1.5), (1.0, 1.0), (-1.0, 1.0)]):
        frames = to_bytes(render_shake(scene(straight(velocity)), np.random.default_rng(seed)))
        inside = red_mask(frames / 255)
        flows = median_inside(flow(compressed(frames, tmp_path / "video.mp4") if encode else frames), inside)
        speed = np.linalg.norm(velocity)
        assert np.median(np.linalg.norm(flows - velocity, axis=-1)) > 2 * speed
        projections.extend(flows @ velocity / speed)
    assert np.mean(np.array(projections) > 0) == pytest.approx(0.5, abs=0.2)
    assert np.std(projections) > 2 * 1.5


def test_flow_of_a_shaken_background_is_noise() -> None:
    frames = to_bytes(render_shake(scene(straight((1.5, 0.0))), np.random.default_rng(0)))
    corner = flow(frames)[:, :16, :16].mean(axis=(1, 2))
    assert np.linalg.norm(corner, axis=-1).mean() > 1.0


def test_a_shaken_object_is_as_visible_as_a_plain_one() -> None:
    moving = scene(straight((1.5, 0.5)))
    contrasts, areas = {}, {}
    renders: dict[str, Render] = {"plain": render_plain, "shake": render_shake}
    for name, render in renders.items():
        frames = render(moving, np.random.default_rng(0))
        inside = red_mask(frames)
        areas[name] = inside.sum(axis=(1, 2))
        contrasts[name] = np.array(
            [
                np.linalg.norm(frame[where].mean(axis=0) - frame[~where].mean(axis=0))
                for frame, where in zip(frames, inside, strict=True)
            ]
        )
    assert areas["shake"] == pytest.approx(areas["plain"], rel=0.15)
    assert contrasts["shake"].mean() == pytest.approx(contrasts["plain"].mean(), rel=0.1)
    assert contrasts["shake"].min() > 0.7 * contrasts["plain"].min()


def test_the_camera_jumps_at_random_in_whole_pixels() -> None:
    frames = render_shake(scene(still(200)), np.random.default_rng(0))
    places = np.array([np.argwhere(where).mean(axis=0) for where in red_mask(frames)]) + 0.5 - 36.0
    np.testing.assert_allclose(places, np.round(places), atol=0.2)
    assert np.round(places).min() == -7
    assert np.round(places).max() == 7  # 10 % of 72
    assert np.abs(places.mean(axis=0)).max() < 1.0
    assert abs(np.corrcoef(places[1:].ravel(), places[:-1].ravel())[0, 1]) < 0.15


@pytest.mark.parametrize("place", [(10.0, 36.0), (62.0, 62.0), (36.0, 10.0)])
def test_no_jump_pushes_an_object_out_of_the_frame(place: tuple[float, float]) -> None:
    at_the_edge = scene(still(40, place))
    whole = mask(at_the_edge)[0].sum()
    seen = red_mask(render_shake(at_the_edge, np.random.default_rng(0))).sum(axis=(1, 2))
    assert seen.min() > 0.9 * whole


def test_an_object_that_has_vanished_does_not_hold_the_camera() -> None:
    gone = scene(still(3, (-30.0, 36.0), visible=np.zeros((3, 1))))
    assert render_shake(gone, np.random.default_rng(0)).shape == (3, SIZE, SIZE, 3)


def test_light_and_background_change_from_frame_to_frame() -> None:
    frames = render_shake(scene(still(20)), np.random.default_rng(0))
    assert frames.mean(axis=(1, 2, 3)).std() > 0.03
    even = frames[:, :12, :12] / frames[:, :12, :12].mean(axis=(1, 2), keepdims=True)
    assert np.abs(even[1:] - even[:-1]).mean() > 0.03


def test_plain_frames_need_no_randomness() -> None:
    rng = np.random.default_rng(0)
    render_plain(scene(still(2)), rng)
    assert rng.random() == np.random.default_rng(0).random()
