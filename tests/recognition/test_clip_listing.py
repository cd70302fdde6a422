from pathlib import Path

import pytest

from mdmf.recognition.clip_listing import list_queries, list_support, shown_path


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_per_action_in_order_of_names(tmp_path):
    touch(*(tmp_path / name for name in ("kick it/b.mp4", "kick it/a ü.MKV", "jump/c/00001.jpg", "jump/c/00002.jpg")))
    listing = list_support(tmp_path)
    assert list(listing.clips) == ["jump", "kick it"]
    assert listing.clips["kick it"] == (tmp_path / "kick it/a ü.MKV", tmp_path / "kick it/b.mp4")
    assert listing.clips["jump"] == (tmp_path / "jump/c",)
    assert listing.notes == ()


def test_what_is_not_used_is_said(tmp_path):
    touch(*(tmp_path / name for name in ("a/1.mp4", "b/1.mp4", "b/notes.txt", "readme.md", ".hidden", ".git/x.mp4")))
    listing = list_support(str(tmp_path))
    assert list(listing.clips) == ["a", "b"]
    assert listing.notes == (
        "not used, since they lie beside the folders of the actions: 'readme.md'",
        "not used in b: 1 things that are no clips",
    )


def test_a_mapping_is_the_same_in_any_order(tmp_path):
    one, two, three = (tmp_path / f"{number}.mp4" for number in range(3))
    touch(one, two, three)
    listing = list_support({"kick": [three, str(two)], "jump": one})
    assert listing == list_support({"jump": [one], "kick": [two, three]})
    assert listing.clips == {"jump": (one,), "kick": (two, three)}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "holds nothing; expected a folder per action"),
        (["a.mp4"], r"holds files only \('a.mp4'\)"),
        (["kick/a.mp4"], "one class only, 'kick'"),
        (["kick/a.mp4", "jump/a.txt"], r"jump holds no clip \(1 other things\)"),
        (["kick/a.mp4", "jump/deep/deeper/a.mp4"], "holds no clip"),
        (["ride_bike/a.mp4", "Ride Bike/a.mp4"], "'Ride Bike' and 'ride_bike' differ only in spelling"),
    ],
)
def test_a_support_that_cannot_be_is_refused(tmp_path, files, said):
    touch(*(tmp_path / file for file in files))
    with pytest.raises(ValueError, match=said):
        list_support(tmp_path)


def test_a_mapping_that_cannot_be_is_refused(tmp_path):
    touch(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="there is no class"):
        list_support({})
    with pytest.raises(ValueError, match="class 'kick' has no clip"):
        list_support({"kick": [], "jump": [tmp_path / "a.mp4"]})
    with pytest.raises(FileNotFoundError, match=r"b\.mp4 of class 'kick' does not exist"):
        list_support({"kick": [tmp_path / "b.mp4"], "jump": [tmp_path / "a.mp4"]})
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list_support(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is no folder"):
        list_support(tmp_path / "a.mp4")


def test_queries_from_files_and_folders_each_once(tmp_path):
    touch(*(tmp_path / name for name in ("a.mp4", "in/b.avi", "in/deep/c.mp4", "in/deep/thumb.jpg", "in/x.txt")))
    touch(tmp_path / "frames/1.png", tmp_path / "frames/2.png")
    listing = list_queries([tmp_path / "frames", tmp_path / "in", tmp_path / "a.mp4", tmp_path / "in/../a.mp4"])
    assert [path.relative_to(tmp_path).as_posix() for path in listing] == [
        "frames",
        "in/b.avi",
        "in/deep/c.mp4",
        "a.mp4",
    ]
    assert list_queries(str(tmp_path / "a.mp4")) == (tmp_path / "a.mp4",)


def test_a_folder_that_links_to_itself_ends(tmp_path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "again").symlink_to(tmp_path)
    assert list_queries(tmp_path) == (tmp_path / "a.mp4",)


def test_no_query_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="there is no clip to be named"):
        list_queries([])
    with pytest.raises(ValueError, match="has no name"):
        list_queries([tmp_path, ""])
    with pytest.raises(ValueError, match="empty holds no clip"):
        list_queries(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"x\.mp4 does not exist"):
        list_queries(tmp_path / "x.mp4")


def test_a_name_that_is_no_text_can_be_shown():
    shown_path(Path("a\udcff.mp4")).encode("utf-8")
    assert shown_path(Path("ü b.mp4")) == "ü b.mp4"
