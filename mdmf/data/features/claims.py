"""Claiming the same rows of several stores at once, so that a video is decoded once for all that lack it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType

import numpy as np

from mdmf.data.features.builder import Claim, StoreBuilder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JointClaim:
    """One chunk of the stores that lack it (source -> claim), held until all of them have it."""

    claims: dict[str, Claim]

    @property
    def rows(self) -> range:
        """Rows of the chunk, the same in all stores."""
        return next(iter(self.claims.values())).rows

    def __enter__(self) -> JointClaim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let others have the chunk; releasing twice does nothing."""
        for claim in self.claims.values():
            claim.release()


def claim_chunks(stores: Mapping[str, StoreBuilder]) -> Iterator[JointClaim]:
    """Claim, one after the other, each chunk that a store lacks and no other process works on, for any source.

    Args:
        stores: source -> store, alike in rows and chunks (see `joint_groups`).
    """
    for chunk in range(next(iter(stores.values())).n_chunks):
        claim = _try_claim(stores, chunk)
        if claim is not None:
            yield claim


def _try_claim(stores: Mapping[str, StoreBuilder], chunk: int) -> JointClaim | None:
    """All or none, and never waiting: no two processes can wait for one another."""
    with contextlib.ExitStack() as held:
        claims: dict[str, Claim] = {}
        for source, store in stores.items():
            claim = store.try_claim(chunk)
            if claim is not None:
                claims[source] = held.enter_context(claim)
            elif store.lacks(chunk):
                return None
        held.pop_all()  # handed to the caller
    return JointClaim(claims) if claims else None


def unfinished(stores: Mapping[str, StoreBuilder]) -> dict[str, StoreBuilder]:
    """Finish the stores that have all their chunks; returns the others.

    Raises:
        ValueError: if every video of a store is bad; after the other stores had their turn.
    """
    left: dict[str, StoreBuilder] = {}
    errors: list[ValueError] = []
    for source, store in stores.items():
        try:
            if not store.finish():
                left[source] = store
        except ValueError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return left


def joint_groups(stores: Mapping[str, StoreBuilder]) -> list[dict[str, StoreBuilder]]:
    """Stores that can be filled together: all of them, or each by itself where they differ in rows or settings."""
    if not stores:
        return []
    first, *others = stores.values()
    differences = {difference for other in others for difference in _differences(first, other)}
    if not differences:
        return [dict(stores)]
    logger.warning(
        "the stores of %s differ in %s: they are filled one after the other, and every video is decoded for each",
        " and ".join(stores),
        ", ".join(sorted(differences)),
    )
    return [{source: store} for source, store in stores.items()]


def _differences(store: StoreBuilder, other: StoreBuilder) -> list[str]:
    """What keeps two stores from being filled together."""
    rule, other_rule = asdict(store.settings.rule), asdict(other.settings.rule)
    differences = [name for name in rule if rule[name] != other_rule[name]]
    if store.rows_per_chunk != other.rows_per_chunk:
        differences.append("rows per chunk")
    if not np.array_equal(store.table.video_id, other.table.video_id):
        differences.append("order of the videos")
    return differences
