"""Reads settings of version 0.1, in which the sources `rgb` and `flow` were parts of other sections."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from mdmf.nested import merged

logger = logging.getLogger(__name__)

# (section, key) of version 0.1 -> (source, key); without a key: the settings of the source themselves.
_MOVED = {
    ("data", "store"): ("rgb", "store"),
    ("data", "flow_store"): ("flow", "store"),
    ("data", "flow"): ("flow", None),
    ("encoder", "flow"): ("flow", "encoder"),
}


def current_sources(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of version 0.1 in today's form; what is in today's form stays, and wins where both are given."""
    current = dict(values)
    moved: dict[str, Any] = {}
    for (section, key), (source, setting) in _MOVED.items():
        given = current.get(section)
        if isinstance(given, Mapping) and key in given:
            current[section] = {name: value for name, value in given.items() if name != key}
            moved = merged(moved, {source: given[key] if setting is None else {setting: given[key]}})
            _note(f"{section}.{key}", ".".join(filter(None, ("sources", source, setting))))
    return merged({"sources": moved}, current) if moved else current


@cache
def _note(old: str, new: str) -> None:
    """Say once what a setting is called today."""
    logger.info("note: the setting %s of version 0.1 is now %s", old, new)
