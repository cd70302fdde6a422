import numpy as np
import pytest
from simulated_answers import answer, draw_episodes, fresh_episodes

from mdmf.studies import video_bootstrap
from mdmf.studies.video_bootstrap import (
    EpisodeVideos,
    _residuals,
    _spread_and_noise,
    _support_influence,
    estimate,
    student_over_normal,
)

FEW = {"n": 2000, "n_classes": 10, "n_videos": 24, "n_way": 5, "n_shot": 1, "n_query": 1}


def everything(values: np.ndarray) -> np.ndarray:
    return np.ones((1, *values.shape), dtype=bool)


def small_test(seed: int = 0, **sizes) -> tuple[np.ndarray, EpisodeVideos]:
    rng = np.random.default_rng(seed)
    asked = draw_episodes(
        rng, **({"n": 40, "n_classes": 4, "n_videos": 6, "n_way": 3, "n_shot": 2, "n_query": 2} | sizes)
    )
    return 100.0 * rng.integers(-1, 2, size=asked.query.shape), asked


def test_interval_over_episodes_by_hand():
    """Four episodes of two queries with mean differences 100, 0, 50, 50: 1.96·std/√4, std = √(5000/3)."""
    values = np.array([[100.0, 100.0], [0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    _, asked = small_test(n=4, n_way=2, n_query=1)
    (found,) = estimate(values, everything(values), asked)
    assert found.mean == 50
    assert found.episode_interval == pytest.approx(1.96 * np.sqrt(5000 / 3) / 2)


def test_mean_over_some_queries_has_the_interval_of_the_episodes_that_ask():
    """Class 0 is asked in three of four episodes, with differences 100, 0, 0."""
    classes = np.array([[0, 1], [1, 0], [1, 2], [0, 2]])
    values = np.array([[100.0, -100.0], [-100.0, 0.0], [100.0, -100.0], [0.0, 0.0]])
    videos = 10 * classes + np.arange(4)[:, None]
    asked = EpisodeVideos(classes, videos[..., None], videos + 5, np.tile([0, 1], (4, 1)))
    (found,) = estimate(values, (asked.query_classes == 0)[None], asked)
    assert found.mean == pytest.approx(100 / 3)
    assert found.episode_interval == pytest.approx(1.96 * np.std([100, 0, 0], ddof=1) / np.sqrt(3))


def test_influence_spread_and_noise_are_those_of_the_plain_sums():
    """All sums of the module, written as loops over episodes, queries and videos."""
    values, asked = small_test()
    n, n_way, n_shot = asked.support.shape
    of_video = asked.classes_of_videos()
    V = np.bincount(of_video)
    residuals = _residuals(values, everything(values)[0])
    adds = np.zeros((n, len(of_video)))  # what each episode adds to each video's influence
    for e in range(n):
        for q in range(asked.query.shape[1]):
            own = asked.class_ids[e, asked.labels[e, q]]
            adds[e, asked.query[e, q]] += residuals[e, q] * (V[own] - 1) / (V[own] - 1 - n_shot)
            for j in range(n_way):
                c = asked.class_ids[e, j]
                left = V[c] - 1 - n_shot if c == own else V[c] - n_shot
                for video in asked.support[e, j]:
                    adds[e, video] += residuals[e, q] * (V[c] - 1) / left
    influence, spread, noise = np.zeros(len(of_video)), np.zeros(len(V)), np.zeros(len(V))
    for c in range(len(V)):
        own_adds = adds[:, of_video == c] - adds[:, of_video == c].mean(axis=1, keepdims=True)
        influence[of_video == c] = own_adds.sum(axis=0) * np.sqrt(V[c] / (V[c] - 1))
        spread[c] = (own_adds.sum(axis=0) ** 2).sum() * V[c] / (V[c] - 1)
        noise[c] = n * own_adds.var(axis=0, ddof=1).sum() * V[c] / (V[c] - 1)
    own_scale = ((V - 1) / (V - 1 - n_shot))[asked.query_classes]
    found = _spread_and_noise(residuals * own_scale, _support_influence(residuals, asked, V), asked, of_video, V)
    for one, expected in zip(found, (influence, spread, noise), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-10, atol=1e-12)


def test_when_all_episodes_are_asked_the_influence_is_that_of_each_video_on_the_whole():
    """One class, 1 shot, every ordered pair of videos once: the mean of a + b is moved by each video's own a + b.

    The answer to query q with support s is a[q] + b[s]: then the mean over all pairs q ≠ s is mean(a) + mean(b), and a
    video's influence on it is (a[v] + b[v] - mean) / V, whatever is hidden by drawing without replacement.
    """
    a, b = np.array([3.0, -1.0, 4.0, 1.0, -5.0]), np.array([2.0, 7.0, -1.0, 8.0, 2.0])
    pairs = np.array([(q, s) for q in range(5) for s in range(5) if q != s])
    asked = EpisodeVideos(np.zeros((20, 1), int), pairs[:, 1, None, None], pairs[:, :1], np.zeros((20, 1), int))
    values = (a[pairs[:, 0]] + b[pairs[:, 1]])[:, None]
    residuals = _residuals(values, everything(values)[0])
    V = np.array([5])
    shares = _support_influence(residuals, asked, V)
    influence, spread, _ = _spread_and_noise(residuals * 4 / 3, shares, asked, np.zeros(5, int), V)
    expected = ((a + b) - (a + b).mean()) / 5
    np.testing.assert_allclose(influence, expected * np.sqrt(5 / 4))
    assert spread[0] == pytest.approx((a + b).var(ddof=1) / 5)  # the squared standard error of a mean of five


def test_classes_videos_and_episodes_may_be_numbered_in_any_order():
    values, asked = small_test(n=300)
    rng = np.random.default_rng(1)
    new_video, new_class, order = rng.permutation(24), rng.permutation(4), rng.permutation(300)
    renamed = EpisodeVideos(
        new_class[asked.class_ids][order],
        new_video[asked.support][order],
        new_video[asked.query][order],
        asked.labels[order],
    )
    (one,) = estimate(values, everything(values), asked, n_replicates=20_000)
    (other,) = estimate(values[order], everything(values), renamed, n_replicates=20_000)
    assert (other.mean, other.episode_interval) == pytest.approx((one.mean, one.episode_interval))
    width = one.high - one.low
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=0.03 * width)


def test_swapping_the_two_sides_mirrors_the_interval():
    values, asked = small_test(n=300)
    (one,) = estimate(values, everything(values), asked, n_replicates=20_000)
    (other,) = estimate(-values, everything(values), asked, n_replicates=20_000)
    assert other.mean == -one.mean
    assert (-other.high, -other.low) == pytest.approx((one.low, one.high), abs=0.03 * (one.high - one.low))


def test_the_interval_is_a_function_of_the_seed():
    values, asked = small_test()
    one = estimate(values, everything(values), asked, seed=3)
    assert one == estimate(values, everything(values), asked, seed=3)
    assert one != estimate(values, everything(values), asked, seed=4)


def test_no_difference_anywhere_is_an_interval_of_no_width():
    values, asked = small_test()
    (found,) = estimate(np.zeros_like(values), everything(values), asked)
    assert (found.mean, found.episode_interval, found.low, found.high) == (0, 0, 0, 0)


def test_too_few_videos_or_episodes_have_no_interval_over_videos():
    """2 shots and 2 queries of 4 videos: every episode of a class has all of them; of 3 + 1 it has 3 to each query."""
    values, asked = small_test(n_videos=4)
    assert estimate(values, everything(values), asked)[0].low is not None
    values, asked = small_test(n_videos=3, n_query=1)
    (found,) = estimate(values, everything(values), asked)
    assert (found.low, found.high) == (None, None)
    assert found.episode_interval > 0
    values, asked = small_test()
    once = np.zeros((1, *values.shape), dtype=bool)
    once[0, 0, 0] = True
    (found,) = estimate(values, once, asked)
    assert (found.low, found.high) == (None, None)
    assert found.episode_interval is None
    with pytest.raises(ValueError, match="a mean needs at least one query"):
        estimate(values, np.zeros_like(once), asked)


def test_the_chance_of_the_episodes_is_not_taken_for_the_videos():
    """Answers that no video has to do with: the interval is that over episodes, and a little for what is not known.

    Were the noise in the influences not taken off, each query would count for its 1 + N·K = 6 videos, and once more.
    """
    ratios = []
    for seed in range(8):
        values, asked = small_test(seed, n=2000, n_classes=10, n_videos=24, n_way=5, n_shot=1, n_query=1)
        (found,) = estimate(values, everything(values), asked, seed=seed)
        ratios.append((found.high - found.low) / 2 / found.episode_interval)
    assert 0.9 < np.median(ratios) < 1.4


def test_few_degrees_of_freedom_widen_the_interval(monkeypatch):
    values, asked = small_test()
    (one,) = estimate(values, everything(values), asked)
    asked_for = []
    monkeypatch.setattr(video_bootstrap, "student_over_normal", lambda degrees: asked_for.append(degrees) or 1.0)
    (normal,) = estimate(values, everything(values), asked)
    assert (one.high - one.low) / (normal.high - normal.low) == pytest.approx(student_over_normal(asked_for[0]))
    assert student_over_normal(asked_for[0]) > 1.01


@pytest.mark.parametrize(("degrees", "t"), [(5, 2.5706), (10, 2.2281), (20, 2.0860), (100, 1.9840), (1e9, 1.9600)])
def test_students_t(degrees, t):
    assert 1.959964 * student_over_normal(degrees) == pytest.approx(t, abs=4e-3)


def coverage(n_repetitions: int, draw, *, difference: float, n_classes: int = 10) -> dict[str, float]:
    """Percent of repetitions in which an interval holds the truth, or, if there is no difference, zero.

    The difference differs from class to class, between 0 and twice `difference` in units of the probit's noise.
    """
    held = {"episodes": 0, "videos": 0}
    classes = np.random.default_rng(0)
    base = 0.2 + 0.4 * classes.normal(size=n_classes)
    levels = np.stack([base, base + difference * np.linspace(0, 2, n_classes)])
    for repetition in range(n_repetitions):
        rng = np.random.default_rng([2, repetition])
        asked = draw(rng)
        reference, other, truth = answer(rng, asked, levels)
        assert (truth == 0) == (difference == 0)
        values = 100.0 * (other.astype(float) - reference)
        (found,) = estimate(values, everything(values), asked, n_replicates=1000, seed=repetition)
        held["episodes"] += abs(found.mean - truth) <= found.episode_interval
        held["videos"] += found.low <= truth <= found.high
    return {name: 100 * count / n_repetitions for name, count in held.items()}


@pytest.mark.slow
@pytest.mark.parametrize("difference", [0.2, 0.0])
def test_few_videos_asked_again_and_again_need_the_interval_over_videos(difference, short_form):
    """The bootstrap holds the truth in 93-97 % (so it excludes zero in 3-7 % where that is true); episodes never do."""
    n, tolerance = (40, 8) if short_form else (500, 2)
    held = coverage(n, lambda rng: draw_episodes(rng, **FEW), difference=difference)
    assert held["videos"] == pytest.approx(95, abs=tolerance)
    assert held["episodes"] < 70


@pytest.mark.slow
@pytest.mark.parametrize("difference", [0.2, 0.0])
def test_episodes_of_fresh_videos_need_no_more_than_the_interval_over_episodes(difference, short_form):
    """Both hold the truth in 93-97 %: the bootstrap takes nothing for the videos' that is the episodes' chance."""
    n, tolerance = (40, 8) if short_form else (500, 2)
    held = coverage(n, lambda rng: fresh_episodes(rng, n=120, n_classes=10, n_way=5), difference=difference)
    assert held["episodes"] == pytest.approx(95, abs=tolerance)
    assert held["videos"] == pytest.approx(95, abs=tolerance)


@pytest.mark.slow
def test_five_shots_and_few_episodes(short_form):
    """Where the noise of the episodes is largest against what videos do, the interval is not too narrow."""
    n, tolerance = (40, 8) if short_form else (500, 2)
    held = coverage(n, lambda rng: draw_episodes(rng, **(FEW | {"n_shot": 5})), difference=0.2)
    assert held["videos"] == pytest.approx(95, abs=tolerance)
    assert held["episodes"] < 70
