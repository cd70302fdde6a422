"""Reading settings: one YAML file per experiment, checked as a whole, with `key=value` overrides."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mdmf.old_settings import current_method
from mdmf.old_sources import current_sources
from mdmf.registry import METHODS, SOURCE_KINDS
from mdmf.resources import resource_folder, shipped_names
from mdmf.settings import DEFAULT_METHOD, CorruptSettings, Settings
from mdmf.source_settings import DEFAULT_SOURCES, SOURCE_PLACES
from mdmf.yaml_text import parse_yaml, read_yaml

__all__ = [
    "ConfigError",
    "Settings",
    "check_settings",
    "dump_settings",
    "find_config",
    "load_settings",
    "setting_line",
    "setting_names",
]

logger = logging.getLogger(__name__)

_MISSING = object()


class ConfigError(ValueError):
    """Settings that cannot be used; the message lists every error at once."""


def find_config(name: str | Path) -> Path:
    """The file of a config: a path, or the name of a shipped one (`demo`, `configs/demo.yaml`).

    Raises:
        FileNotFoundError: listing the shipped configs.
    """
    path = Path(name)
    if path.is_file():
        return path
    if not path.name:
        raise FileNotFoundError(f"no config is named; shipped configs are: {', '.join(shipped_names('configs'))}")
    inside = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    named = inside if inside.suffix == ".yaml" else inside.with_name(f"{inside.name}.yaml")
    shipped = resource_folder("configs") / named
    if not path.is_absolute() and ".." not in path.parts and shipped.is_file():
        return shipped
    raise FileNotFoundError(f"no config {str(name)!r}; shipped configs are: {', '.join(shipped_names('configs'))}")


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = read_yaml(path)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections like 'data:', got {type(values).__name__}")
    return current_sources(values)


def _merge(lower: dict[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`upper` over `lower`, section by section."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if key in ("model", "of") and isinstance(below, str):  # a method that is given by its name alone
            below = {"name": below}
        merged[key] = _merge(below, value) if isinstance(value, Mapping) and isinstance(below, dict) else value
    return merged


def _read_with_base(path: Path) -> dict[str, Any]:
    values = _read_mapping(path)
    base = values.pop("base", None)
    if base is None:
        return values
    base_path = path.parent / str(base)
    if not base_path.is_file():
        raise FileNotFoundError(f"{path}: its base {str(base)!r} is not a file beside it")
    lower = _read_mapping(base_path)
    if "base" in lower:
        raise ConfigError(f"{path}: its base {str(base)!r} has a base of its own; at most one is allowed")
    return _merge(lower, values)


def _override(values: dict[str, Any], assignment: str) -> dict[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not re.fullmatch(r"\w+(\.\w+)+", key):
        raise ConfigError(f"cannot read {assignment!r}; write section.key=value, as in episode.n_shot=5")
    nested: Any
    try:
        nested = parse_yaml(text, source=assignment) if text.strip() else None
    except ValueError as error:
        raise ConfigError(str(error)) from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return _merge(values, current_sources(nested))


def _without_preset(values: dict[str, Any]) -> dict[str, Any]:
    """Settings without what their preset filled in: resolved ones name every key, and would win over a new preset."""
    model = values.get("model")
    name = str(model.get("name", DEFAULT_METHOD)) if isinstance(model, dict) else ""
    if not isinstance(model, dict) or name not in METHODS:
        return values
    preset = METHODS[name].presets.get(model.get("preset"), {})
    for section, defaults in preset.items():
        given = values.get(section)
        if isinstance(given, dict):
            explicit = {key: value for key, value in given.items() if defaults.get(key, _MISSING) != value}
            values = {**values, section: explicit}
    return values


def _for_another_method(values: dict[str, Any], name: str, *, is_wrapper: bool) -> dict[str, Any]:
    """Settings without those that the file gives to its own method and the named one does not have.

    A method that wraps another (`model.of=…`) begins with its own defaults: the file's settings are of no wrapper.
    """
    model = current_method({"name": DEFAULT_METHOD, **(values.get("model") or {})})
    requested = current_method({"name": name})
    if requested["name"] == model["name"] or requested["name"] not in METHODS:
        return values
    fields = set(METHODS[requested["name"]].settings.model_fields)
    fields = {"name", "text_weight"} if is_wrapper or "of" in requested else fields
    dropped = sorted(key for key in model if key not in fields)
    if dropped:
        logger.info("note: %s has no %s; the config's values are not used", name, ", ".join(dropped))
    return {**values, "model": {key: value for key, value in model.items() if key in fields}}


def _with_data_of(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Settings with the data section of another config, and its sources where that config declares them.

    How a source is made stays, unless that config says it; where it lies never does. Encoders stay.
    """
    other = _read_with_base(find_config(name))
    data = other.get("data") or {}
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: expected settings under 'data:', got {type(data).__name__}")
    sources, other_sources = _sources(values), _sources(other)
    names = dict.fromkeys([*sources, *other_sources])
    return {
        **values,
        "data": data,
        "sources": {name: _with_places_of(sources.get(name), other_sources.get(name)) for name in names},
    }


def _sources(values: Mapping[str, Any]) -> dict[str, Any]:
    sources = values.get("sources") or {}
    if not isinstance(sources, Mapping):
        raise ConfigError(f"expected settings of named sources under 'sources:', got {type(sources).__name__}")
    return dict(sources)


def _with_places_of(source: Any, other: Any) -> Any:
    """The settings of a source that lies where the other one does, and is made as the other one says, if it does."""
    source, other = source or {}, other or {}
    if not isinstance(source, Mapping) or not isinstance(other, Mapping):
        return source  # refused when all is checked
    places = {key: value for key, value in other.items() if key in SOURCE_PLACES}
    rule = {key: value for key, value in other.items() if key not in (*SOURCE_PLACES, "encoder")}
    rule = rule or {key: value for key, value in source.items() if key not in (*SOURCE_PLACES, "encoder")}
    return {**rule, **places, "encoder": source.get("encoder") or {}}


def _without_settings_of_other_kinds(values: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Settings without those of sources whose kind is overridden: another kind has other settings."""
    sources = _sources(values)
    for assignment in assignments:
        if (match := re.fullmatch(r"sources\.(\w+)\.kind=(.*)", assignment)) is None:
            continue
        name, kind = match.groups()
        given = sources.get(name)
        if isinstance(given, Mapping) and given.get("kind", DEFAULT_SOURCES.get(name)) != kind:
            del sources[name]
    return {**values, "sources": sources}


def setting_names(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as (dotted name, pydantic field), in order.

    Of `sources` those of the default ones, of `model` those that every method has.
    """
    for name, field in section.model_fields.items():
        if field is Settings.model_fields["sources"]:
            for source, kind in DEFAULT_SOURCES.items():
                yield from setting_names(SOURCE_KINDS[kind], f"sources.{source}.")
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field
    if section is CorruptSettings:
        for source in DEFAULT_SOURCES:
            yield prefix + source, FieldInfo(default="", annotation=str, description="kind:strength, as in noise:0.2")


def setting_line(name: str, field: Any) -> str:
    """`name=default  meaning [choices]`, for help texts."""
    required = "-" if name != "model.name" else DEFAULT_METHOD
    default = required if field.is_required() else field.get_default(call_default_factory=True)
    shown = "-" if default is None else list(default) if isinstance(default, tuple) else default
    choices = ", ".join(_choices(field.annotation))
    return f"{name}={shown}  {field.description or ''}{f' [{choices}]' if choices else ''}".rstrip()


def _choices(annotation: Any) -> list[str]:
    """The words that a setting may be, where it is one of some, or none."""
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    others = [part for part in parts if part is not type(None)]
    return _choices(others[0]) if len(others) == 1 else []


def _method_setting_names(method: Any, place: str) -> list[str]:
    """The settings of the method that stands at this place of the settings, and of a method that it wraps."""
    given = current_method({"name": DEFAULT_METHOD, **method}) if isinstance(method, Mapping) else {"name": method}
    name = given["name"]
    if not isinstance(name, str) or name not in METHODS:
        return []
    inner = _method_setting_names(given["of"], f"{place}.of") if "of" in given else []
    return [f"{place}.{key}" for key in METHODS[name].settings.model_fields] + inner


def _known_names(values: Mapping[str, Any]) -> list[str]:
    """Every setting that these settings may have, with those of the methods that they name."""
    evaluation = values.get("evaluation")
    baselines = evaluation.get("baselines") if isinstance(evaluation, Mapping) else None
    methods = dict(enumerate(baselines)) if isinstance(baselines, list | tuple) else {}
    names = [name for name, _ in setting_names()] + _method_setting_names(values.get("model", DEFAULT_METHOD), "model")
    for source in values.get("sources") or {}:
        names += [f"sources.{source}.{key}" for kind in SOURCE_KINDS for key in SOURCE_KINDS[kind].model_fields]
    for number, baseline in methods.items():
        names += _method_setting_names(baseline, f"evaluation.baselines.{number}")
    return names


def _describe(error: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """One line for one pydantic error in these settings."""
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        section, _, key = place.rpartition(".")
        known = [name.rpartition(".") for name in [*_known_names(values), *Settings.model_fields]]
        # A key may be right and only its section wrong: `training.n_shot`.
        nearest = ["".join(name) for name in known if name[2] == key]
        beside = [name[2] for name in known if name[0] == section]
        nearest += [f"{section}.{name}".strip(".") for name in difflib.get_close_matches(key, beside, n=1)]
        return f"{place}: unknown setting" + (f"; did you mean {nearest[0]}?" if nearest else "")
    message = error["msg"].removeprefix("Value error, ")
    shown = "" if error["type"] == "value_error" else f" (got {error['input']!r})"
    return f"{place}: {message}{shown}" if place else f"{message}{shown}"


def check_settings(values: Mapping[str, Any], *, source: str) -> Settings:
    """Check a mapping as a whole.

    Raises:
        ConfigError: with a line for every error.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [_describe(one, values) for one in error.errors()]
        raise ConfigError(f"{source} has {len(lines)} error(s):\n  " + "\n  ".join(lines)) from None


def load_settings(path: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Read a config with its base and the `key=value` overrides, in this order, and check it.

    `output.name` becomes the file's name where it is not given. The override `data.config=other.yaml` takes the whole
    data section of another config: the way to test a run on another data set.

    Raises:
        FileNotFoundError: if the file, or its base, does not exist.
        ConfigError: listing every unknown key (with the nearest right one), wrong type and impossible value at once.
    """
    file = find_config(path)
    values = _read_with_base(file)
    overrides = sorted(overrides, key=lambda assignment: not assignment.startswith("data.config="))  # the whole first
    if any(assignment.startswith("model.preset=") for assignment in overrides):
        values = _without_preset(values)
    values = _without_settings_of_other_kinds(values, overrides)
    named = [assignment.partition("=")[2] for assignment in overrides if assignment.startswith("model.name=")]
    if named:
        is_wrapper = any(assignment.startswith("model.of") for assignment in overrides)
        values = _for_another_method(values, named[-1], is_wrapper=is_wrapper)
    for assignment in overrides:
        if assignment.startswith("data.config="):
            values = _with_data_of(values, assignment.removeprefix("data.config="))
        else:
            values = _override(values, assignment)
    output = values.get("output") or {}
    if isinstance(output, Mapping) and output.get("name") is None:
        values["output"] = {**output, "name": file.stem}
    return check_settings(values, source=str(path))


def dump_settings(settings: Settings) -> str:
    """The resolved settings as YAML that `load_settings` reads back to the same."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
