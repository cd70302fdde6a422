"""Episodes: the videos of few-shot task i, as a function of (seed, split, i) alone.

Every episode uses the same number of values of a counter-based stream (Philox): `sampler[i]` needs no earlier episode,
a batch is one block of the stream, and results do not depend on the number of workers or processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Self

import numpy as np

_WORDS_PER_COUNT = 4  # 64-bit words per step of the Philox counter


@dataclass(frozen=True)
class EpisodeRows:
    """A batch of episodes as row numbers of the video table.

    Attributes:
        class_ids: (E, N), index in the class list of the split.
        support_rows: (E, N, K).
        query_rows: (E, Q), queries in class order.
        query_labels: (E, Q), 0..N-1.
        support_variants, query_variants: index of the stored variant of each video, shaped like the rows.
        query_draws: (E, Q), a uniform number in [0, 1) for each query.
    """

    class_ids: np.ndarray
    support_rows: np.ndarray
    query_rows: np.ndarray
    query_labels: np.ndarray
    support_variants: np.ndarray
    query_variants: np.ndarray
    query_draws: np.ndarray

    def __len__(self) -> int:
        return len(self.class_ids)

    def part(self, start: int, stop: int) -> Self:
        """Episodes start … stop - 1 of the batch."""
        return type(self)(*(getattr(self, field.name)[start:stop] for field in fields(self)))


def _stream_key(seed: int, split: str) -> np.ndarray:
    return np.frombuffer(sha256(f"mdmf episodes/{seed}/{split}".encode()).digest()[:16], dtype="<u8").astype(np.uint64)


def _below(words: np.ndarray, bound: np.ndarray | int) -> np.ndarray:
    """Uniform integers in [0, bound) from 64-bit words, by integer arithmetic: the same on every machine."""
    return (((words >> np.uint64(32)) * np.asarray(bound, dtype=np.uint64)) >> np.uint64(32)).astype(np.int64)


def _below_outside(words: np.ndarray, bound: np.ndarray | int, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Uniform integers in [0, bound) outside the excluded ranges.

    Args:
        words: (...) 64-bit words.
        bound: (...) or a number.
        starts: (..., M), first member of each excluded range; the ranges must not overlap.
        lengths: (..., M), size of each; 0 excludes nothing.

    Returns:
        (...) int64.
    """
    order = np.argsort(starts, axis=-1, kind="stable")
    starts, lengths = np.take_along_axis(starts, order, -1), np.take_along_axis(lengths, order, -1)
    value = _below(words, bound - lengths.sum(axis=-1))
    for k in range(starts.shape[-1]):
        value += np.where(value >= starts[..., k], lengths[..., k], 0)
    return value


def _distinct(words: np.ndarray, bound: np.ndarray | int) -> np.ndarray:
    """Draws without replacement: words (..., M) -> distinct integers (..., M) in [0, bound)."""
    chosen = np.empty(words.shape, dtype=np.int64)
    for m in range(words.shape[-1]):
        earlier = chosen[..., :m]
        chosen[..., m] = _below_outside(words[..., m], bound, earlier, np.ones_like(earlier))
    return chosen


@dataclass(frozen=True)
class EpisodeRequest:
    """The size of episodes, and the seed of their stream: N, K, queries per class."""

    n_way: int
    n_shot: int
    n_query: int
    seed: int = 0


class EpisodeSampler:
    """Samples episodes from the videos of one split.

    Args:
        class_ids: (V,), index of the class of each row of the video table; -1 for videos of other splits and videos
            that cannot be used.
        class_names: the classes of the split in order.
        n_way, n_shot, n_query: N, K and queries per class.
        seed, split: seed and name of the stream of episodes.
        groups: (V,) group numbers: no group is in both support and query of a class; None: no such rule.
        n_variants: number of stored variants to sample from; with 1, always the test view.

    Raises:
        ValueError: if a class has too few videos, or the split too few classes; the message lists the classes.
    """

    def __init__(
        self,
        class_ids: np.ndarray,
        *,
        class_names: Sequence[str],
        n_way: int,
        n_shot: int,
        n_query: int,
        seed: int,
        split: str,
        groups: np.ndarray | None = None,
        n_variants: int = 1,
    ) -> None:
        self.n_way, self.n_shot, self.n_query = n_way, n_shot, n_query
        self.split, self.class_names, self.n_variants = split, tuple(class_names), n_variants
        self._key = _stream_key(seed, split)
        class_ids = np.asarray(class_ids)
        usable = np.flatnonzero(class_ids >= 0)
        within = np.zeros(len(usable), dtype=np.int64) if groups is None else np.asarray(groups)[usable]
        self._rows = usable[np.lexsort((usable, within, class_ids[usable]))]  # by class, then group, then row
        self._n_videos = np.bincount(class_ids[usable], minlength=len(self.class_names))
        self._offsets = np.concatenate([[0], np.cumsum(self._n_videos)[:-1]])
        self._groups = None if groups is None else self._group_ranges(np.asarray(groups)[self._rows])
        self._check()
        n_words = n_way * (1 + 3 * n_query + 2 * n_shot)
        self._words_per_episode = -(-n_words // _WORDS_PER_COUNT) * _WORDS_PER_COUNT

    def _group_ranges(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start within the class, and size, of the group of each usable video, in class order."""
        classes = np.repeat(np.arange(len(self._n_videos)), self._n_videos)
        is_first = np.ones(len(groups), dtype=bool)
        is_first[1:] = (groups[1:] != groups[:-1]) | (classes[1:] != classes[:-1])
        firsts = np.flatnonzero(is_first)
        sizes = np.diff(np.append(firsts, len(groups)))
        starts = np.repeat(firsts, sizes) - self._offsets[classes]
        return starts, np.repeat(sizes, sizes)

    def _check(self) -> None:
        if len(self.class_names) < self.n_way:
            raise ValueError(
                f"split {self.split!r} has {len(self.class_names)} classes, needs n_way = {self.n_way}; lower n_way "
                "(episode.n_way)"
            )
        needed = self.n_shot + self.n_query
        problems = [
            f"class {name!r} of split {self.split!r} has {n_videos} usable videos, needs n_shot + n_query = {needed}"
            for name, n_videos in zip(self.class_names, self._n_videos, strict=True)
            if n_videos < needed
        ]
        if not problems and self._groups is not None:
            problems = self._group_problems(*self._groups)
        if problems:
            more = f"\n  … and {len(problems) - 10} more classes" if len(problems) > 10 else ""
            raise ValueError("\n  ".join(problems[:10]) + more + "\n  lower n_shot or n_query, or drop the class")

    def _group_problems(self, group_starts: np.ndarray, group_sizes: np.ndarray) -> list[str]:
        """Messages about classes in which some support leaves too few videos of other groups."""
        problems = []
        for name, start, n_videos in zip(self.class_names, self._offsets, self._n_videos, strict=True):
            block = slice(start, start + n_videos)
            _, first = np.unique(group_starts[block], return_index=True)
            largest = np.sort(group_sizes[block][first])[::-1][: self.n_shot].sum()
            if n_videos - largest < self.n_query:
                problems.append(
                    f"class {name!r} of split {self.split!r} has {n_videos} videos in {len(first)} groups: support of "
                    f"{self.n_shot} can leave {n_videos - largest} of other groups, needs n_query = {self.n_query}"
                )
        return problems

    def __getitem__(self, index: int) -> EpisodeRows:
        """Episode `index` as a batch of one."""
        return self.batch(index, 1)

    def batch(self, start: int, count: int) -> EpisodeRows:
        """Episodes start … start + count - 1.

        Raises:
            ValueError: for a negative start or count.
        """
        if start < 0 or count < 0:
            raise ValueError(f"expected start >= 0 and count >= 0, got {start} and {count}")
        words = self._words(start, count)
        N, K, n_query = self.n_way, self.n_shot, self.n_query
        sizes = [N, N * K, N * n_query, N * K, N * n_query, N * n_query]
        class_words, support_words, query_words, support_variants, query_variants, draws = np.split(
            words[:, : sum(sizes)], np.cumsum(sizes)[:-1], axis=1
        )
        class_ids = _distinct(class_words, len(self.class_names))
        support, query = self._draw_videos(
            class_ids, support_words.reshape(count, N, K), query_words.reshape(count, N, n_query)
        )
        labels = np.repeat(np.arange(N), n_query)
        return EpisodeRows(
            class_ids=class_ids,
            support_rows=support,
            query_rows=query.reshape(count, N * n_query),
            query_labels=np.broadcast_to(labels, (count, N * n_query)).copy(),
            support_variants=_below(support_variants, self.n_variants).reshape(count, N, K),
            query_variants=_below(query_variants, self.n_variants),
            query_draws=(draws >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24),
        )

    def _words(self, start: int, count: int) -> np.ndarray:
        counter = start * (self._words_per_episode // _WORDS_PER_COUNT)
        stream = np.random.Philox(key=self._key, counter=[counter, 0, 0, 0])
        return stream.random_raw(count * self._words_per_episode).reshape(count, self._words_per_episode)

    def _draw_videos(
        self, class_ids: np.ndarray, support_words: np.ndarray, query_words: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of support (E, N, K) and query (E, N, n_query) videos, distinct within an episode."""
        n_videos, offsets = self._n_videos[class_ids], self._offsets[class_ids][..., None]
        support = _distinct(support_words, n_videos)  # positions within the class
        starts: np.ndarray
        lengths: np.ndarray
        if self._groups is None:
            starts, lengths = support, np.ones_like(support)
        else:
            starts, lengths = (values[offsets + support] for values in self._groups)
            order = np.argsort(starts, axis=-1, kind="stable")
            starts, lengths = np.take_along_axis(starts, order, -1), np.take_along_axis(lengths, order, -1)
            lengths[..., 1:][starts[..., 1:] == starts[..., :-1]] = 0  # a group shared by two shots counts once
        query: np.ndarray = np.empty(query_words.shape, dtype=np.int64)
        for m in range(query_words.shape[-1]):
            query[..., m] = _below_outside(query_words[..., m], n_videos, starts, lengths)
            starts = np.concatenate([starts, query[..., m : m + 1]], axis=-1)
            lengths = np.concatenate([lengths, np.ones_like(query[..., :1])], axis=-1)
        return self._rows[offsets + support], self._rows[offsets + query]
