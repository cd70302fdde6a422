"""Class splits: shipped facts, files with mistakes, and the random split."""

import json
import random
from pathlib import Path

import pytest

from mdmf.class_names import class_key
from mdmf.data.listing.splits import (
    load_class_split,
    published_counts,
    random_class_split,
    read_class_split,
    repeated_classes,
)
from mdmf.resources import shipped_names

PUBLISHED = {
    "kinetics100": (64, 12, 24),
    "ssv2_small": (64, 12, 24),
    "ssv2_full": (64, 12, 24),
    "hmdb51": (31, 10, 10),
    "ucf101": (70, 10, 21),
}


@pytest.mark.parametrize(("name", "sizes"), PUBLISHED.items())
def test_published_splits_have_their_published_sizes(name: str, sizes: tuple[int, ...]) -> None:
    split = load_class_split(name)
    assert list(split) == ["train", "val", "test"]
    assert tuple(len(names) for names in split.values()) == sizes


@pytest.mark.parametrize("name", PUBLISHED)
def test_order_of_classes_is_the_numbering_of_the_published_lists(name: str, shared_data: Path) -> None:
    numbered = json.loads((shared_data / "../facts/splits/index_to_name.json").read_text(encoding="utf-8"))[name]
    split = load_class_split(name)
    for split_name, rows in numbered.items():
        assert [row["index"] for row in rows] == list(range(len(rows)))
        names = [row.get("folder") or row["name"] for row in rows]
        assert [class_key(name) for name in names] == [class_key(name) for name in split[split_name]]


def test_every_shipped_split_loads() -> None:
    names = shipped_names("splits")
    assert set(PUBLISHED) <= set(names)
    for name in names:
        assert load_class_split(name)["test"]


def test_unknown_name_lists_shipped_ones_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'hmbd51' \(did you mean 'hmdb51'\?\); shipped are hmdb51, kin"):
        load_class_split("hmbd51")


def test_missing_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.class_split"):
        load_class_split(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [kick, run]\ntest: [kick]", "class 'kick' is in 'train' and 'test'"),
        ("train: [ride bike]\ntest: [Ride_Bike]", r"in 'train' and 'test' \(written 'ride bike' and 'Ride_Bike'\)"),
        ("train: [kick, run, kick]\ntest: [hit]", "class 'kick' is twice in 'train'"),
        ("train: [kick]\ntest: []", "'test' must be a list of at least one class name"),
        ("train: [kick]\ntest:", "'test' must be a list"),
        ("train: kick", "'train' must be a list"),
        ("trian: [kick]", r"unknown key 'trian' \(did you mean 'train'\?\)"),
        ("train: [true, kick]", "must be text, got True; write it in quotes"),
        ("train: {kick: 3}\ntest: {kick: 4}", "class 'kick' is in 'train' and 'test'"),
        ("train: {kick: 3, kick: 4}", r"line 1: key 'kick' is given twice"),
        ("train: [1, kick]", "must be text, got 1"),
        ("", "expected a mapping"),
        ("- kick", "expected a mapping .* got list"),
        ("train: [kick", "is not valid YAML"),
        ("!!python/object/apply:os.system [exit 1]", "is not valid YAML"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "split.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_class_split(path)


def test_a_split_that_is_left_out_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "split.yml"
    path.write_text("test: [a, b]", encoding="utf-8")
    assert load_class_split(str(path)) == {"train": (), "val": (), "test": ("a", "b")}


def test_every_fault_of_a_file_is_found_and_what_can_be_read_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "split.yaml"
    path.write_text(
        "train: [kick, ' kick ', Ride_Bike, ride bike]\nval: []\ntest: [kick, 3]\nother: [x]", encoding="utf-8"
    )
    classes, faults = read_class_split(path)
    assert classes == {"train": ("kick", "kick", "Ride_Bike", "ride bike"), "val": (), "test": ("kick",)}
    assert {fault.where for fault in faults} == {f"class split {path}"}
    assert [(fault.code, fault.class_name, fault.split) for fault in faults] == [
        ("listing", "", ""),
        ("listing", "", "val"),
        ("listing", "", "test"),
        ("class-spelling", "kick", "train"),
        ("class-spelling", "Ride_Bike / ride bike", "train"),
        ("class-in-two-splits", "kick", "test"),
    ]


def test_signs_that_tell_classes_apart_stay_apart() -> None:
    classes = {"train": ("turn+", "turn#"), "test": ("turn", "level 1.0", "level 10")}
    assert list(repeated_classes(classes, lambda split, name: "here")) == []
    assert class_key("RideBike") == class_key("ride_bike") == class_key("Ride [bike]")
    assert class_key("---") == "---"


@pytest.mark.parametrize(
    ("name", "n_videos"),
    [
        ("kinetics100", [6400, 1200, 2400]),
        ("ssv2_small", [6400, 1200, 2400]),
        ("ssv2_full", [67013, 1926, 2857]),
        ("hmdb51", [4280, 1194, 1292]),
        ("ucf101", [9154, 1421, 2745]),
    ],
)
def test_published_numbers_of_videos(name: str, n_videos: list[int]) -> None:
    counts = published_counts(name)
    assert [sum(of_split.values()) for of_split in counts.values()] == n_videos
    assert {split: tuple(names) for split, names in counts.items()} == load_class_split(name)
    assert all(type(number) is int for of_split in counts.values() for number in of_split.values())


def test_a_split_of_no_published_lists_has_no_counts() -> None:
    assert published_counts("shapes") == {}


def test_random_split_is_the_same_everywhere() -> None:
    """Frozen: a change of these names changes every experiment on a random split."""
    split = random_class_split([f"class {i:02}" for i in range(10)], (0.6, 0.2, 0.2), 0)
    assert split == {
        "train": ("class 00", "class 01", "class 02", "class 05", "class 08", "class 09"),
        "val": ("class 03", "class 04"),
        "test": ("class 06", "class 07"),
    }


def test_random_split_ignores_the_order_of_names_and_follows_the_seed() -> None:
    names = [f"c{i}" for i in range(40)]
    shuffled = random.Random(3).sample(names, len(names))
    assert random_class_split(names, (0.6, 0.15, 0.25), 7) == random_class_split(shuffled, (0.6, 0.15, 0.25), 7)
    assert random_class_split(names, (0.6, 0.15, 0.25), 7) != random_class_split(names, (0.6, 0.15, 0.25), 8)


@pytest.mark.parametrize(
    "fractions", [(0.6, 0.2, 0.2), (0.98, 0.01, 0.01), (1 / 3, 1 / 3, 1 / 3), (0, 0, 1), (0.5, 0, 0.5)]
)
def test_random_split_deals_every_class_once(fractions: tuple[float, ...]) -> None:
    for n_classes in range(3, 40):
        names = [f"c{i}" for i in range(n_classes)]
        split = random_class_split(names, fractions, 1)
        assert sorted(name for part in split.values() for name in part) == sorted(names)
        assert [bool(part) for part in split.values()] == [fraction > 0 for fraction in fractions]


def test_a_random_split_needs_a_class_for_every_split() -> None:
    with pytest.raises(ValueError, match="2 classes cannot be dealt into 3 splits"):
        random_class_split("ab", (0.6, 0.2, 0.2), 0)
