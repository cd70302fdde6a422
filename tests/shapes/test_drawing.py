"""Drawing of the embedded world's objects."""

import numpy as np
import pytest

from mdmf.shapes.drawing import SHAPE_NAMES, Sprites, draw_background, draw_sprites, random_colours


def one_object(shape: str = "circle", **values: float | tuple[float, float]) -> Sprites:
    return Sprites(
        shape=np.array([[SHAPE_NAMES.index(shape)]]),
        colour=np.array([[[1.0, 0.0, 0.0]]]),
        centre=np.array([[values.get("centre", (0.5, 0.5))]], dtype=float),
        radius=np.array([[values.get("radius", 0.2)]], dtype=float),
        angle=np.array([[values.get("angle", 0.0)]], dtype=float),
        visible=np.array([[values.get("visible", 1.0)]], dtype=float),
    )


def drawn(sprites: Sprites, size: int = 60) -> np.ndarray:
    """Red channel of the sprites on black frames."""
    canvas = np.zeros((len(sprites.shape), size, size, 3), dtype=np.float32)
    draw_sprites(canvas, sprites)
    return canvas[..., 0]


@pytest.mark.parametrize("shape", SHAPE_NAMES)
def test_every_shape_is_drawn_near_its_centre(shape: str) -> None:
    image = drawn(one_object(shape, centre=(0.3, 0.7)))[0]
    weights = image / image.sum()
    places = (np.arange(60) + 0.5) / 60
    assert image.max() == pytest.approx(1.0)
    assert weights.sum(axis=0) @ places == pytest.approx(0.3, abs=0.03)
    assert weights.sum(axis=1) @ places == pytest.approx(0.7, abs=0.03)


def test_circle_has_the_area_of_a_circle() -> None:
    image = drawn(one_object("circle", radius=0.2))
    assert image.sum() / 60**2 == pytest.approx(np.pi * (0.95 * 0.2) ** 2, rel=0.01)


def test_angle_turns_clockwise() -> None:
    def tip(angle: float) -> np.ndarray:
        """From the mean of the triangle's pixels to its farthest one: where it points."""
        rows, columns = np.nonzero(drawn(one_object("triangle", angle=angle, radius=0.3))[0] > 0.5)
        points = np.stack([columns - columns.mean(), rows - rows.mean()], axis=-1)
        return np.sign(np.round(points[np.linalg.norm(points, axis=1).argmax()] / 10))

    np.testing.assert_array_equal(tip(0.0), (0, -1))  # up
    np.testing.assert_array_equal(tip(np.pi / 2), (1, 0))  # right


def test_an_object_that_is_not_visible_leaves_no_trace() -> None:
    assert drawn(one_object(visible=0.0)).max() == 0.0


def test_later_objects_cover_earlier_ones() -> None:
    first, second = one_object(), one_object()
    both = Sprites(**{name: np.concatenate([vars(first)[name], vars(second)[name]], axis=1) for name in vars(first)})
    both.colour[0, 1] = (0.0, 1.0, 0.0)
    canvas = np.zeros((1, 20, 20, 3), dtype=np.float32)
    draw_sprites(canvas, both)
    np.testing.assert_allclose(canvas[0, 10, 10], (0.0, 1.0, 0.0))


def test_backgrounds_are_muted_and_differ() -> None:
    rng = np.random.default_rng(0)
    images = [draw_background(rng, 30) for _ in range(20)]
    assert all(image.shape == (30, 30, 3) and image.dtype == np.float32 for image in images)
    assert min(image.min() for image in images) >= 0.0
    assert max(image.max() for image in images) <= 1.0
    assert np.std([image.mean() for image in images]) > 0.05


def test_objects_of_a_frame_have_different_colours() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        indices, rgb = random_colours(rng, 4)
        assert len(set(indices)) == 4
        assert rgb.shape == (4, 3)
