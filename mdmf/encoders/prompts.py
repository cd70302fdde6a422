"""Prompt files, the sentences of classes, and one text feature per class."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mdmf.class_names import class_key, nearest_hint
from mdmf.yaml_text import read_yaml

_CAMEL_JOINT = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class PromptFile:
    """The content of a prompt file.

    Attributes:
        path: path of the file, for messages.
        templates: sentences with one `{}`, the place of the class name.
        classes: class -> its name for the templates, or its finished sentences; None if the file has no such section
            (templates are then filled with the class name in words).
    """

    path: Path
    templates: tuple[str, ...]
    classes: dict[str, str | tuple[str, ...]] | None


def load_prompts(path: Path) -> PromptFile:
    """The `templates:` and `classes:` of a YAML file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for malformed YAML, unknown or repeated keys, a template without exactly one `{}`, empty texts.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"prompt file {path} does not exist; check the setting of the prompts")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"prompt file {path} must have the key `templates:` and optionally `classes:`")
    for key in content:
        if key not in ("templates", "classes"):
            raise ValueError(f"{path}: unknown key {key!r}{nearest_hint(str(key), ('templates', 'classes'))}")
    templates = _texts(content.get("templates") or [], f"{path}, templates")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"{path}: a template needs exactly one {{}} in place of the class name, got {template!r}")
    section = content.get("classes")
    if section is None:
        if not templates:
            raise ValueError(f"{path} has neither templates nor classes; give at least one template with {{}}")
        return PromptFile(path, templates, None)
    if not isinstance(section, Mapping):
        raise ValueError(f"{path}: classes must map class names to a name or a list of sentences, got {section!r}")
    classes = {_text(key, f"{path}, classes"): _class_entry(key, value, path) for key, value in section.items()}
    unfilled = [name for name, entry in classes.items() if isinstance(entry, str)]
    if unfilled and not templates:
        raise ValueError(f"{path}: class {unfilled[0]!r} has a name, but the file has no templates for it")
    return PromptFile(path, templates, classes)


def class_sentences(
    prompts: PromptFile, class_names: Sequence[str], *, known_classes: Collection[str] | None = None
) -> dict[str, list[str]]:
    """The finished sentences of each class, in the order of `class_names`.

    Classes are looked up by their exact name, and otherwise by the name without case, spaces and underscores.

    Args:
        class_names: classes of the result.
        known_classes: all classes of the data set, including those of other splits. Any other class in the file is an
            error, because it is most likely misspelt; None skips this check.

    Raises:
        ValueError: naming classes missing from the file, or classes of the file missing from the data set.
    """
    if prompts.classes is None:
        return {name: _fill(prompts.templates, class_name_in_words(name)) for name in class_names}
    if known_classes is not None:
        _refuse_unknown_classes(prompts, prompts.classes, {*known_classes, *class_names})
    by_key: dict[str, list[str]] = {}
    for key in prompts.classes:
        by_key.setdefault(class_key(key), []).append(key)
    keys = {name: _find_class(name, prompts, by_key) for name in class_names}
    missing = [name for name, key in keys.items() if key is None]
    if missing:
        listed = ", ".join(f"{name!r}{nearest_hint(name, prompts.classes)}" for name in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise ValueError(
            f"{prompts.path} lacks {len(missing)} classes under `classes:`: {listed}{more}; add them there"
        )
    entries = {name: prompts.classes[key] for name, key in keys.items() if key is not None}
    return {
        name: _fill(prompts.templates, entry) if isinstance(entry, str) else list(entry)
        for name, entry in entries.items()
    }


def class_name_in_words(name: str) -> str:
    """A folder-like class name as words: `ride_bike` -> `ride bike`, `BodyWeightSquats` -> `body weight squats`."""
    words = [word for part in name.replace("_", " ").split() for word in _lower_camel_parts(part)]
    return " ".join(words)


def class_text_features(
    encode_texts: Callable[[list[str]], Tensor], sentences: Mapping[str, Sequence[str]], *, chunk_size: int = 256
) -> Tensor:
    """One text feature per class: the direction of the mean of its normalised sentence features, with their mean norm.

    Args:
        encode_texts: texts -> (n_texts, D), not normalised.
        sentences: class -> its sentences; its order is the order of the result.
        chunk_size: largest number of texts per call.

    Returns:
        (C, D) float32, on the encoder's device.

    Raises:
        ValueError: without classes, for a class without sentences, or for features that are zero, not finite or
            cancel each other.
    """
    empty = [name for name, texts in sentences.items() if not texts]
    if empty or not sentences:
        raise ValueError(
            f"every class needs a sentence; none for {empty}" if empty else "at least one class is needed, got none"
        )
    texts = [text for of_class in sentences.values() for text in of_class]
    chunks = [encode_texts(texts[start : start + chunk_size]) for start in range(0, len(texts), chunk_size)]
    features = torch.cat(chunks).float()  # (S, D), S sentences
    if features.ndim != 2 or len(features) != len(texts):
        raise ValueError(f"expected text features of shape ({len(texts)}, D), got {tuple(features.shape)}")
    norms = features.norm(dim=-1)  # (S,)
    bad = ~(torch.isfinite(norms) & (norms > 0))
    if bad.any():
        raise ValueError(
            f"the text encoder returned a zero or non-finite feature for {texts[int(bad.nonzero()[0, 0])]!r}"
        )
    counts = [len(of_class) for of_class in sentences.values()]
    directions = torch.stack([part.mean(0) for part in (features / norms[:, None]).split(counts)])  # (S, D) -> (C, D)
    mean_norms = torch.stack([part.mean() for part in norms.split(counts)])  # (S,) -> (C,)
    lengths = directions.norm(dim=-1)
    if (lengths < 1e-6).any():
        name = list(sentences)[int(lengths.argmin())]
        raise ValueError(f"the sentences of class {name!r} have opposite features, which cancel each other; change one")
    return directions / lengths[:, None] * mean_norms[:, None]


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: expected a text, got {value!r}; write it in quotes")
    return value.strip()


def _texts(values: Any, where: str) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{where}: expected a list of texts, got {values!r}")
    return tuple(_text(value, where) for value in values)


def _class_entry(class_name: Any, value: Any, path: Path) -> str | tuple[str, ...]:
    where = f"{path}, class {class_name!r}"
    if not isinstance(value, list):
        return _text(value, where)
    if not value:
        raise ValueError(f"{where}: the list of sentences is empty")
    sentences = _texts(value, where)
    for sentence in sentences:
        if "{}" in sentence:
            raise ValueError(f"{where}: a list contains finished sentences, without {{}}; got {sentence!r}")
    return sentences


def _fill(templates: Sequence[str], name: str) -> list[str]:
    return [template.replace("{}", name) for template in templates]


def _lower_camel_parts(word: str) -> list[str]:
    """`BodyWeight` -> `body`, `weight`; other words, and parts in capitals, are not changed."""
    parts = _CAMEL_JOINT.split(word)
    return [part if part.isupper() and len(part) > 1 else part.lower() for part in parts] if len(parts) > 1 else parts


def _find_class(name: str, prompts: PromptFile, by_key: Mapping[str, Sequence[str]]) -> str | None:
    """The key of a class in `classes:`: the exact one, otherwise the only one that is the same up to spelling."""
    if prompts.classes and name in prompts.classes:
        return name
    keys = by_key.get(class_key(name), ())
    if len(keys) > 1:
        raise ValueError(f"{prompts.path}: class {name!r} could be {keys[0]!r} or {keys[1]!r}; write it exactly")
    return keys[0] if keys else None


def _refuse_unknown_classes(prompts: PromptFile, classes: Iterable[str], known_classes: Collection[str]) -> None:
    known_keys = {class_key(name) for name in known_classes}
    for name in classes:
        if class_key(name) not in known_keys:
            raise ValueError(
                f"{prompts.path}: class {name!r} is not a class of the data set{nearest_hint(name, known_classes)}; "
                "correct or remove it"
            )
