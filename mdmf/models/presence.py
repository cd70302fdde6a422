"""Which videos of an episode have the features of a branch, and which queries the branch can answer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def videos_present(present: Mapping[str, Tensor], sources: Sequence[str]) -> Tensor | None:
    """Where a video has at least one of the sources; the others stand as zeros (early fusion).

    Args:
        present: source -> (...) bool; a source that is not named is present for every video.
        sources: those that a branch is given.

    Returns:
        (...) bool; None if every video has one.
    """
    known = [present[source] for source in sources if source in present]
    if len(known) < len(sources):
        return None
    return torch.stack(known).any(dim=0)


def query_usable(support_present: Tensor | None, query_present: Tensor | None, *, n_queries: int) -> Tensor | None:
    """Which queries can be answered: present ones, in episodes where every class has a present shot.

    Args:
        support_present: (E, N, K) bool, or None: all.
        query_present: (E, Q) bool, or None: all.
        n_queries: Q.

    Returns:
        (E, Q) bool; None: all.
    """
    if support_present is None:
        return query_present
    every_class = support_present.any(dim=2).all(dim=1)[:, None]  # (E, 1)
    return every_class.expand(-1, n_queries) if query_present is None else every_class & query_present
