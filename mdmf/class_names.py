"""Class names: spellings of the same name, the nearest known name, and lists of names in messages."""

from __future__ import annotations

import difflib
import functools
import string
import unicodedata
from collections.abc import Iterable, Sequence

_DROPPED = str.maketrans("", "", string.whitespace + "_-[]()'\",’")


@functools.lru_cache(maxsize=65536)
def class_key(name: str) -> str:
    """A class name without case, spaces, underscores, hyphens, brackets and quotes.

    `ride_bike`, `Ride Bike` and `RideBike` have the same key. Other characters (`+`, `#`) may distinguish classes.
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return folded.translate(_DROPPED) or folded


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` with the known name nearest to an unknown one; empty if none is near."""
    by_key = {class_key(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(class_key(name), by_key, n=1, cutoff=0.6)
    return f" (did you mean {by_key[close[0]]!r}?)" if close else ""


def some_of(names: Sequence[str], n_shown: int = 5) -> str:
    """The first names, and the number of the others, for a message."""
    shown = ", ".join(repr(name) for name in names[:n_shown])
    return f"{shown} and {len(names) - n_shown:,} more" if len(names) > n_shown else shown or "none"
