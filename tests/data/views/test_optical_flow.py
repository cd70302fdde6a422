"""Optical flow: worked out for moving textures whose flow is known exactly, and drawn as worked out by hand."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from mdmf.data.views.optical_flow import draw_flow, mirror_flow, optical_flow, remove_camera_motion

Move = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

METHODS = ("dis", "farneback")


class Texture:
    """A smooth random pattern known between pixels as well: a sum of waves 7 to 40 pixels long."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        length, angle = rng.uniform(7, 40, 40), rng.uniform(0, 2 * np.pi, 40)
        self.wave_x, self.wave_y = 2 * np.pi / length * np.cos(angle), 2 * np.pi / length * np.sin(angle)
        self.phase = rng.uniform(0, 2 * np.pi, (3, 40))

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8."""
        wave = x[..., None, None] * self.wave_x + y[..., None, None] * self.wave_y + self.phase
        return np.clip(128 + 12 * np.cos(wave).sum(axis=-1), 0, 255).astype(np.uint8)


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width].astype(float)
    return x, y


def linear(matrix: np.ndarray, centre: tuple[float, float]) -> Move:
    """(x, y) -> centre + matrix @ ((x, y) - centre)."""

    def move(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = x - centre[0], y - centre[1]
        return centre[0] + matrix[0, 0] * x + matrix[0, 1] * y, centre[1] + matrix[1, 0] * x + matrix[1, 1] * y

    return move


def shifted_frames(shift_x: float, shift_y: float, size: tuple[int, int] = (96, 128), seed: int = 0):
    x, y = grid(*size)
    texture = Texture(seed)
    return texture.at(x, y), texture.at(x - shift_x, y - shift_y)


def inside(flow: np.ndarray, margin: int = 12) -> np.ndarray:
    return flow[margin:-margin, margin:-margin]


def constant(x: float, y: float, size: tuple[int, int] = (2, 3)) -> np.ndarray:
    return np.broadcast_to(np.array([x, y], np.float32), (*size, 2)).copy()


def colour(x: float, y: float, *, clip: float = 10, drawing: str = "wheel") -> list[int]:
    picture = draw_flow(constant(x, y), clip=clip, drawing=drawing)
    assert picture.shape == (2, 3, 3)
    assert picture.dtype == np.uint8
    assert (picture == picture[0, 0]).all()
    return picture[0, 0].tolist()


# Flow of known motion


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift", [(3, 0), (-3, 0), (0, 3), (0, -3), (2.5, -1.25), (-7, 5)])
def test_a_shift_is_found_with_its_signs_x_before_y(method, shift):
    flow = optical_flow(*shifted_frames(*shift), method=method)
    assert flow.shape == (96, 128, 2)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), shift, atol=0.2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("turn", [3, -3])
def test_a_rotation_is_found(method, turn):
    """A positive turn takes right (x) to down (y): clockwise on the screen."""
    angle = np.deg2rad(turn)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert endpoint_error(method, matrix) < 0.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("zoom", [1.06, 0.94])
def test_a_zoom_is_found(method, zoom):
    assert endpoint_error(method, np.eye(2) * zoom) < 0.5


def endpoint_error(method: str, matrix: np.ndarray) -> float:
    """Mean distance in pixels from the true flow of a linear motion about the middle of the frame."""
    x, y = grid(120, 160)
    centre = (79.5, 59.5)
    came_from = linear(np.linalg.inv(matrix), centre)
    texture = Texture(1)
    flow = optical_flow(texture.at(x, y), texture.at(*came_from(x, y)), method=method)
    moved_x, moved_y = linear(matrix, centre)(x, y)
    truth = np.stack([moved_x - x, moved_y - y], axis=-1)
    assert np.linalg.norm(inside(truth), axis=-1).mean() > 1.5
    return float(np.linalg.norm(inside(flow - truth), axis=-1).mean())


@pytest.mark.parametrize("method", METHODS)
def test_frames_that_do_not_move_have_no_flow(method):
    frame, _ = shifted_frames(0, 0)
    at_rest = np.abs(optical_flow(frame, frame, method=method))
    assert at_rest.mean() < 0.01
    assert at_rest.max() < 0.2  # Farneback is unsure at the border
    assert np.abs(optical_flow(frame * 0, frame * 0, method=method)).max() < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_flow_of_mirrored_frames_is_the_mirrored_flow(method):
    first, second = shifted_frames(4, -2)
    flow = mirror_flow(optical_flow(first, second, method=method))
    of_mirrored = optical_flow(first[:, ::-1], second[:, ::-1], method=method)
    assert np.linalg.norm(inside(flow - of_mirrored), axis=-1).mean() < 0.1
    pictures = [draw_flow(inside(f), clip=5, drawing="wheel").astype(int) for f in (flow, of_mirrored)]
    assert np.abs(pictures[0] - pictures[1]).mean() < 5


def test_pixels_are_counted_at_the_shrunk_size():
    first, second = (np.repeat(np.repeat(frame, 2, 0), 2, 1) for frame in shifted_frames(3, -2))
    flow = optical_flow(first, second, short_side=96)
    assert flow.shape == (96, 128, 2)
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [3, -2], atol=0.2)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [((20, 30), 256, (20, 30)), ((64, 32), 16, (32, 16)), ((33, 50), 20, (20, 30)), ((100, 30), 30, (100, 30))],
)
def test_the_shortest_side_is_shrunk_and_nothing_is_enlarged(size, short_side, expected):
    frame = np.zeros((*size, 3), np.uint8)
    assert optical_flow(frame, frame, short_side=short_side).shape == (*expected, 2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(16, 16), (16, 40), (40, 16), (32, 32), (50, 50)])
def test_small_frames_have_a_good_flow(method, size):
    for shift in ((2, 0), (0, -2)):
        flow = optical_flow(*shifted_frames(*shift, size=size, seed=3), method=method)
        np.testing.assert_allclose(np.median(flow, axis=(0, 1)), shift, atol=0.4)


def test_dis_works_at_full_resolution_in_small_frames():
    """Half the resolution, DIS's own choice, gives 0.1 pixels here."""
    errors = []
    for seed in range(6):
        for shift in ((2, 0), (-1.5, 1), (0, 3)):
            flow = optical_flow(*shifted_frames(*shift, size=(16, 60), seed=seed), method="dis")
            errors.append(np.linalg.norm(flow - np.float32(shift), axis=-1).mean())
    assert np.mean(errors) < 0.06


def test_no_small_frame_ends_the_process():
    """OpenCV's DIS reads outside of frames such as 12 x 100, and the process dies with no exception to catch."""
    program = """
import numpy as np
from mdmf.data.views.optical_flow import optical_flow
rng = np.random.default_rng(0)
for height in (1, 2, 7, 8, 11, 12, 15, 16, 17, 33, 63, 64):
    for width in (1, 8, 12, 15, 16, 45, 46, 100, 500):
        first, second = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        for frames in ((first, second), (first.swapaxes(0, 1), second.swapaxes(0, 1))):
            flow = optical_flow(*frames)
            assert flow.shape == frames[0].shape[:2] + (2,) and np.isfinite(flow).all()
print("alive")
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.stdout == "alive\n", finished.stderr


def test_the_camera_is_taken_off_as_the_rule_says():
    frames = shifted_frames(5, 2)
    for camera in ("median", "homography"):
        flow = optical_flow(*frames, camera=camera)
        assert np.linalg.norm(inside(flow), axis=-1).mean() < 0.2


def test_tvl1_finds_a_shift_or_says_what_to_install():
    import cv2

    frames = shifted_frames(2, -1)
    if hasattr(cv2, "optflow"):
        flow = optical_flow(*frames, method="tvl1")
        np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [2, -1], atol=0.2)
    else:
        with pytest.raises(ImportError, match="pip install opencv-contrib-python-headless"):
            optical_flow(*frames, method="tvl1")


def test_frames_of_different_size_are_refused():
    with pytest.raises(ValueError, match=r"one size, got \(8, 8, 3\) and \(8, 9, 3\)"):
        optical_flow(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8))


@pytest.mark.parametrize(
    "bad",
    [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8, 3))],
)
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_frame_is_refused(bad, place):
    frames = [np.zeros((8, 8, 3), np.uint8)] * 2
    frames[place] = bad
    with pytest.raises(ValueError, match=r"\(H, W, 3\) and type uint8"):
        optical_flow(*frames)


# The camera


def scene(background: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A flow with an object of its own motion on a sixth of it: flow, where the object is, its motion."""
    flow = background.copy()
    is_object = np.zeros(flow.shape[:2], bool)
    is_object[30:70, 40:95] = True
    flow[is_object] += (6, -3)
    return flow, is_object, np.array([6, -3])


@pytest.mark.parametrize("camera", ["median", "homography"])
def test_a_shift_of_the_camera_is_taken_off_and_the_object_is_kept(camera):
    flow, is_object, motion = scene(constant(-8, 4, (100, 130)))
    left = remove_camera_motion(flow, camera)
    assert left.dtype == np.float32
    np.testing.assert_allclose(left[~is_object], 0, atol=1e-3)
    np.testing.assert_allclose(left[is_object] - motion, 0, atol=1e-3)


def test_a_turning_zooming_camera_is_taken_off_by_a_homography_and_not_by_the_median():
    x, y = grid(100, 130)
    to = linear(np.array([[1.05, -0.04], [0.04, 1.05]]), (50, 40))(x, y)
    background = np.stack([to[0] - x, to[1] - y], axis=-1)
    noise = np.random.default_rng(0).normal(0, 0.2, background.shape)
    flow, is_object, motion = scene((background + noise).astype(np.float32))
    left = remove_camera_motion(flow, "homography")
    assert np.linalg.norm(left[~is_object], axis=-1).mean() < 0.4
    np.testing.assert_allclose(np.median(left[is_object], axis=0), motion, atol=0.4)
    assert np.linalg.norm(remove_camera_motion(flow, "median")[~is_object], axis=-1).mean() > 1.5


def test_a_perspective_camera_is_taken_off_by_a_homography():
    x, y = grid(60, 80)
    depth = 1 + 0.001 * x - 0.0005 * y
    flow = np.stack([(x + 2) / depth - x, (y - 1) / depth - y], axis=-1).astype(np.float32)
    assert np.abs(remove_camera_motion(flow, "homography")).max() < 0.05


def test_a_plane_with_its_horizon_inside_the_frame_takes_the_median():
    """The left half follows a plane that is at infinity in column 50; behind it the plane's motion means nothing."""
    x, y = grid(60, 80)
    depth = 1 - 0.02 * np.minimum(x, 40)
    flow = np.stack([x / depth - x, y / depth - y], axis=-1).astype(np.float32)
    flow[:, 41:] = np.random.default_rng(0).normal(0, 30, flow[:, 41:].shape)
    np.testing.assert_array_equal(remove_camera_motion(flow, "homography"), remove_camera_motion(flow, "median"))


def test_keep_takes_nothing_off():
    flow, _, _ = scene(constant(-8, 4, (100, 130)))
    np.testing.assert_array_equal(remove_camera_motion(flow, "keep"), flow)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (3, 3)])
def test_frames_too_small_for_a_homography_take_the_median(size):
    flow = np.random.default_rng(0).normal(3, 1, (*size, 2)).astype(np.float32)
    np.testing.assert_array_equal(remove_camera_motion(flow, "homography"), remove_camera_motion(flow, "median"))


def test_motion_without_a_plane_takes_the_median():
    flow = np.random.default_rng(0).normal(0, 30, (50, 60, 2)).astype(np.float32)
    np.testing.assert_array_equal(remove_camera_motion(flow, "homography"), remove_camera_motion(flow, "median"))


def test_a_flow_into_one_point_stays_finite():
    x, y = grid(50, 60)
    flow = np.stack([30 - x, 25 - y], axis=-1).astype(np.float32)
    assert np.isfinite(remove_camera_motion(flow, "homography")).all()


def test_the_flow_handed_in_is_not_changed():
    flow, _, _ = scene(constant(-8, 4, (100, 130)))
    before = flow.copy()
    for camera in ("keep", "median", "homography"):
        remove_camera_motion(flow, camera)
    mirror_flow(flow)
    draw_flow(flow, clip=1, drawing="wheel")
    np.testing.assert_array_equal(flow, before)


# Drawing


def test_the_wheel_has_the_published_colours():
    """Worked out by hand from the published passages; the full wheel has 55 colours, and 54 of them are the turn.

    Right is colour 0. Down is half-way from 13 to 14, (255, 221, 0) to (255, 238, 0). Left is 27, the third from cyan
    to blue: 255 - 2 * 255 / 11. Up is half-way from 40 to 41, (78, 0, 255) to (98, 0, 255).
    """
    assert colour(10, 0) == [255, 0, 0]
    assert colour(0, 10) == [255, 230, 0]
    assert colour(-10, 0) == [0, 209, 255]
    assert colour(0, -10) == [88, 0, 255]


def test_rest_is_white_on_the_wheel():
    assert colour(0, 0) == [255, 255, 255]
    assert colour(-0.0, -0.0) == [255, 255, 255]


def test_saturation_grows_with_the_length():
    assert colour(5, 0) == [255, 128, 128]
    assert colour(2.5, 0) == [255, 191, 191]
    assert colour(0, -5) == [172, 128, 255]


def test_minus_zero_is_zero_on_the_wheel():
    assert colour(10, -0.0) == colour(10, 0.0)
    assert colour(-10, -0.0) == colour(-10, 0.0)


@pytest.mark.parametrize("drawing", ["wheel", "channels"])
@pytest.mark.parametrize("direction", [(3, 4), (-3, 4), (0, -5), (5, 0)])
def test_longer_displacements_are_drawn_at_the_clip_in_their_direction(drawing, direction):
    x, y = direction
    at_clip = colour(x, y, clip=5, drawing=drawing)
    for longer in (7, 1e30):
        drawn = colour(x * longer, y * longer, clip=5, drawing=drawing)
        np.testing.assert_allclose(drawn, at_clip, atol=1)  # a level of 229.5 may go either way


def test_every_direction_has_its_own_colour_and_neighbours_are_alike():
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    flow = np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None]
    colours = draw_flow(flow, clip=1, drawing="wheel")[0].astype(int)
    assert len(np.unique(colours, axis=0)) > 650
    assert np.abs(np.diff(colours, axis=0)).max() <= 10
    assert 43 <= colours[-1, 2] - colours[0, 2] <= 48  # the published seam


def test_the_wheel_is_the_slow_published_loop():
    rng = np.random.default_rng(0)
    flow = rng.uniform(-1, 1, (20, 20, 2)).astype(np.float32)
    picture = draw_flow(flow, clip=1, drawing="wheel").astype(int)
    expected = [[slow_colour(*pixel) for pixel in row] for row in flow.astype(float)]
    assert np.abs(picture - expected).max() <= 1


def slow_colour(x: float, y: float) -> list[float]:
    wheel = [[255, 255 * i // 15, 0] for i in range(15)]
    wheel += [[255 - 255 * i // 6, 255, 0] for i in range(6)]
    wheel += [[0, 255, 255 * i // 4] for i in range(4)]
    wheel += [[0, 255 - 255 * i // 11, 255] for i in range(11)]
    wheel += [[255 * i // 13, 0, 255] for i in range(13)]
    wheel += [[255, 0, 255 - 255 * i // 6] for i in range(6)]
    length = np.hypot(x, y)
    place = (np.arctan2(-y, -x) / np.pi + 1) / 2 * 54
    before = int(place)
    pairs = zip(wheel[before], wheel[(before + 1) % 55], strict=True)
    mixed = [(1 - place + before) * start + (place - before) * end for start, end in pairs]
    return [255 - min(length, 1) * (255 - level) for level in mixed]


def test_channels_are_x_y_and_length():
    assert colour(0, 0, drawing="channels") == [128, 128, 0]
    assert colour(10, 0, drawing="channels") == [255, 128, 255]
    assert colour(-10, 0, drawing="channels") == [0, 128, 255]
    assert colour(0, 10, drawing="channels") == [128, 255, 255]
    assert colour(0, -5, drawing="channels") == [128, 64, 128]  # 127.5 - 63.75 = 63.75
    assert colour(24, 7, drawing="channels") == [
        250,
        163,
        255,
    ]  # 127.5 * (1 + 0.96) = 249.9, 127.5 * (1 + 0.28) = 163.2


def test_mirroring_reverses_columns_and_x():
    flow = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.float32)
    np.testing.assert_array_equal(mirror_flow(flow), [[[-3, 4], [-1, 2]], [[-7, 8], [-5, 6]]])
    np.testing.assert_array_equal(mirror_flow(mirror_flow(flow)), flow)
    assert mirror_flow(flow).dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_flow_that_is_not_finite_is_refused(bad):
    flow = constant(1, 1)
    flow[0, 0, 1] = bad
    with pytest.raises(ValueError, match="1 infinite or NaN"):
        draw_flow(flow, clip=1, drawing="wheel")
    with pytest.raises(ValueError, match="1 infinite or NaN"):
        remove_camera_motion(flow, "median")


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3), (0, 3, 2), (1, 2, 3, 2)])
def test_what_is_no_flow_is_not_drawn(shape):
    with pytest.raises(ValueError, match=r"shape \(h, w, 2\)"):
        draw_flow(np.zeros(shape), clip=1, drawing="channels")
