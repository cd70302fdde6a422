"""Which classes are for training, validation and test: shipped splits, a user's YAML, or a seeded random split."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mdmf.class_names import class_key, nearest_hint
from mdmf.resources import resource_folder, shipped_names
from mdmf.structures import SPLITS

ClassSplit = dict[str, tuple[str, ...]]
"""Split name -> class names, with all of `train`, `val`, `test` as keys; a split that is not used is empty."""


def load_class_split(name_or_path: str | Path) -> ClassSplit:
    """Read a shipped class split by its name, or a YAML file with the keys `train`, `val`, `test`.

    A split may be left out of the file (it is then empty in the result), but not be written down as empty.

    Raises:
        ValueError: for an unknown name, a malformed file, an empty split, or a class that appears twice.
        FileNotFoundError: if a YAML path does not exist.
    """
    path = _split_path(name_or_path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"class split {path} is not readable as YAML: {error}") from error
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"class split {path} must be a mapping of {', '.join(SPLITS)} to lists of class names")
    for key in content:
        if key not in SPLITS:
            raise ValueError(f"class split {path} has the unknown key {key!r}{nearest_hint(str(key), SPLITS)}")
    split = {name: _class_names(content[name], name, path) if name in content else () for name in SPLITS}
    check_class_split(split, source=f"class split {path}")
    return split


def check_class_split(split: ClassSplit, *, source: str) -> None:
    """Refuse a class that appears twice, in one split or in two, even if it is written differently there.

    Raises:
        ValueError: naming the class, the splits and `source` (where the split comes from).
    """
    seen: dict[str, tuple[str, str]] = {}
    for split_name, class_names in split.items():
        for name in class_names:
            key = class_key(name)
            if key not in seen:
                seen[key] = (name, split_name)
                continue
            first, first_split = seen[key]
            spelling = "" if first == name else f" (written {first!r} and {name!r})"
            where = (
                f"twice in {split_name!r}" if first_split == split_name else f"in {first_split!r} and {split_name!r}"
            )
            raise ValueError(f"{source}: class {name!r} is {where}{spelling}; a class belongs to one split, once")


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
        ValueError: for impossible fractions or seed, names that are the same up to spelling, or too few classes.
    """
    if len(fractions) != len(SPLITS) or any(not fraction >= 0 for fraction in fractions):
        raise ValueError(f"split_fractions must be three numbers >= 0 (of {', '.join(SPLITS)}), got {list(fractions)}")
    if not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise ValueError(f"split_fractions must sum to 1, got {list(fractions)}, which sums to {sum(fractions):g}")
    if seed < 0:
        raise ValueError(f"split_seed must be 0 or larger, got {seed}")
    ordered = sorted(class_names)
    check_class_split({"all": tuple(ordered)}, source="random class split")
    sizes = _split_sizes(len(ordered), fractions)
    words = np.random.Philox(key=seed).random_raw(len(ordered)).tolist()
    dealt = iter([name for _, name in sorted(zip(words, ordered, strict=True))])
    return {split: tuple(sorted(next(dealt) for _ in range(size))) for split, size in zip(SPLITS, sizes, strict=True)}


def _split_path(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if isinstance(name_or_path, str) and Path(text).name == text and not text.endswith((".yaml", ".yml")):
        names = shipped_names("splits")
        if text not in names:
            raise ValueError(
                f"unknown class split {text!r}; shipped are {', '.join(names)}, and for your own give the path of a "
                f".yaml file (data.class_split){nearest_hint(text, names)}"
            )
        return resource_folder("splits") / f"{text}.yaml"
    path = Path(text).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"class split file {path} does not exist; check the setting data.class_split")
    return path


def _class_names(value: Any, split: str, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(
            f"class split {path}: {split!r} must be a list of at least one class name, got {value!r}; "
            "leave the key out if there is no such split"
        )
    for name in value:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"class split {path}: class names of {split!r} must be text, got {name!r}; write it in quotes"
            )
    return tuple(name.strip() for name in value)


def _split_sizes(n_classes: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers near `fractions * n_classes` that sum to `n_classes`, at least 1 where the fraction is above 0."""
    n_wanted = sum(fraction > 0 for fraction in fractions)
    if n_classes < n_wanted:
        raise ValueError(
            f"{n_classes} classes cannot be dealt into {n_wanted} splits; have more classes, or set the fraction of a "
            "split that you do not need to 0 in split_fractions"
        )
    sizes = [max(math.floor(fraction * n_classes + 1e-9), fraction > 0) for fraction in fractions]
    while sum(sizes) != n_classes:
        step = 1 if sum(sizes) < n_classes else -1
        shortfall = [step * (fraction * n_classes - size) for fraction, size in zip(fractions, sizes, strict=True)]
        open_splits = [i for i, fraction in enumerate(fractions) if fraction > 0 and (step > 0 or sizes[i] > 1)]
        sizes[max(open_splits, key=lambda i: shortfall[i])] += step
    return [int(size) for size in sizes]
