"""Intervals of means over test episodes, when thousands of episodes are drawn from the same few videos.

**The resampled unit is the video, within its class.** A test set has a few dozen videos per class, and 10,000 episodes
use each of them hundreds of times, as query and as support. The interval over episodes, 1.96·std/√n, is about other
episodes *of these videos*; with more episodes it becomes as small as one likes. The interval of this module is about
other videos of the same classes, in other episodes. Classes are not resampled: they are those of the test split, and 5
to 24 of them say little about classes in general. Videos are assumed to be independent: if several are cut from one
recording (the groups of HMDB51 and UCF101), the interval is too narrow.

Queries and support are crossed, not nested: the answer to one query depends on its video and on N·K support videos,
each of which serves many other queries, as support and as query. The steps:

1. *Influence.* The derivative of the mean by the weight of each video, in all its roles (infinitesimal jackknife, the
   Hájek projection of a U-statistic): the sum of the deviations from the mean of all queries that involve the video.
2. *Without replacement.* In an episode with a video, the other supports of its class and the query are other videos,
   which hides a part of its influence. Factors (V-1)/(V-1-K) for queries of its class and (V-1)/(V-K) for others, with
   V videos in the class, correct this.
3. *Noise.* Each query counts in the influence of all its 1 + N·K videos, so the variance due to the drawn episodes
   would count 1 + N·K times. This variance is known from the spread over episodes: it is subtracted, and added once, as
   the variance of the interval over episodes. The rest is at least the variance of query videos alone: with few
   episodes and many shots, a small difference of two large numbers would too often be zero.
4. *Replicates.* Videos are drawn with replacement within each class (multinomial weights). A replicate is the estimate,
   plus weights times influences, plus the noise of the episodes. The interval has the percentiles of the replicates,
   widened by the ratio of Student's t to the normal for the degrees of freedom of the variance (Satterthwaite).

Coverage of 95 % intervals on simulated tests of known truth, in percent of 500 repetitions (250 in the rows of 10,000
episodes): crossed effects of query videos, support videos, distractors, pairs of videos and classes, a probit model.
`tests/studies/test_video_bootstrap.py` has the same simulation and requires 93-97 %.

    classes × videos, way, shot, episodes    over episodes    over videos
    10 × 24,  5-way 1-shot,  2,000           52.6             95.0 (95.4 with no difference between the two)
    10 × 24,  5-way 1-shot, 10,000           26.4             95.6
    10 × 24,  5-way 5-shot,  2,000           49.8             94.4
    10 × 24,  5-way 5-shot, 10,000           25.2             96.0
    10 × 24,  5-way 5-shot,    300           80.8             95.8 (27 % too wide)
     5 ×  8,  5-way 5-shot,  2,000           22.4             93.8
     4 ×  4,  3-way 1-shot,  2,000           18.8             97.6 (too wide: so few videos)
     5 × 400, 5-way 1-shot,    300           92.0             93.6 (videos are rarely repeated)

Rejected alternatives, in the first row: resampling query videos alone, 87 %, since support videos vary too; influences
without step 3, 99 %; with step 3 but without step 2, 94 % (84 % in the row of 5 shots); and product weights,
w(query)·Πw(support), Owen's pigeonhole bootstrap, 100 % with an interval 2.8 times too wide (100 repetitions): most of
its spread is noise under a product of six weights, of which 94 % are zero. With 5 shots a product has 26 factors, and
almost none of the sample is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdmf.results import EpisodeVideos
from mdmf.statistics import Z

_QUANTILE = 1.959964  # 97.5 % quantile of the normal distribution
# Below this, the least variance of step 3 already widens the interval; both together made it 1.6 times too wide (300
# episodes, 5 shots).
_LEAST_DEGREES = 20.0


@dataclass(frozen=True)
class Estimate:
    """A mean over queries with its intervals.

    Attributes:
        mean: mean of the values.
        episode_interval: half the width of the 95 % interval over episodes (1.96·std/√n for a mean over all queries);
            None if fewer than two episodes have such a query.
        low, high: ends of the 95 % interval over videos; None if it is unknown (see `estimate`).
    """

    mean: float
    episode_interval: float | None
    low: float | None
    high: float | None


def estimate(
    values: np.ndarray,
    masks: np.ndarray,
    videos: EpisodeVideos,
    *,
    n_replicates: int = 2000,
    seed: int = 0,
) -> list[Estimate]:
    """Means of values over subsets of the queries, each with its intervals over episodes and over videos.

    Args:
        values: (n, Q), such as 100·(right - reference is right).
        masks: (S, n, Q) bool, the queries of each mean, at least one.
        videos: videos of the episodes.
        n_replicates: replicates of the bootstrap; all means share the drawn videos.
        seed: seed of the bootstrap.

    Returns:
        S estimates. There is no interval over videos if fewer than two episodes have a query of the mask, or a class
        has fewer than K + 2 videos: every episode with a query of it would have all of them, and their influences could
        not be told apart.

    Raises:
        ValueError: for a mask without a query.
    """
    if not masks.any(axis=(1, 2)).all():
        raise ValueError("a mean needs at least one query, and a mask has none")
    means = [float(values[mask].mean()) for mask in masks]
    variances = [_episode_variance(_residuals(values, mask), mask) for mask in masks]
    halves = [None if np.isnan(variance) else Z * float(np.sqrt(variance)) for variance in variances]
    classes = videos.classes_of_videos()
    n_videos = np.bincount(classes[classes >= 0], minlength=int(videos.class_ids.max()) + 1)
    if (n_videos[np.unique(videos.class_ids)] < videos.support.shape[2] + 2).any():
        return [Estimate(mean, half, None, None) for mean, half in zip(means, halves, strict=True)]
    rng = np.random.default_rng(seed)
    parts = [
        _video_part(_residuals(values, mask), variance, videos, classes, n_videos)
        for mask, variance in zip(masks, variances, strict=True)
    ]
    influences = np.stack([influence for influence, _ in parts], axis=1)  # (V, S)
    shifts = _replicates(influences, classes, n_replicates, rng)  # (R, S)
    shifts += rng.normal(size=shifts.shape) * np.sqrt(variances)
    shifts *= [widening for _, widening in parts]
    ends = (np.quantile(shifts, [0.025, 0.975], axis=0) + means).T.tolist()
    return [
        Estimate(mean, half, *(end if half is not None else (None, None)))
        for mean, half, end in zip(means, halves, ends, strict=True)
    ]


def _residuals(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(n, Q), contribution of each query to the error of the mean; the sum is zero."""
    return np.where(mask, values - values[mask].mean(), 0.0) / mask.sum()


def _episode_variance(residuals: np.ndarray, mask: np.ndarray) -> float:
    """Variance of the mean over other episodes of the same videos; NaN if fewer than two episodes have a query."""
    n_episodes = int(mask.any(axis=1).sum())
    return float((residuals.sum(axis=1) ** 2).sum() * n_episodes / (n_episodes - 1)) if n_episodes > 1 else float("nan")


def _video_part(
    residuals: np.ndarray, episode_variance: float, videos: EpisodeVideos, classes: np.ndarray, n_videos: np.ndarray
) -> tuple[np.ndarray, float]:
    """(V,) influences scaled to the variance over videos, and the factor that widens the replicates."""
    support = _support_influence(residuals, videos, n_videos)  # (n, N)
    scale = _same_class_scale(videos, n_videos)
    query = residuals * np.take_along_axis(scale, videos.labels, axis=1)
    influence, spread, noise = _spread_and_noise(query, support, videos, classes, n_videos)
    _, query_spread, query_noise = _spread_and_noise(residuals, np.zeros_like(support), videos, classes, n_videos)
    video_variance = max(0.0, float((spread - noise).sum()), float((query_spread - query_noise).sum()))
    total = video_variance + episode_variance
    if not total > 0 or spread.sum() == 0:  # all values are equal, or a single episode has a query (NaN)
        return np.zeros_like(influence), 1.0
    degrees = max(
        _degrees(total, spread, episode_variance, n_videos, len(residuals)),
        min(_LEAST_DEGREES, _degrees(total, spread - noise, episode_variance, n_videos, len(residuals))),
    )
    return influence * np.sqrt(video_variance / spread.sum()), student_over_normal(degrees)


def _degrees(total: float, spread: np.ndarray, episode_variance: float, n_videos: np.ndarray, n_episodes: int) -> float:
    """Satterthwaite's degrees of freedom of a variance `total` with parts `spread` (C,) and `episode_variance`."""
    of_classes = (spread**2 / np.maximum(n_videos - 1, 1)).sum()
    return float(total**2 / (of_classes + episode_variance**2 / (n_episodes - 1)))


def _same_class_scale(videos: EpisodeVideos, n_videos: np.ndarray) -> np.ndarray:
    """(n, N), factor of step 2 for queries of the class."""
    n = n_videos[videos.class_ids]
    return (n - 1) / (n - 1 - videos.support.shape[2])


def _support_influence(residuals: np.ndarray, videos: EpisodeVideos, n_videos: np.ndarray) -> np.ndarray:
    """(n, N), contribution of an episode's queries to the influence of each support video of a class."""
    n_episodes, n_way, n_shot = videos.support.shape
    place = videos.labels + n_way * np.arange(n_episodes)[:, None]
    same_class = np.bincount(place.ravel(), weights=residuals.ravel(), minlength=n_episodes * n_way).reshape(-1, n_way)
    other_classes = residuals.sum(axis=1, keepdims=True) - same_class
    n = n_videos[videos.class_ids]
    return same_class * _same_class_scale(videos, n_videos) + other_classes * (n - 1) / (n - n_shot)


def _spread_and_noise(
    query: np.ndarray, support: np.ndarray, videos: EpisodeVideos, classes: np.ndarray, n_videos: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Influence of each video, its variance by class, and the part of the variance that is due to the drawn episodes.

    Args:
        query: (n, Q), contribution of each query to the influence of its video.
        support: (n, N), contribution of each episode to the influence of each support video of a class.

    Returns:
        (V,) influences, centred within each class; (C,) their spread; (C,) its expectation if all videos were equal.
    """
    n_episodes, n_way, n_shot = videos.support.shape
    each = np.repeat(support[..., None], n_shot, axis=2)
    influence = np.bincount(videos.query.ravel(), weights=query.ravel(), minlength=len(classes))
    influence += np.bincount(videos.support.ravel(), weights=each.ravel(), minlength=len(classes))
    used, n_classes = classes >= 0, len(n_videos)
    sums = np.bincount(classes[used], weights=influence[used], minlength=n_classes)
    influence = np.where(used, influence - (sums / np.maximum(n_videos, 1))[classes], 0.0)
    unbiased = n_videos / np.maximum(n_videos - 1, 1)  # (C,): the mean of the class is subtracted
    squares = np.bincount(classes[used], weights=influence[used] ** 2, minlength=n_classes)
    place = (videos.labels + n_way * np.arange(n_episodes)[:, None]).ravel()
    query_sums, query_squares = (
        np.bincount(place, weights=weights.ravel(), minlength=n_episodes * n_way).reshape(-1, n_way)
        for weights in (query, query**2)
    )
    of_class = n_shot * support**2 + query_squares
    of_class -= (n_shot * support + query_sums) ** 2 / n_videos[videos.class_ids]  # centred like the influences
    noise = np.bincount(videos.class_ids.ravel(), weights=of_class.ravel(), minlength=n_classes)
    noise = (noise - squares / n_episodes) * n_episodes / (n_episodes - 1)
    return influence * np.sqrt(unbiased)[classes], squares * unbiased, noise * unbiased


def _replicates(influences: np.ndarray, classes: np.ndarray, n_replicates: int, rng: np.random.Generator) -> np.ndarray:
    """(V, S) influences -> (R, S), change of each mean when the videos of every class are resampled."""
    shifts = np.zeros((n_replicates, influences.shape[1]))
    for number in np.unique(classes[classes >= 0]):  # class by class, to save memory
        of_class = influences[classes == number]
        weights = rng.multinomial(len(of_class), np.full(len(of_class), 1 / len(of_class)), size=n_replicates)
        shifts += (weights - 1) @ of_class
    return shifts


def student_over_normal(degrees: float) -> float:
    """Ratio of the 97.5 % quantiles of Student's t and the normal distribution (Cornish-Fisher; at least 4 degrees)."""
    degrees = max(degrees, 4.0)
    z = _QUANTILE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return 1 + (first / degrees + second / degrees**2 + third / degrees**3) / z
