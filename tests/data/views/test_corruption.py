"""Corruptions of frames and features; one generator, so that a stronger one harms all that a weaker one harms."""

import json
import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from mdmf.corruptions import FRAME_KINDS, KINDS, Corruption, parse_corruption
from mdmf.data.views.corruption import corrupt_features, corrupt_frames, corruption_generator, is_missing

FEATURE_KINDS = ("feature_noise", "drop", "freeze")
# corruption_generator(0, "v", "rgb").random(3), numpy 2.4.
FIRST_DRAWS = [0.011779198737518537, 0.07884431411977433, 0.875067057209984]


class Draws:
    """Stands in for a generator whose uniform draws are known."""

    def __init__(self, *draws: float) -> None:
        self.draws = draws

    def random(self, size: int | None = None) -> np.ndarray | float:
        if size is None:
            return self.draws[0]
        assert size == len(self.draws)
        return np.array(self.draws)


def rng(seed: int = 0) -> np.random.Generator:
    return corruption_generator(seed, "v", "rgb")


def some_frames(n: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 20, 30, 3), dtype=np.uint8)


def numbered(n_frames: int, dtype: type = np.float32) -> np.ndarray:
    """Feature t is (t, -t)."""
    return np.arange(n_frames)[:, None].astype(dtype) * np.array([1, -1], dtype)


def shown(features: np.ndarray) -> list[int]:
    """Which of the numbered frames stands at each place."""
    return features[:, 0].astype(int).tolist()


# What a corruption is called


@pytest.mark.parametrize(
    ("text", "strength", "back"),
    [
        ("noise:0.2", 0.2, "noise:0.2"),
        ("noise:1e-2", 0.01, "noise:0.01"),
        ("blur:3", 3.0, "blur:3"),
        ("feature_noise:1.50", 1.5, "feature_noise:1.5"),
        ("drop:1", 1.0, "drop:1"),
        ("freeze:.5", 0.5, "freeze:0.5"),
        ("missing:0", 0.0, "missing:0"),
        ("missing:-0", 0.0, "missing:0"),
    ],
)
def test_a_text_names_a_corruption_and_back(text, strength, back):
    corruption = parse_corruption(text)
    assert corruption == Corruption(text.split(":")[0], strength)
    assert str(corruption) == back
    assert parse_corruption(back) == corruption


def test_no_digit_of_a_strength_is_lost():
    for strength in (1 / 3, 1e-17, 12345678.9, 1e22):
        assert parse_corruption(str(Corruption("noise", strength))).strength == strength


def test_equal_strengths_are_one_corruption():
    assert str(Corruption("drop", 1)) == str(Corruption("drop", 1.0))
    assert {Corruption("drop", 1), Corruption("drop", 1.0)} == {Corruption("drop", np.float64(1))}


@pytest.mark.parametrize("text", ["", "noise", "noise:", "noise=0.2", ":", "noise:0.2:3", "noise:much", "noise:1_0"])
def test_refuses_another_form(text):
    with pytest.raises(ValueError, match=r"expected kind:strength, such as noise:0\.2"):
        parse_corruption(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noize:0.2", "unknown kind of corruption 'noize'; did you mean noise?"),
        ("feature-noise:0.2", "did you mean feature_noise?"),
        ("Blur:0.2", "did you mean blur?"),
        ("xyz:0.2", "expected one of ('noise', 'blur'"),
        (":0.2", "expected one of ('noise', 'blur'"),
        ("noise:nan", "the strength of noise must be finite and at least 0, got nan"),
        ("blur:inf", "the strength of blur must be finite and at least 0, got inf"),
        ("blur:1e999", "must be finite"),
        ("feature_noise:-0.1", "at least 0, got -0.1"),
        ("drop:1.01", "the strength of drop is a share, at most 1, got 1.01"),
        ("freeze:2", "the strength of freeze is a share"),
        ("missing:1.5", "the strength of missing is a share"),
    ],
)
def test_refuses_what_is_no_corruption_and_shows_the_text(text, message):
    with pytest.raises(ValueError, match="expected kind:strength") as error:
        parse_corruption(text)
    assert message in str(error.value)
    assert repr(text) in str(error.value)


# Random numbers


def test_draws_are_frozen():
    assert rng().random(3).tolist() == FIRST_DRAWS


def test_draws_are_the_same_in_another_process_that_loads_neither_torch_nor_pandas():
    code = (
        "import json, sys; from mdmf.data.views.corruption import corruption_generator as g; "
        "print(json.dumps([g(0, 'v', 'rgb').random(3).tolist(), sorted({'torch', 'pandas'} & set(sys.modules))]))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == [FIRST_DRAWS, []]


def test_draws_depend_on_seed_video_and_source():
    names = [(0, "v", "rgb"), (1, "v", "rgb"), (0, "w", "rgb"), (0, "v", "flow"), (0, "rgb", "v"), (0, "v\nrgb", "")]
    assert len({corruption_generator(*name).random() for name in names}) == len(names)
    assert corruption_generator(np.int64(0), "v", "rgb").random() == FIRST_DRAWS[0]


# Every kind


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_frames_stay_as_they_are_at_strength_0(kind):
    frames = some_frames()
    result = corrupt_frames(frames, Corruption(kind, 0), rng())
    np.testing.assert_array_equal(result, frames)
    assert not np.shares_memory(result, frames)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_features_stay_as_they_are_at_strength_0(kind, dtype):
    features = np.random.default_rng(1).standard_normal((5, 4)).astype(dtype)
    result = corrupt_features(features, Corruption(kind, 0), rng())
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, features)
    assert not np.shares_memory(result, features)


def test_nothing_is_missing_at_strength_0():
    assert not is_missing(Corruption("missing", 0), Draws(0.0))


@pytest.mark.parametrize(("kind", "strength"), [("noise", 0.3), ("blur", 10), ("noise", 1)])
def test_frames_are_changed_in_a_new_array_the_same_each_time(kind, strength):
    frames = some_frames()
    before = frames.copy()
    result = corrupt_frames(frames, Corruption(kind, strength), rng())
    assert result.shape == frames.shape
    assert result.dtype == np.uint8
    assert (result != frames).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(frames, before)
    np.testing.assert_array_equal(corrupt_frames(frames, Corruption(kind, strength), rng()), result)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_features_are_changed_in_a_new_array_the_same_each_time(kind, dtype):
    features = numbered(12, dtype)
    result = corrupt_features(features, Corruption(kind, 0.5), rng())
    assert result.shape == features.shape
    assert result.dtype == dtype
    assert (result != features).any()
    np.testing.assert_array_equal(features, numbered(12, dtype))
    np.testing.assert_array_equal(corrupt_features(features, Corruption(kind, 0.5), rng()), result)


@pytest.mark.parametrize("kind", ["drop", "freeze"])
@pytest.mark.parametrize("strength", [0, 0.3, 0.5, 0.7, 1])
def test_a_single_frame_can_neither_be_lost_nor_freeze(kind, strength):
    features = numbered(1) + 7
    np.testing.assert_array_equal(corrupt_features(features, Corruption(kind, strength), rng()), features)


# Noise on frames


def test_noise_by_hand():
    """Draws of 1, -1 and 0.51 with a standard deviation of 0.02 * 255 = 5.1."""

    class Normals:
        def standard_normal(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
            assert shape == (1, 1, 3)
            return np.array([[[1, -1, 0.51]]], dtype)

    frames = np.array([[[[10, 3, 254]]], [[[255, 100, 0]]]], np.uint8)
    expected = np.array([[[[15, 0, 255]]], [[[255, 95, 3]]]], np.uint8)  # 15.1, -2.1, 256.6; 260.1, 94.9, 2.6
    np.testing.assert_array_equal(corrupt_frames(frames, Corruption("noise", 0.02), Normals()), expected)


def test_noise_has_the_stated_spread_and_no_bias():
    frames = np.full((4, 100, 100, 3), 128, np.uint8)
    noise = corrupt_frames(frames, Corruption("noise", 0.05), rng()).astype(float) - 128
    expected = math.sqrt((0.05 * 255) ** 2 + 1 / 12)  # rounding adds 1/12
    assert noise.std() == pytest.approx(expected, rel=0.01)
    assert abs(noise.mean()) < 5 * expected / math.sqrt(noise.size)
    for axis in range(4):  # nothing is shared between frames, rows, columns or channels
        once, again = (np.take(noise, index, axis).ravel() for index in (0, 1))
        assert abs(np.corrcoef(once, again)[0, 1]) < 5 / math.sqrt(len(once))


def test_more_noise_moves_every_pixel_further_the_same_way():
    frames = np.full((2, 20, 20, 3), 128, np.uint8)
    moved = [
        corrupt_frames(frames, Corruption("noise", strength), rng()).astype(int) - 128
        for strength in (0.01, 0.02, 0.1, 0.5)
    ]
    for less, more in pairwise(moved):
        assert (np.abs(more) >= np.abs(less)).all()
        assert (np.sign(more) * np.sign(less) >= 0).all()


def test_noise_of_a_frame_does_not_depend_on_the_frames_after_it():
    frames = some_frames()
    noise = Corruption("noise", 0.2)
    np.testing.assert_array_equal(corrupt_frames(frames, noise, rng())[:1], corrupt_frames(frames[:1], noise, rng()))


# Blur


@pytest.mark.parametrize("shape", [(64, 96), (96, 64)])
def test_blur_is_in_percent_of_the_shortest_side(shape):
    """A line of light spreads to a Gaussian of σ = 64 * 5 / 100 = 3.2 pixels in each direction."""
    frames = np.zeros((1, *shape, 3), np.uint8)
    frames[:, shape[0] // 2, :] = 255
    profile = corrupt_frames(frames, Corruption("blur", 5), rng())[0, :, shape[1] // 2, 0].astype(float)
    places = np.arange(shape[0]) - shape[0] // 2
    assert math.sqrt((profile * places**2).sum() / profile.sum()) == pytest.approx(3.2, rel=0.06)
    gaussian = 255 * np.exp(-(places**2) / (2 * 3.2**2)) / (3.2 * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(profile, gaussian, atol=2.5)  # three box filters, cut to whole grey levels


def test_blur_leaves_flat_frames_and_mixes_neither_frames_nor_channels():
    frames = np.zeros((2, 20, 20, 3), np.uint8)
    frames[0], frames[1, ..., 1] = 200, 90
    np.testing.assert_array_equal(corrupt_frames(frames, Corruption("blur", 20), rng()), frames)


def test_stronger_blur_is_flatter():
    spreads = [
        corrupt_frames(some_frames(), Corruption("blur", strength), rng()).astype(float).std()
        for strength in (0, 2, 5, 10, 50)
    ]
    assert spreads == sorted(spreads, reverse=True)
    assert len(set(spreads)) == len(spreads)


# Noise on features


def test_feature_noise_by_hand():
    """Frames of length 5 and 10, D = 2: standard deviations of 2 * 5 / √2 and 2 * 10 / √2."""

    class Normals:
        def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
            assert shape == (2, 2)
            return np.array([[1.0, 0.0], [-1.0, 0.5]])

    result = corrupt_features(np.array([[3.0, 4.0], [6.0, 8.0]]), Corruption("feature_noise", 2), Normals())
    root = math.sqrt(2)
    np.testing.assert_allclose(result, [[3 + 10 / root, 4], [6 - 20 / root, 8 + 10 / root]], rtol=1e-12)


def test_feature_noise_of_strength_1_is_as_long_as_the_feature():
    features = np.random.default_rng(2).standard_normal((6, 4096)) * np.array([1, 2, 5, 10, 100, 1000])[:, None]
    for strength in (0.1, 1, 3):
        noise = corrupt_features(features, Corruption("feature_noise", strength), rng()) - features
        ratio = np.linalg.norm(noise, axis=1) / np.linalg.norm(features, axis=1)
        np.testing.assert_allclose(ratio, strength, rtol=0.06)


def test_feature_noise_grows_along_one_direction():
    features = numbered(4, np.float64) + 1
    weak, strong = (corrupt_features(features, Corruption("feature_noise", s), rng()) - features for s in (0.5, 2))
    np.testing.assert_allclose(strong, 4 * weak, rtol=1e-9)


def test_feature_noise_does_not_overflow_in_half_precision():
    features = np.full((2, 16), 1000, np.float16)  # its square is not a half precision number
    result = corrupt_features(features, Corruption("feature_noise", 0.1), rng())
    assert result.dtype == np.float16
    assert np.isfinite(result).all()


def test_a_feature_of_zeros_stays():
    assert not corrupt_features(np.zeros((3, 4), np.float32), Corruption("feature_noise", 1), rng()).any()


# Lost frames


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        (0.1, [0, 1, 2, 3, 4]),  # a draw equal to the strength loses nothing
        (0.2, [0, 1, 1, 3, 4]),
        (0.5, [1, 1, 1, 3, 3]),  # before the first seen frame, that frame
        (0.8, [3, 3, 3, 3, 3]),
        (1.0, [3, 3, 3, 3, 3]),  # all are lost: one is kept
    ],
)
def test_a_lost_frame_shows_the_last_one_seen(strength, expected):
    result = corrupt_features(numbered(5), Corruption("drop", strength), Draws(0.3, 0.6, 0.1, 0.9, 0.4))
    assert shown(result) == expected


def test_drop_agrees_with_a_loop():
    for seed in range(20):
        for strength in (0.2, 0.5, 0.9):
            lost = rng(seed).random(7) < strength
            if lost.all():
                continue
            expected, last = [], int(np.flatnonzero(~lost)[0])
            for place in range(7):
                last = last if lost[place] else place
                expected.append(last)
            assert shown(corrupt_features(numbered(7), Corruption("drop", strength), rng(seed))) == expected


def test_drop_loses_the_stated_share():
    """A place shows its own frame where it is seen; the one frame kept of a video without any hardly matters here."""
    own = [
        shown(corrupt_features(numbered(32), Corruption("drop", 0.3), rng(seed))) == np.arange(32)
        for seed in range(500)
    ]
    assert np.mean(own) == pytest.approx(0.7, abs=5 * math.sqrt(0.3 * 0.7 / (32 * 500)))


def test_any_frame_may_be_the_one_that_is_kept():
    kept = [shown(corrupt_features(numbered(4), Corruption("drop", 1), rng(seed))) for seed in range(2000)]
    assert all(len(set(places)) == 1 for places in kept)
    np.testing.assert_allclose(np.bincount([places[0] for places in kept]) / 2000, 0.25, atol=0.05)


def test_a_larger_strength_sees_a_part_of_what_a_smaller_one_sees():
    strengths = np.linspace(0, 1, 21)
    for seed in range(30):
        seen = [set(shown(corrupt_features(numbered(9), Corruption("drop", s), rng(seed)))) for s in strengths]
        assert all(more_lost <= less_lost for less_lost, more_lost in pairwise(seen))
        assert (len(seen[0]), len(seen[-1])) == (9, 1)


# Frozen video


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        (0.1, [0, 1, 2, 3, 4]),  # round(0.5) is 0
        (0.2, [0, 1, 2, 3, 3]),
        (0.5, [0, 1, 2, 2, 2]),  # round(2.5) is 2
        (0.6, [0, 1, 1, 1, 1]),
        (0.8, [0, 0, 0, 0, 0]),
        (1.0, [0, 0, 0, 0, 0]),
    ],
)
def test_from_some_frame_on_nothing_moves(strength, expected):
    assert shown(corrupt_features(numbered(5), Corruption("freeze", strength), rng())) == expected


# A missing source


def test_a_source_is_missing_below_the_strength():
    assert is_missing(Corruption("missing", 0.5), Draws(0.49))
    assert not is_missing(Corruption("missing", 0.5), Draws(0.5))
    assert is_missing(Corruption("missing", 1), Draws(np.nextafter(1, 0)))
    assert type(is_missing(Corruption("missing", 0.5), rng())) is bool


def test_sources_are_missing_at_the_stated_rate_and_stay_missing_at_larger_ones():
    missing = np.array(
        [[is_missing(Corruption("missing", s), rng(seed)) for s in (0.2, 0.5, 0.9)] for seed in range(1000)]
    )
    np.testing.assert_allclose(missing.mean(axis=0), [0.2, 0.5, 0.9], atol=0.06)
    assert (np.diff(missing.astype(int), axis=1) >= 0).all()


# Bad input


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in FRAME_KINDS])
def test_frames_refuse_the_other_kinds(kind):
    with pytest.raises(ValueError, match=rf"{kind}:0\.5 does not act on frames"):
        corrupt_frames(some_frames(), Corruption(kind, 0.5), rng())


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_features_refuse_kinds_of_frames_even_at_strength_0(kind):
    for strength in (0, 0.5):
        with pytest.raises(ValueError, match="acts on frames, before they are encoded"):
            corrupt_features(numbered(3), Corruption(kind, strength), rng())


def test_a_missing_source_has_no_features():
    with pytest.raises(ValueError, match="ask is_missing"):
        corrupt_features(numbered(3), Corruption("missing", 0.5), rng())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "missing"])
def test_only_missing_takes_a_source_away(kind):
    with pytest.raises(ValueError, match="only the kind 'missing'"):
        is_missing(Corruption(kind, 0.5), rng())


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 1), np.uint8),
        np.zeros((1, 4, 4, 3), np.float32),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((1, 0, 4, 3), np.uint8),
    ],
)
def test_refuses_what_are_no_frames(frames):
    for strength in (0, 0.5):
        with pytest.raises(ValueError, match=r"expected frames \(n, H, W, 3\) of uint8"):
            corrupt_frames(frames, Corruption("noise", strength), rng())


@pytest.mark.parametrize(
    "features",
    [
        np.zeros(4, np.float32),
        np.zeros((1, 4, 4), np.float32),
        np.zeros((4, 4), np.int64),
        np.zeros((0, 4), np.float32),
        np.zeros((4, 0), np.float32),
    ],
)
def test_refuses_what_are_no_features(features):
    with pytest.raises(ValueError, match=r"expected features \(T, D\) of a float type"):
        corrupt_features(features, Corruption("drop", 0.5), rng())
