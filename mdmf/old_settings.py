"""Reads settings of version 0.1: names that became compositions, and one flat section for all methods."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mdmf.registry import METHODS

logger = logging.getLogger(__name__)

_DISTANCES = ("prototype", "frame_wise", "otam", "bi_mhm")
_FLAT_SECTION = {"views", "modalities", "options", "selector_test"}  # only a resolved 0.1 section has all of them
_UNSET = {"cross_entropy": None, "fusion": "active"}  # written by 0.1 also for methods without such a setting


def current_method(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `model` section of a config, or of a run of version 0.1, in today's form."""
    given = dict(values)
    is_flat = given.keys() >= _FLAT_SECTION
    if "modalities" in given:
        sources = given.pop("modalities")
        if isinstance(sources, list | tuple):  # 0.1 numbered rgb before flow, however they were written
            sources = sorted(sources, key="flow".__eq__)
        given |= _renamed_sources(given.get("name"), sources)
    name = given.get("name")
    prefix, _, method = str(name).partition("_")
    if prefix in ("flow", "late") and method in _DISTANCES:
        given = _composition(prefix, method, given)
        logger.info("note: the method %r of version 0.1 is now written %s", name, _shown(given))
    return _without_foreign_keys(given) if is_flat else given


def _renamed_sources(name: Any, sources: Any) -> dict[str, Any]:
    """`modalities` of 0.1: the `sources` of a method, or the one `source` of a method that has only one."""
    fields = METHODS[name].settings.model_fields if isinstance(name, str) and name in METHODS else {}
    if "sources" not in fields and "source" in fields and isinstance(sources, list | tuple) and len(sources) == 1:
        return {"source": sources[0]}
    return {"sources": sources}


def with_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The method of this name with those of the settings that it has."""
    given = current_method({"name": name})
    inner = given.get("of")
    if isinstance(inner, Mapping):
        return {**given, "of": {**_known(inner["name"], settings), **inner}}
    return {**_known(given["name"], settings), **given}


def _composition(prefix: str, method: str, given: dict[str, Any]) -> dict[str, Any]:
    if prefix == "flow":
        return {**given, "name": method, "source": "flow"}
    inner = {key: given.pop(key) for key in ("otam_temperature", "otam_directions", "cosine_eps") if key in given}
    return {**given, "name": "late_fusion", "of": {"name": method, **inner}}


def _without_foreign_keys(given: dict[str, Any]) -> dict[str, Any]:
    """The settings of the named method only: 0.1 wrote those of all methods into every run."""
    fields = METHODS[str(given["name"])].settings.model_fields
    foreign = {key for name in METHODS for key in METHODS[name].settings.model_fields} - fields.keys()
    method_values = {
        key: value for key, value in given.items() if key not in foreign and (key, value) not in _UNSET.items()
    }
    if "of" not in method_values:
        return method_values
    return {
        key: method_values[key] for key in ("name", "text_weight", "of")
    }  # late_*: it read those of its distance alone


def _known(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    fields = METHODS[name].settings.model_fields if name in METHODS else {}
    return {key: value for key, value in settings.items() if key in fields}


def _shown(given: Mapping[str, Any]) -> str:
    inner = given.get("of")
    return f"{{name: {given['name']}, of: {inner['name']}}}" if inner else f"{{name: {given['name']}, source: flow}}"
