"""Which format reads a listing, and which classes are in which split."""

from pathlib import Path

import pytest
from listing_files import faults_of, index_of, make_files, write

from mdmf.data.listing.formats import ListingSettings
from mdmf.data.listing.reading import read_listing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_files(tmp_path / "videos", "kick/1.mp4", "run/1.mp4", "sit/1.mp4")


def test_missing_root_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none does not exist; check the setting data\.root"):
        read_listing(ListingSettings("x", tmp_path / "none"))


def test_unknown_kind_lists_the_known_ones(root: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown listing format 'cvs'; did you mean 'csv'\? Known: csv, fo"):
        read_listing(ListingSettings("x", root, kind="cvs"))


def test_without_a_class_split_the_shipped_one_of_the_name_is_taken(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "wave/1.avi", "golf/1.avi", "kick_ball/1.avi")
    expected = {"train": ("wave",), "val": ("golf",), "test": ("kick ball",)}
    assert index_of(root, "hmdb51").classes == expected
    rows = write(tmp_path / "i.csv", "path,class\nwave/1.avi,wave\ngolf/1.avi,golf\nkick_ball/1.avi,Kick Ball\n")
    assert index_of(root, "hmdb51", kind="csv", csv=rows).classes == expected


def test_no_class_split_at_all_is_a_fault_that_says_what_to_set(root: Path) -> None:
    (fault,) = faults_of(root)
    assert fault.startswith(
        "data.class_split: there is no class split, so it is unknown which classes are for training"
    )
    assert "data.class_split=random" in fault


def test_a_random_split_needs_enough_classes(root: Path) -> None:
    assert faults_of(root, class_split="random", split_fractions=(0.4, 0.3, 0.3)) == []
    (root / "kick/1.mp4").unlink()
    (fault,) = faults_of(root, class_split="random", split_fractions=(0.4, 0.3, 0.3))
    assert fault.startswith("data.split_fractions: 2 classes cannot be dealt into 3 splits; have more classes")


def test_faults_of_the_class_split_come_first_and_all_are_there(root: Path, tmp_path: Path) -> None:
    make_files(root, "kick/1.avi")
    split = write(tmp_path / "s.yaml", "train: [kick, kick]\nval: [run, 3]\ntest: [Run, sit]\nother: [x]")
    where = f"class split {split}: "
    problems = [message.removeprefix(where).split(";")[0] for message in faults_of(root, class_split=split)]
    assert problems == [
        "unknown key 'other'",
        "class names of 'val' must be text, got 3",
        "class 'kick' is twice in 'train'",
        "class 'Run' is in 'val' and 'test' (written 'run' and 'Run')",
        "kick/1.avi and kick/1.mp4: the same video 'kick/1.mp4' is listed twice: it could be support and query of one "
        "episode",
    ]


def test_an_unreadable_class_split_does_not_hide_the_listing(root: Path, tmp_path: Path) -> None:
    listing = read_listing(ListingSettings("x", root, class_split=str(tmp_path / "none.yaml")))
    assert len(listing.entries) == 3
    assert "none.yaml: the file does not exist; check the setting data.class_split" in str(listing.faults[0])
    assert [entry.split for entry in listing.resolved()] == [None] * 3


def test_names_that_differ_in_writing_only_are_one_class_and_no_error_in_a_table(root: Path, tmp_path: Path) -> None:
    rows = write(tmp_path / "i.csv", "path,class,split\nkick/1.mp4,ride bike,train\nrun/1.mp4,Ride_Bike,train\n")
    listing = read_listing(ListingSettings("x", root, kind="csv", csv=rows))
    assert [(fault.is_error, fault.code, fault.class_name) for fault in listing.faults] == [
        (False, "class-spelling", "ride bike"),
        (False, "class-spelling", "Ride_Bike"),
    ]
    assert [entry.class_name for entry in listing.resolved()] == ["ride bike", "ride bike"]


def test_a_sign_that_tells_classes_apart_is_no_spelling(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "C/1.mp4", "C++/1.mp4", "turn/1.mp4")
    assert faults_of(root, class_split="random", split_fractions=(0.4, 0.3, 0.3)) == []
