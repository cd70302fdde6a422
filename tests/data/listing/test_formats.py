"""The contract of a listing format: what a listing keeps, and a made-up format that one file adds to the program."""

import subprocess
import sys
from pathlib import Path

import pytest
from listing_files import make_files

from mdmf.config import ConfigError, check_settings
from mdmf.data.listing.faults import Fault
from mdmf.data.listing.formats import Entry, Listing, ListingFormat, ListingSettings
from mdmf.data.listing.splits import ClassSplit
from mdmf.doctor.examine import check_data
from mdmf.engine.workspace import Workspace
from mdmf.registry import LISTING_FORMATS


def read_flat_names(settings: ListingSettings, classes: ClassSplit | None) -> Listing:
    """Files `split.class.video.npy` in one folder."""
    listing = Listing()
    for path in sorted(settings.root.iterdir()):
        with listing.collect_faults():
            if path.name.count(".") != 3:
                raise Fault(path.name, "expected split.class.video.npy", "rename it")
            split, class_name, _, _ = path.name.split(".")
            listing.add(Entry(path.name, class_name, path.name, path, split))
    return listing


@pytest.fixture
def flat_names(monkeypatch):
    """The made-up format, registered as from a file of its own."""
    assert "folder" in LISTING_FORMATS
    for names in ("_entries", "_modules"):
        monkeypatch.setattr(LISTING_FORMATS, names, dict(getattr(LISTING_FORMATS, names)))
    made_up = ListingFormat(read_flat_names, needs=("csv",), are_videos=False)
    LISTING_FORMATS.add("flat_names", made_up, module=__name__)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    names = [f"{split}.{name}.{i}.npy" for split, name in [("train", "b"), ("train", "a"), ("test", "c")] for i in "12"]
    make_files(tmp_path / "features", *names)
    for path in (tmp_path / "features").iterdir():
        path.write_bytes(b"the same in all")
    return tmp_path / "features"


def settings_of(root: Path, **data: object):
    data = {"kind": "flat_names", "root": str(root), "csv": "x.csv", "n_workers": 0, **data}
    return check_settings({"data": data, "model": {"name": "otam"}, "episode": {"n_way": 2}}, source="test")


def test_a_made_up_format_works_through_its_name(flat_names, root: Path) -> None:
    index = Workspace(settings_of(root), progress=False).index
    assert index.classes == {"train": ("a", "b"), "val": (), "test": ("c",)}
    assert [record.video_id for record in index.records][:2] == ["train.a.1.npy", "train.a.2.npy"]
    assert index.records[0].path == root / "train.a.1.npy"


def test_the_settings_that_a_format_needs_are_checked_with_all_others(flat_names, root: Path) -> None:
    with pytest.raises(ConfigError, match=r"data: kind 'flat_names' needs data\.csv"):
        settings_of(root, csv=None)
    with pytest.raises(
        ConfigError, match=r"data\.kind: unknown listing format .* did you mean 'flat_names'\? Known: csv"
    ):
        settings_of(root, kind="flat_name")


def test_the_doctor_reports_the_faults_of_a_made_up_format_and_decodes_nothing(flat_names, root: Path) -> None:
    make_files(root, "lonely.npy", "other.npy")
    report = check_data(settings_of(root), decode=True, progress=False)
    assert [(finding.level, finding.code) for finding in report.findings] == [("error", "index"), ("error", "listing")]
    assert "lonely.npy: expected split.class.video.npy; rename it" in report.findings[0].message
    assert [example.video for example in report.findings[1].examples] == ["lonely.npy", "other.npy"]
    assert [(row.split, row.n_videos) for row in report.rows] == [("train", 4), ("test", 2)]
    assert not report.is_decoded


def test_a_format_that_lists_nothing_is_a_fault(flat_names, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"data\.kind=flat_names: no video is listed"):
        Workspace(settings_of(tmp_path / "empty"), progress=False).index  # noqa: B018


def test_settings_are_imported_without_the_formats() -> None:
    code = "import sys, mdmf.settings; sys.exit('mdmf.data.listing' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_listed_twice_is_a_fault_and_kept_once() -> None:
    listing = Listing()
    for where, video, split in (("1", "a", "train"), ("2", "b", None), ("3", "a", "train"), ("4", "a", "test")):
        listing.add(Entry(where, "kick", video, None, split))
    listing.add(Entry("5", "kick", "c", None), key="b")
    assert [entry.where for entry in listing.entries] == ["1", "2"]
    assert [(fault.where, fault.code) for fault in listing.faults] == [
        ("1 and 3", "listed-twice"),
        ("1 and 4", "video-in-two-splits"),
        ("2 and 5", "listed-twice"),
    ]


def test_only_faults_are_collected() -> None:
    listing = Listing()
    with listing.collect_faults():
        raise Fault("here", "it is wrong", "correct it")
    assert list(map(str, listing.faults)) == ["here: it is wrong; correct it"]
    with pytest.raises(ValueError, match="a bug"), listing.collect_faults():
        raise ValueError("a bug")


def test_classes_are_those_of_the_split_up_to_spelling() -> None:
    entries = [Entry("1", "Ride_Bike", "a", None), Entry("2", "golf", "b", None), Entry("3", "run", "c", None, "val")]
    listing = Listing(entries, classes={"train": ("ride bike",), "val": ("run",)})
    assert [(entry.class_name, entry.split) for entry in listing.resolved()] == [
        ("ride bike", "train"),
        ("golf", None),
        ("run", "val"),
    ]
