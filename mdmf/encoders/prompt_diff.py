"""Differences between two prompt files."""

from __future__ import annotations

from dataclasses import dataclass

from mdmf.class_names import class_key
from mdmf.encoders.prompts import PromptFile, class_name_in_words, class_sentences

Sentences = tuple[str, ...]


@dataclass(frozen=True)
class PromptDifference:
    """Differences from one prompt file to another.

    Attributes:
        templates_removed, templates_added: in the order of their files.
        classes_removed, classes_added: class -> its sentences, for classes that only one of the files has.
        changed: class -> (removed sentences, added sentences), for classes whose entry changed; the effect of changed
            templates alone is not repeated for every class.
        n_same: number of classes with the same entry.
    """

    templates_removed: tuple[str, ...]
    templates_added: tuple[str, ...]
    classes_removed: dict[str, Sentences]
    classes_added: dict[str, Sentences]
    changed: dict[str, tuple[Sentences, Sentences]]
    n_same: int

    @property
    def is_empty(self) -> bool:
        """Whether both files have the same prompts."""
        parts = (self.templates_removed, self.templates_added, self.classes_removed, self.classes_added, self.changed)
        return not any(parts)


def prompt_difference(before: PromptFile, after: PromptFile) -> PromptDifference:
    """The differences of two files, class by class; classes are matched up to spelling.

    A file without a `classes:` section uses the names of the classes: it is compared on the classes of the other file.

    Raises:
        ValueError: if a file has two classes that are the same up to spelling.
    """
    entries = _entries(before, after)
    other_entries = _entries(after, before)
    changed, n_same = {}, 0
    for key, (name, entry) in entries.items():
        if key not in other_entries:
            continue
        other_name, other_entry = other_entries[key]
        if entry == other_entry:
            n_same += 1
            continue
        old, new = _sentences(before, name), _sentences(after, other_name)
        removed, added = _without(old, new), _without(new, old)
        if removed or added:
            changed[other_name] = (removed, added)
        else:
            n_same += 1  # the same sentences in another form or order
    return PromptDifference(
        templates_removed=_without(before.templates, after.templates),
        templates_added=_without(after.templates, before.templates),
        classes_removed={n: _sentences(before, n) for key, (n, _) in entries.items() if key not in other_entries},
        classes_added={n: _sentences(after, n) for key, (n, _) in other_entries.items() if key not in entries},
        changed=changed,
        n_same=n_same,
    )


def _without(sentences: Sentences, others: Sentences) -> Sentences:
    return tuple(each for each in sentences if each not in others)


def _entries(prompts: PromptFile, other: PromptFile) -> dict[str, tuple[str, str | Sentences]]:
    """Key of a class -> its name and its entry, for the classes of the file, or of the other file if it has none."""
    if prompts.classes is None:
        named = {name: class_name_in_words(name) for name in other.classes or {}}
        return {class_key(name): (name, words) for name, words in named.items()}
    entries: dict[str, tuple[str, str | Sentences]] = {}
    for name, entry in prompts.classes.items():
        first = entries.setdefault(class_key(name), (name, entry))
        if first[0] != name:
            raise ValueError(f"{prompts.path}: {first[0]!r} and {name!r} are one class up to spelling; remove one")
    return entries


def _sentences(prompts: PromptFile, name: str) -> Sentences:
    return tuple(class_sentences(prompts, [name])[name])
