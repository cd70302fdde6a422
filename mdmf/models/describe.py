"""The registered methods in words: a list, and one method with its settings."""

from __future__ import annotations

from mdmf.config import setting_line, setting_names
from mdmf.models.registry import RegisteredMethod
from mdmf.registry import METHODS


def method_list() -> str:
    """Name, kind and citation of every method, a line each; those that are trained first."""
    entries = sorted((METHODS[name] for name in METHODS), key=lambda entry: (not entry.is_trained, entry.name))
    width = max(len(entry.name) for entry in entries)
    return "\n".join(f"{entry.name:{width}}  {_kind(entry):20}  {entry.citation}" for entry in entries)


def method_text(name: str) -> str:
    """What is known of one method: citation, facts, settings with defaults, presets, published results.

    Raises:
        ValueError: for an unknown name.
    """
    entry: RegisteredMethod = METHODS[name]
    parts = [f"{name}: {entry.citation}", "", entry.summary, "", f"kind: {_kind(entry)}"]
    parts += [f"reads the classes' text: {'yes' if entry.reads_text else 'no'}"]
    parts += [f"lost on stored frame features: {entry.lost}"] if entry.lost else []
    parts += ["", "settings (key=value; the same keys under `model:` in the YAML):"]
    parts += [
        f"  {setting_line(f'model.{key}', field)}" for key, field in setting_names(entry.settings) if key != "name"
    ]
    for preset, sections in entry.presets.items():
        values = [f"{section}.{key}={value}" for section, given in sections.items() for key, value in given.items()]
        parts += ["", f"model.preset={preset} stands for", *(f"  {value}" for value in values)]
    if entry.published:
        parts += ["", "published results (the authors' encoders and protocols differ from ours):"]
        parts += [f"  {line}" for line in entry.published]
    return "\n".join(parts)


def _kind(entry: RegisteredMethod) -> str:
    return ("trained" if entry.is_trained else "training-free") + (", our reading" if entry.our_reading else "")
