"""Which classes are for training, validation and test: shipped splits, a user's YAML, or a seeded random split."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdmf.class_names import class_key, nearest_hint
from mdmf.data.listing.faults import Fault, MissingFile
from mdmf.resources import resource_folder, shipped_names
from mdmf.structures import SPLITS
from mdmf.yaml_text import read_yaml

ClassSplit = dict[str, tuple[str, ...]]
"""Split name -> class names, with all of `train`, `val`, `test` as keys; a split that is not used is empty."""


def load_class_split(name_or_path: str | Path) -> ClassSplit:
    """Read a shipped class split by its name, or a YAML file with the keys `train`, `val`, `test`.

    Each key holds a list of class names, or maps class names to their numbers of videos in the published lists. A split
    may be left out of the file (it is then empty in the result), but not be written down as empty.

    Raises:
        ValueError: the first fault of the file: an unknown name or key, an empty split, a class that appears twice.
        FileNotFoundError: if a YAML path does not exist.
    """
    classes, faults = read_class_split(name_or_path)
    for fault in faults:
        raise fault
    return classes


def read_class_split(name_or_path: str | Path) -> tuple[ClassSplit, list[Fault]]:
    """A class split as far as it can be read, and every fault of its file."""
    try:
        where, content = _read_file(name_or_path)
    except Fault as fault:
        return dict.fromkeys(SPLITS, ()), [fault]
    unknown = [str(key) for key in content if key not in SPLITS]
    fix = f"the keys are {', '.join(SPLITS)}"
    faults = [Fault(where, f"unknown key {key!r}{nearest_hint(key, SPLITS)}", fix) for key in unknown]
    classes = dict.fromkeys(SPLITS, ()) | {
        split: _class_names(content[split], split, where, faults) for split in SPLITS if split in content
    }
    return classes, [*faults, *repeated_classes(classes, lambda split, name: where)]


def published_counts(name: str) -> dict[str, dict[str, int]]:
    """Split -> class -> number of videos in the published lists; empty if a shipped class split does not tell it."""
    content = _read_file(name)[1]
    return content if all(isinstance(counts, dict) for counts in content.values()) else {}


def repeated_classes(classes: ClassSplit, place: Callable[[str, str], str]) -> Iterator[Fault]:
    """A fault for each class that is there twice, in one split or in two, also if it is written differently.

    Args:
        classes: split -> its classes.
        place: (split, class) -> file, or file and line.
    """
    seen: dict[str, tuple[str, str]] = {}
    for split, name in [(split, name) for split, names in classes.items() for name in names]:
        if class_key(name) not in seen:
            seen[class_key(name)] = split, name
            continue
        first_split, first = seen[class_key(name)]
        splits = f"twice in {split!r}" if split == first_split else f"in {first_split!r} and {split!r}"
        spelling = "" if name == first else f" (written {first!r} and {name!r})"
        yield Fault(
            where=" and ".join(dict.fromkeys((place(first_split, first), place(split, name)))),
            problem=f"class {name!r} is {splits}{spelling}",
            fix="a class belongs to one split, once",
            code="class-spelling" if split == first_split else "class-in-two-splits",
            class_name=" / ".join(dict.fromkeys((first, name))),
            split=split,
        )


def random_class_split(class_names: Collection[str], fractions: Sequence[float], seed: int) -> ClassSplit:
    """Deal classes into train, val and test by chance.

    The result depends on the set of names, the fractions and the seed alone: not on the order of the names, the
    platform or the version of numpy (raw Philox words, not a shuffle, order the names). Names are sorted in each split.

    Args:
        class_names: different names.
        fractions: of train, val and test; three numbers >= 0 that sum to 1. A split with a fraction above 0 gets at
            least one class, one with 0 stays empty.
        seed: 0 or larger.

    Raises:
        ValueError: for too few classes.
    """
    ordered = sorted(class_names)
    sizes = _split_sizes(len(ordered), fractions)
    words = np.random.Philox(key=seed).random_raw(len(ordered)).tolist()
    dealt = iter([name for _, name in sorted(zip(words, ordered, strict=True))])
    return {split: tuple(sorted(next(dealt) for _ in range(size))) for split, size in zip(SPLITS, sizes, strict=True)}


def _read_file(name_or_path: str | Path) -> tuple[str, dict[Any, Any]]:
    """Where a class split is, for messages, and what its file says.

    Raises:
        Fault: if there is no such file, or it holds no mapping.
    """
    path = _split_path(name_or_path)
    where = f"class split {path}"
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise Fault("class split", " ".join(str(error).split()), "correct the file") from None
    if not isinstance(content, dict) or not content:
        expected = f"expected a mapping of {', '.join(SPLITS)} to lists of class names"
        raise Fault(where, f"{expected}, got {type(content).__name__}", "write it like a shipped class split")
    return where, content


def _split_path(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if isinstance(name_or_path, str) and Path(text).name == text and not text.endswith((".yaml", ".yml")):
        names = shipped_names("splits")
        if text not in names:
            problem = f"unknown class split {text!r}{nearest_hint(text, names)}; shipped are {', '.join(names)}"
            raise Fault("data.class_split", problem, "give one of them, or the path of a .yaml file of your own")
        return resource_folder("splits") / f"{text}.yaml"
    path = Path(text).expanduser()
    if not path.is_file():
        raise MissingFile(f"class split {path}", "the file does not exist", "check the setting data.class_split")
    return path


def _class_names(value: Any, split: str, where: str, faults: list[Fault]) -> tuple[str, ...]:
    """The class names of one split; what is no name is added to the faults."""
    if not isinstance(value, list | dict) or not value:
        problem = f"{split!r} must be a list of at least one class name, got {value!r}"
        faults.append(Fault(where, problem, "leave the key out if there is no such split", split=split))
        return ()
    for name in value:
        if not isinstance(name, str) or not name.strip():
            problem = f"class names of {split!r} must be text, got {name!r}"
            faults.append(Fault(where, problem, "write it in quotes", split=split))
    return tuple(name.strip() for name in value if isinstance(name, str) and name.strip())


def _split_sizes(n_classes: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers near `fractions * n_classes` that sum to `n_classes`, at least 1 where the fraction is above 0."""
    n_wanted = sum(fraction > 0 for fraction in fractions)
    if n_classes < n_wanted:
        fix = "have more classes, or set the fraction of a split that you do not need to 0"
        raise Fault("data.split_fractions", f"{n_classes} classes cannot be dealt into {n_wanted} splits", fix)
    sizes = [max(math.floor(fraction * n_classes + 1e-9), fraction > 0) for fraction in fractions]
    while sum(sizes) != n_classes:
        step = 1 if sum(sizes) < n_classes else -1
        shortfall = [step * (fraction * n_classes - size) for fraction, size in zip(fractions, sizes, strict=True)]
        open_splits = [i for i, fraction in enumerate(fractions) if fraction > 0 and (step > 0 or sizes[i] > 1)]
        sizes[max(open_splits, key=lambda i: shortfall[i])] += step
    return [int(size) for size in sizes]
