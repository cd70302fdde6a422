"""A CSV as a listing: every mistake in it is named with its line."""

from pathlib import Path

import pytest
from listing_files import faults_of, ids, index_of, make_files, write

from mdmf.data.listing.formats import ListingSettings
from mdmf.data.listing.index import VideoIndex
from mdmf.data.listing.reading import read_listing


@pytest.fixture
def three_classes(tmp_path: Path) -> Path:
    return write(tmp_path / "split.yaml", "train: [a]\nval: [b]\ntest: [c]")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_files(tmp_path / "videos", "a/2.mp4", "a/1.avi", "b/1.mp4", "c/1.webm")


def build(root: Path, text: str, **settings: object) -> VideoIndex:
    return index_of(root, kind="csv", csv=write(root.parent / "i.csv", text), **settings)


def faults(root: Path, text: str, **settings: object) -> list[str]:
    path = write(root.parent / "i.csv", text)
    return [message.replace(str(path), "i.csv") for message in faults_of(root, kind="csv", csv=path, **settings)]


def test_split_and_group_columns(root: Path) -> None:
    text = "\ufeffpath, class,split,group\nc/1.webm,c,test,g9\na/2.mp4,a,train,\n./a/../b/1.mp4,b,val,\n"
    index = build(root, text)
    assert ids(index) == ["a/2.mp4", "b/1.mp4", "c/1.webm"]
    assert [record.group for record in index.records] == [None, None, "g9"]


def test_absolute_paths_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    other = make_files(tmp_path / "other", "z.mp4") / "z.mp4"
    index = build(root, f"path,class,split\n{other},z,test\n{root / 'a' / '2.mp4'},a,train\n")
    assert [record.path for record in index.records] == [root / "a" / "2.mp4", other]
    assert ids(index, "train") == ["a/2.mp4"]


def test_class_split_names_classes_up_to_spelling(root: Path, three_classes: Path) -> None:
    index = build(root, "path,class\na/1.avi,A\na/2.mp4,a\nb/1.mp4,b\nc/1.webm,c\n", class_split=three_classes)
    assert [record.class_name for record in index.records] == ["a", "a", "b", "c"]


def test_a_split_column_names_a_class_by_its_first_spelling(root: Path) -> None:
    index = build(root, "path,class,split\na/2.mp4,A,test\na/1.avi,a,test\n")
    assert [record.class_name for record in index.records] == ["A", "A"]


def test_a_split_column_goes_before_a_random_split(root: Path) -> None:
    index = build(root, "path,class,split\na/2.mp4,a,test\nb/1.mp4,b,val\n", class_split="random")
    assert index.classes == {"train": (), "val": ("b",), "test": ("a",)}


def test_absent_files_are_told(root: Path) -> None:
    index = build(root, "path,class,split\na/2.mp4,a,test\na/3.mp4,a,test\nnone/1.mp4,a,test\n")
    assert index.missing.videos == {"test": ("a/3.mp4", "none/1.mp4")}
    assert "2 listed videos of test are not on disk" in index.summary()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,class,split\na/1.avi,a,train\n./a/1.avi,a,train\n", r"i\.csv, line 2 and .*i\.csv, line 3: the same"),
        ("path,class,split\na/1.avi,a,train\na/2.mp4,a,test\n", "line 2 and .*line 3: class 'a' is in 'train' and 'te"),
        ("path,class,split\na/1.avi,a,train\na/2.mp4,A,test\n", r"\(written 'a' and 'A'\); a class belongs to one"),
        ("path,class,split\na/1.avi,a,tset\n", r"line 2: .*got 'tset' \(did you mean 'test'\?\)"),
        ("path,class,split\na/1.avi,a,\n", "line 2: the column 'split' is empty; fill it in"),
        ("path,class\na/1.avi,\n", "line 2: the column 'class' is empty"),
        ("path,class\na/1.avi,putting a, b and c\n", "line 2: more cells than columns; .*double quotes"),
        ("path;class\na/1.avi;a\n", "line 1: .*comma separated.*path;class"),
        ("path,label\na/1.avi,a\n", "line 1: .*'label'"),
        ("path,class\n", "it has no rows; write one video a line"),
        ("", "line 1: expected column names"),
        ('path,class\na/1.avi,"' + "x" * 200_000, "after line 1: the rest cannot be read: .*close the double quo"),
        ('path,"' + "x" * 200_000, "after line 0: the rest cannot be read"),
    ],
)
def test_mistakes_are_named_with_their_line(root: Path, three_classes: Path, text: str, message: str) -> None:
    class_split = None if "split" in text else three_classes
    with pytest.raises(ValueError, match=message):
        build(root, text, class_split=class_split)
    listing = read_listing(ListingSettings("x", root, "csv", csv=root.parent / "i.csv", class_split=class_split))
    assert sum(fault.is_error for fault in listing.faults) == 1


def test_all_mistakes_are_found_at_once(root: Path) -> None:
    text = "path,class,split\n,a,train\na/1.avi,a,train\na/2.mp4,a,tain\na/1.avi,a,test\nb/1.mp4,A,val\nq,q,val,z\n"
    assert [fault.split(": ")[0] for fault in faults(root, text)] == [
        "i.csv, line 2",
        "i.csv, line 4",
        "i.csv, line 3 and i.csv, line 5",
        "i.csv, line 7",
        "i.csv, line 3 and i.csv, line 6",
        *("i.csv, line 3", "i.csv, line 6"),  # not an error: `a` and `A` are read as one class
    ]


def test_a_split_without_a_video_names_what_is_missing(root: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)split 'test'.*not found is for example 'none\.mp4'"):
        build(root, "path,class,split\nnone.mp4,a,test\n")


def test_split_column_and_class_split_do_not_mix(root: Path, three_classes: Path) -> None:
    text = "path,class,split\na/1.avi,a,train\n,b,val\n"
    assert faults(root, text, class_split=three_classes) == [
        "i.csv: it has a split column, and data.class_split is set as well; use one of the two",
        "i.csv, line 3: the column 'path' is empty; fill it in, or remove the line",
    ]


def test_missing_csv_names_the_setting(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.csv: the file does not exist; check the setting data\.csv"):
        index_of(root, kind="csv", csv=root / "none.csv")
    with pytest.raises(ValueError, match=r"data\.csv: no file is named"):
        index_of(root, kind="csv")


def test_a_csv_that_is_no_text_is_named(root: Path) -> None:
    (root / "i.csv").write_bytes(b"path,class\n\xff,a\n")
    with pytest.raises(ValueError, match=r"i\.csv: the file is not UTF-8 text \(invalid start byte\)"):
        index_of(root, kind="csv", csv=root / "i.csv")
