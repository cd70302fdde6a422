"""Tests of two models with a known difference: who is right depends on crossed effects of the videos."""

from math import erf, sqrt

import numpy as np

from mdmf.results import EpisodeVideos

QUERY, SUPPORT, DISTRACTOR, PAIR = 0.6, 0.6, -0.3, 0.4  # standard deviations of effects; a probit's noise has 1
SHARED = 0.5  # of the variance of videos and of the noise is common to both models


def draw_episodes(
    rng: np.random.Generator, *, n: int, n_classes: int, n_videos: int, n_way: int, n_shot: int, n_query: int
) -> EpisodeVideos:
    """n episodes of `n_videos` videos a class; none is twice in an episode."""
    classes = rng.random((n, n_classes)).argsort(axis=1)[:, :n_way]
    videos = rng.random((n, n_way, n_videos)).argsort(axis=2)[:, :, : n_shot + n_query] + n_videos * classes[..., None]
    labels = np.broadcast_to(np.repeat(np.arange(n_way), n_query), (n, n_way * n_query))
    return EpisodeVideos(classes, videos[:, :, :n_shot], videos[:, :, n_shot:].reshape(n, -1), labels)


def fresh_episodes(rng: np.random.Generator, *, n: int, n_classes: int, n_way: int) -> EpisodeVideos:
    """n 1-shot episodes of one query per class; no video ever comes back."""
    classes = rng.random((n, n_classes)).argsort(axis=1)[:, :n_way]
    numbers = np.arange(2 * n * n_way).reshape(2, n, n_way)
    labels = np.broadcast_to(np.arange(n_way), (n, n_way))
    return EpisodeVideos(classes, numbers[0][..., None], numbers[1], labels)


def _mixed(rng: np.random.Generator, common: np.ndarray) -> np.ndarray:
    """One model's share of an effect that both models know."""
    return sqrt(SHARED) * common + sqrt(1 - SHARED) * rng.normal(size=common.shape)


def answer(rng: np.random.Generator, asked: EpisodeVideos, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """What two models answer, and the true difference of their accuracies over all videos of these classes.

    A query is right if its class's level, the ease of its video, the quality of the support of its class and of the
    others, how query and support go together, and noise sum to more than zero. A video is the same as query and as
    support: what is easy is a good example too. All is normal, so each class's accuracy is known: Phi(level / σ).

    Args:
        levels: (2, C), of each model and class.

    Returns:
        (n, Q) bool of each model, and the second's accuracy less the first's in percent points.
    """
    n_videos = 1 + int(max(asked.support.max(), asked.query.max()))
    n_shot, n_way = asked.support.shape[2], asked.class_ids.shape[1]
    common = [rng.normal(size=n_videos), rng.normal(size=n_videos), rng.normal(size=asked.query.shape)]
    own_support = np.take_along_axis(asked.support[..., 0], asked.labels, axis=1)
    right, percents = [], []
    for level in levels:
        ease = _mixed(rng, common[0])
        quality = 0.5 * ease + sqrt(0.75) * _mixed(rng, common[1])
        by_class = quality[asked.support].mean(axis=2)  # (n, N)
        own = np.take_along_axis(by_class, asked.labels, axis=1)
        others = (by_class.sum(axis=1, keepdims=True) - own) / (n_way - 1)
        score = level[asked.query_classes] + QUERY * ease[asked.query] + SUPPORT * own + DISTRACTOR * others
        score += PAIR * _of_pairs(rng, asked.query, own_support) + _mixed(rng, common[2])
        right.append(score > 0)
        variance = 1 + QUERY**2 + SUPPORT**2 / n_shot + DISTRACTOR**2 / (n_shot * (n_way - 1)) + PAIR**2
        percents.append(np.mean([50 * (1 + erf(one / sqrt(2 * variance))) for one in level]))
    return right[0], right[1], float(percents[1] - percents[0])


def _of_pairs(rng: np.random.Generator, query: np.ndarray, support: np.ndarray) -> np.ndarray:
    """(n, Q) a normal number for each pair of videos, the same whenever the pair comes back."""
    _, place = np.unique(query.ravel() * (1 + support.max()) + support.ravel(), return_inverse=True)
    return rng.normal(size=place.max() + 1)[place].reshape(query.shape)
