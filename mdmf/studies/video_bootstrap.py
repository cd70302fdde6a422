"""What a mean over test episodes is worth when the same few videos come back in thousands of them.

**The unit that is drawn again is the video, within its class.** A test set has a few dozen videos a class, and 10,000
episodes use each of them hundreds of times, as query and as support. The interval over episodes, 1.96·std/√n, says what
other episodes *of these videos* would give; more episodes make it as small as one likes. The interval here says what
other videos of the same classes would give, in other episodes. The classes are not drawn: they are those of the test
split, and 5 to 24 of them would say little of classes in general. Videos count as independent of each other: where
several are cut from one recording (the groups of HMDB51 and UCF101), the interval is too narrow.

Queries and support are crossed, not nested: the answer to one query depends on its video and on N·K support videos,
each of which serves many other queries, as support and as query. How it is done:

1. *Influence.* The first order of the mean in the weight of each video, in all its roles (infinitesimal jackknife, the
   Hájek projection of a U-statistic): the sum of what the queries that involve the video lie above the mean.
2. *Without replacement.* In an episode that has a video, the class's other supports and the query are other videos:
   this hides a part of its influence. Factors (V-1)/(V-1-K) for queries of its class and (V-1)/(V-K) for others, with
   V videos in the class, make up for it.
3. *Noise.* Each query is counted in the influence of all its 1 + N·K videos, so the chance of which episodes were drawn
   would be counted 1 + N·K times. Its share is known from the spread over episodes: it is taken off, and put back once,
   as the variance of the interval over episodes. What is left is never taken to be less than what query videos alone
   show: with few episodes and many shots, a small difference of two large numbers would too often be zero.
4. *Replicates.* Videos are drawn with replacement within each class (multinomial weights). A replicate is the estimate,
   plus weights times influences, plus the noise of the episodes; the interval is that of the replicates' percentiles,
   widened by Student's t over the normal for the degrees of freedom that the variance has (Satterthwaite).

Coverage of 95 % intervals on simulated tests of known truth, in percent of 500 repetitions (250 in the rows of 10,000
episodes): crossed effects of query videos, support videos, distractors, pairs of videos and classes, a probit model.
`tests/studies/test_video_bootstrap.py` has the same simulation and holds it to 93-97 %.

    classes × videos, way, shot, episodes    over episodes    as done here
    10 × 24,  5-way 1-shot,  2,000           52.6             95.0 (95.4 with no difference between the two)
    10 × 24,  5-way 1-shot, 10,000           26.4             95.6
    10 × 24,  5-way 5-shot,  2,000           49.8             94.4
    10 × 24,  5-way 5-shot, 10,000           25.2             96.0
    10 × 24,  5-way 5-shot,    300           80.8             95.8 (27 % wider than it need be)
     5 ×  8,  5-way 5-shot,  2,000           22.4             93.8
     4 ×  4,  3-way 1-shot,  2,000           18.8             97.6 (too wide: so few videos)
     5 × 400, 5-way 1-shot,    300           92.0             93.6 (videos hardly come back)

What was tried and left, in the first row: query videos drawn alone 87 %, since support videos vary too; influences with
the noise left in 99 %; with it taken off, but without step 2, 94 % (in the row of 5 shots 84 %); and product weights,
w(query)·Πw(support), Owen's pigeonhole bootstrap, 100 % with an interval 2.8 times too wide (100 repetitions): most of
its spread is that of the noise under a product of six weights, of which 94 % are zero. With 5 shots a product has 26
factors, and next to nothing is left of the sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdmf.results import EpisodeVideos

Z = 1.959964  # of the normal distribution: 95 % lie within
# Where the noise of the episodes would leave fewer degrees of freedom, the least variance of step 3 widens the interval
# already; both together gave one of 1.6 times the right width (300 episodes, 5 shots).
_LEAST_DEGREES = 20.0


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, and what it is worth.

    Attributes:
        mean: of the values asked for.
        episode_interval: half the width of the 95 % interval over episodes (1.96·std/√n for a mean over all queries);
            not a number where fewer than two episodes ask.
        low, high: the 95 % interval over videos; None where it cannot be said (see `estimate`).
    """

    mean: float
    episode_interval: float
    low: float | None
    high: float | None


def estimate(
    values: np.ndarray,
    masks: np.ndarray,
    asked: EpisodeVideos,
    *,
    n_replicates: int = 2000,
    seed: int = 0,
) -> list[Estimate]:
    """Means of values over some of the queries, each with its intervals over episodes and over videos.

    Args:
        values: (n, Q), such as 100·(right - reference is right).
        masks: (S, n, Q) bool, a row per mean: the queries that it is over, at least one.
        n_replicates: of the bootstrap; all means see the same drawn videos.

    Returns:
        A list of S. No interval over videos where fewer than two episodes ask, or a class has fewer than K + 2 videos:
        every episode with a query of it would hold all of them, and none could be told from the others.

    Raises:
        ValueError: for a mask without a query.
    """
    if not masks.any(axis=(1, 2)).all():
        raise ValueError("a mean needs at least one query, and a mask has none")
    means = [float(values[mask].mean()) for mask in masks]
    spreads = [_episode_variance(_residuals(values, mask), mask) for mask in masks]
    halves = [1.96 * float(np.sqrt(variance)) for variance in spreads]
    classes = asked.classes_of_videos()
    n_videos = np.bincount(classes[classes >= 0], minlength=int(asked.class_ids.max()) + 1)
    if (n_videos[np.unique(asked.class_ids)] < asked.support.shape[2] + 2).any():
        return [Estimate(mean, half, None, None) for mean, half in zip(means, halves, strict=True)]
    rng = np.random.default_rng(seed)
    parts = [
        _video_part(_residuals(values, mask), variance, asked, classes, n_videos)
        for mask, variance in zip(masks, spreads, strict=True)
    ]
    influences = np.stack([influence for influence, _ in parts], axis=1)  # (V, S)
    shifts = _drawn_again(influences, classes, n_replicates, rng)  # (R, S)
    shifts += rng.normal(size=shifts.shape) * np.sqrt(spreads)
    shifts *= [widening for _, widening in parts]
    ends = (np.quantile(shifts, [0.025, 0.975], axis=0) + means).T.tolist()
    return [
        Estimate(mean, half, *(end if half == half else (None, None)))
        for mean, half, end in zip(means, halves, ends, strict=True)
    ]


def _residuals(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(n, Q) what each query adds to the mean's error; they sum to zero."""
    return np.where(mask, values - values[mask].mean(), 0.0) / mask.sum()


def _episode_variance(residuals: np.ndarray, mask: np.ndarray) -> float:
    """Of the mean, if other episodes of the same videos had been drawn."""
    n_asking = int(mask.any(axis=1).sum())
    return float((residuals.sum(axis=1) ** 2).sum() * n_asking / (n_asking - 1)) if n_asking > 1 else float("nan")


def _video_part(
    residuals: np.ndarray, episode_variance: float, asked: EpisodeVideos, classes: np.ndarray, n_videos: np.ndarray
) -> tuple[np.ndarray, float]:
    """(V,) influences as they are drawn with, and by how much replicates are widened."""
    support = _support_shares(residuals, asked, n_videos)  # (n, N)
    own_scale = _own_scale(asked, n_videos)
    query = residuals * np.take_along_axis(own_scale, asked.labels, axis=1)
    influence, spread, noise = _spread_and_noise(query, support, asked, classes, n_videos)
    nothing = np.zeros_like(support)
    _, query_spread, query_noise = _spread_and_noise(residuals, nothing, asked, classes, n_videos)
    of_videos = max(0.0, float((spread - noise).sum()), float((query_spread - query_noise).sum()))
    total = of_videos + episode_variance
    if not total > 0 or spread.sum() == 0:  # nothing differs, or a single episode asks
        return np.zeros_like(influence), 1.0
    degrees = max(
        _degrees(total, spread, episode_variance, n_videos, len(residuals)),
        min(_LEAST_DEGREES, _degrees(total, spread - noise, episode_variance, n_videos, len(residuals))),
    )
    return influence * np.sqrt(of_videos / spread.sum()), student_over_normal(degrees)


def _degrees(total: float, spread: np.ndarray, episode_variance: float, n_videos: np.ndarray, n_episodes: int) -> float:
    """Satterthwaite's degrees of freedom of a variance `total`, to which each class's spread (C,) adds."""
    of_classes = (spread**2 / np.maximum(n_videos - 1, 1)).sum()
    return float(total**2 / (of_classes + episode_variance**2 / (n_episodes - 1)))


def _own_scale(asked: EpisodeVideos, n_videos: np.ndarray) -> np.ndarray:
    """(n, N): a video's influence on queries of its class, over what is left of it when none is drawn twice."""
    n = n_videos[asked.class_ids]
    return (n - 1) / (n - 1 - asked.support.shape[2])


def _support_shares(residuals: np.ndarray, asked: EpisodeVideos, n_videos: np.ndarray) -> np.ndarray:
    """(n, N): what each support video of a class has to do with its episode's queries, of its class and of others."""
    n_episodes, n_way, n_shot = asked.support.shape
    place = asked.labels + n_way * np.arange(n_episodes)[:, None]
    own = np.bincount(place.ravel(), weights=residuals.ravel(), minlength=n_episodes * n_way).reshape(-1, n_way)
    others = residuals.sum(axis=1, keepdims=True) - own
    n = n_videos[asked.class_ids]
    return own * _own_scale(asked, n_videos) + others * (n - 1) / (n - n_shot)


def _spread_and_noise(
    query: np.ndarray, support: np.ndarray, asked: EpisodeVideos, classes: np.ndarray, n_videos: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Influence of each video, its variance by class, and how much of that is the chance of the episodes.

    Args:
        query: (n, Q) what each query adds to the influence of its video.
        support: (n, N) what each episode adds to the influence of each support video of a class.

    Returns:
        (V,) influences, centred within each class; (C,) their spread; (C,) its expectation if all videos were alike.
    """
    n_episodes, n_way, n_shot = asked.support.shape
    each = np.repeat(support[..., None], n_shot, axis=2)
    influence = np.bincount(asked.query.ravel(), weights=query.ravel(), minlength=len(classes))
    influence += np.bincount(asked.support.ravel(), weights=each.ravel(), minlength=len(classes))
    used, n_classes = classes >= 0, len(n_videos)
    sums = np.bincount(classes[used], weights=influence[used], minlength=n_classes)
    influence = np.where(used, influence - (sums / np.maximum(n_videos, 1))[classes], 0.0)
    unbiased = n_videos / np.maximum(n_videos - 1, 1)  # (C,): a class's own mean was taken off
    squares = np.bincount(classes[used], weights=influence[used] ** 2, minlength=n_classes)
    place = (asked.labels + n_way * np.arange(n_episodes)[:, None]).ravel()
    query_sums, query_squares = (
        np.bincount(place, weights=weights.ravel(), minlength=n_episodes * n_way).reshape(-1, n_way)
        for weights in (query, query**2)
    )
    of_class = n_shot * support**2 + query_squares
    of_class -= (n_shot * support + query_sums) ** 2 / n_videos[asked.class_ids]  # centred like the influences
    noise = np.bincount(asked.class_ids.ravel(), weights=of_class.ravel(), minlength=n_classes)
    noise = (noise - squares / n_episodes) * n_episodes / (n_episodes - 1)
    return influence * np.sqrt(unbiased)[classes], squares * unbiased, noise * unbiased


def _drawn_again(
    influences: np.ndarray, classes: np.ndarray, n_replicates: int, rng: np.random.Generator
) -> np.ndarray:
    """(V, S) influences -> (R, S): how far each mean moves when the videos of every class are drawn again."""
    shifts = np.zeros((n_replicates, influences.shape[1]))
    for number in np.unique(classes[classes >= 0]):  # class by class: R x V weights are never there at once
        own = influences[classes == number]
        weights = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=n_replicates)
        shifts += (weights - 1) @ own
    return shifts


def student_over_normal(degrees: float) -> float:
    """How much wider a 95 % interval of Student's t is than the normal one (Cornish-Fisher; below 4 counts as 4)."""
    degrees = max(degrees, 4.0)
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return 1 + (first / degrees + second / degrees**2 + third / degrees**3) / Z
