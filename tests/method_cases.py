"""Small episodes and small methods: what the tests of methods, of the cache and of the story boards share."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mdmf.models.branch import Branch, Task, Tokens, logits_from_distance
from mdmf.models.build import build_model
from mdmf.models.method import Method
from mdmf.old_settings import with_settings
from mdmf.registry import METHODS
from mdmf.settings import MethodSettings, method_settings
from mdmf.structures import BranchOutput, Episode

SIZES = {"rgb": 8, "flow": 6}
N_TRAINING_CLASSES = 7
SMALL = {"hidden_size": 16, "n_heads": 2}
# `module` is what a method of the user's own is named in settings; tests/models/zoo/test_module.py has one.
TRAINED = [name for name in METHODS if METHODS[name].is_trained and name != "module"]
TRAINING_FREE = [name for name in METHODS if not METHODS[name].is_trained]
EARLY_FUSIONS = ["early_attention", "early_concat"]
SELECTING = ["amfar", "amfir"]  # they weigh their sources query by query
MULTI_SOURCE = [*SELECTING, "late_fusion", *EARLY_FUSIONS]


def random_episode(
    E: int = 2,
    N: int = 3,
    K: int = 2,
    T: int = 3,
    *,
    queries_per_class: int = 2,
    sizes: Mapping[str, int] = SIZES,
    seed: int = 0,
    n_classes: int = N_TRAINING_CLASSES,
) -> Episode:
    """With text of the size of rgb, and class ids among `n_classes`."""
    generator = torch.Generator().manual_seed(seed)
    Q = N * queries_per_class
    return Episode(
        support={source: torch.randn(E, N, K, T, D, generator=generator) * 3 for source, D in sizes.items()},
        query={source: torch.randn(E, Q, T, D, generator=generator) * 3 for source, D in sizes.items()},
        class_text=torch.randn(E, N, sizes["rgb"], generator=generator) * 3,
        query_labels=torch.arange(N).repeat_interleave(queries_per_class).expand(E, Q),
        class_ids=torch.stack([torch.randperm(n_classes, generator=generator)[:N] for _ in range(E)]),
        query_draws=torch.rand(E, Q, generator=generator),
    )


def small_settings_of(values: str | Mapping[str, Any]) -> MethodSettings:
    """Settings of a method, with small layers where it, or the method that it wraps, has such settings."""
    given = {"name": values} if isinstance(values, str) else dict(values)
    if "of" in given:
        return method_settings({**given, "of": small_settings_of(given["of"])})
    return method_settings({**with_settings(given["name"], SMALL), **given})


def small_method(
    name: str, *, sizes: Mapping[str, int] = SIZES, seed: int = 0, n_frames: int = 3, **settings: Any
) -> Method:
    """A method in evaluation mode, that knows the text of all training classes."""
    torch.manual_seed(seed)
    model = build_model(
        small_settings_of({"name": name, **settings}), feature_sizes=sizes, n_frames=n_frames, logit_scale=10.0
    ).eval()
    generator = torch.Generator().manual_seed(1)
    model.set_training_classes(torch.randn(N_TRAINING_CLASSES, sizes.get("rgb", 8), generator=generator))
    return model


def without(episode: Episode, source: str, *, shots=(), queries=()) -> Episode:
    """The episode without one source of these videos: shots (e, n, k) and queries (e, q)."""
    support, query = episode.support[source].clone(), episode.query[source].clone()
    support_present = torch.ones(support.shape[:3], dtype=torch.bool)
    query_present = torch.ones(query.shape[:2], dtype=torch.bool)
    for shot in shots:
        support[shot], support_present[shot] = 0, False
    for place in queries:
        query[place], query_present[place] = 0, False
    return replace(
        episode,
        support={**episode.support, source: support},
        query={**episode.query, source: query},
        support_present={**episode.support_present, source: support_present},
        query_present={**episode.query_present, source: query_present},
    )


def partly_missing(episode: Episode) -> Episode:
    """Of three episodes (K >= 2): one lacks flow of a shot and a query, one rgb of others, one flow of a whole class.

    Query 3 of the first episode has nothing at all.
    """
    K = episode.support["flow"].shape[2]
    lacking = without(
        episode, "flow", shots=[(0, 1, 0), *((2, 0, k) for k in range(K))], queries=[(0, 0), (0, 3), (1, 2)]
    )
    return without(lacking, "rgb", shots=[(1, 0, 1), (0, 1, 0)], queries=[(0, 3), (2, 1)])


def mapped(
    episode: Episode,
    *,
    support: Callable[[Tensor], Tensor] = lambda value: value,
    query: Callable[[Tensor], Tensor] = lambda value: value,
) -> Episode:
    """Every part of the episode that has (E, N, K) or (E, Q) in front, changed alike."""

    def each(values: dict[str, Tensor], change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return {source: change(value) for source, value in values.items()}

    return replace(
        episode,
        support=each(episode.support, support),
        query=each(episode.query, query),
        support_present=each(episode.support_present, support),
        query_present=each(episode.query_present, query),
        query_labels=query(episode.query_labels),
        query_draws=query(episode.query_draws),
    )


def single(episode: Episode, e: int) -> Episode:
    """One episode of a batch."""
    part = slice(e, e + 1)

    def of(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {source: value[part] for source, value in values.items()}

    return Episode(
        support=of(episode.support),
        query=of(episode.query),
        class_text=episode.class_text[part],
        query_labels=episode.query_labels[part],
        class_ids=episode.class_ids[part],
        query_draws=episode.query_draws[part],
        support_present=of(episode.support_present),
        query_present=of(episode.query_present),
    )


def with_classes_in_order(episode: Episode, order: list[int]) -> Episode:
    """The same episode, its classes in another order."""
    return replace(
        mapped(episode, support=lambda value: value[:, order]),
        class_text=episode.class_text[:, order],
        class_ids=None if episode.class_ids is None else episode.class_ids[:, order],
        query_labels=torch.tensor(order).argsort()[episode.query_labels],
    )


class Adapting(Branch):
    """A scale that is fitted to each episode's support by a step of gradient descent."""

    def __init__(self) -> None:
        super().__init__(sources=["rgb"])
        self.scale = nn.Parameter(torch.ones(()))

    def compare(self, support: Tokens, query: Tokens, task: Task) -> BranchOutput:
        prototypes = support["frames"].mean(2).mean(-2)  # (E, N, D)
        scale = self.scale.expand(len(prototypes), 1, 1)
        loss = (scale * prototypes).square().mean(dim=(1, 2)).sum()
        (gradient,) = torch.autograd.grad(loss, scale, create_graph=True)
        distance = torch.cdist((scale - 0.1 * gradient) * query["frames"].mean(-2), prototypes)
        return BranchOutput(logits_from_distance(distance))


class _AdaptingMethod(Method):
    adapts_at_test = True


def adapting_method() -> Method:
    """A method that needs gradients to answer."""
    return _AdaptingMethod({"rgb": Adapting()})
