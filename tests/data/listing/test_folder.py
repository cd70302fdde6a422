"""Class folders as a listing."""

from pathlib import Path

import pytest
from listing_files import faults_of, ids, index_of, make_files, write


@pytest.fixture
def three_classes(tmp_path: Path) -> Path:
    """A split a | b | c, in that order of train, val, test."""
    return write(tmp_path / "split.yaml", "train: [a]\nval: [b]\ntest: [c]")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_files(tmp_path / "videos", "a/2.mp4", "a/1.avi", "b/1.mp4", "c/1.webm")


@pytest.mark.parametrize("kind", ["folder", "shapes"])
def test_records_are_sorted_by_split_class_and_id(root: Path, tmp_path: Path, kind: str) -> None:
    make_files(root, "d/9.mp4", "d/10.mp4")
    split = write(tmp_path / "split.yaml", "train: [d, a]\nval: [c]\ntest: [b]")
    index = index_of(root, kind=kind, class_split=split)
    assert ids(index) == ["d/10.mp4", "d/9.mp4", "a/1.avi", "a/2.mp4", "c/1.webm", "b/1.mp4"]
    assert index.classes == {"train": ("d", "a"), "val": ("c",), "test": ("b",)}
    first = index.records[0]
    assert (first.class_name, first.split, first.path) == ("d", "train", root / "d" / "10.mp4")


def test_frame_folders_count_as_videos_and_other_things_are_counted(root: Path, three_classes: Path) -> None:
    make_files(root, "a/3/00001.jpg", "a/3/00002.jpg", "a/notes.txt", "a/empty/x.txt", "a/.hidden.mp4", "readme.md")
    index = index_of(root, class_split=three_classes)
    assert ids(index, "train") == ["a/1.avi", "a/2.mp4", "a/3"]
    assert index.n_ignored_files == 2  # the text and the folder without frames; what lies in root is no class's
    assert "ignored: 2" in index.summary()


def test_folders_match_class_names_up_to_spelling(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "ride_bike/1.avi", "BRUSH HAIR/1.avi", "hurling_(sport)/1.mp4", "extra/1.avi")
    split = write(tmp_path / "s.yaml", "train: [ride bike]\nval: [brush_hair]\ntest: [hurling (sport)]")
    index = index_of(root, class_split=split)
    assert [record.class_name for record in index.records] == ["ride bike", "brush_hair", "hurling (sport)"]
    assert index.unused_classes == ("extra",)
    assert set(index.known_classes) == {"ride bike", "brush_hair", "hurling (sport)", "extra"}


def test_two_folders_for_one_class_are_both_named(root: Path, three_classes: Path) -> None:
    make_files(root, "a_/7.mp4", "d/1.mp4", "D/2.mp4")
    expected = [
        "a/1.avi: 'a' and 'a_' are one class: only case, space, underscore or the like differ; merge the folders, or "
        "rename one",
        "a_/7.mp4: 'a_' and 'a' are one class: only case, space, underscore or the like differ; merge the folders, or "
        "rename one",
    ]
    assert faults_of(root, class_split=three_classes) == expected  # d is not used
    with pytest.raises(ValueError, match=r"^a/1\.avi: 'a' and 'a_' are one class"):
        index_of(root, class_split=three_classes)
    assert len(faults_of(root, class_split="random")) == 4


def test_every_video_in_two_forms_is_refused(root: Path, three_classes: Path) -> None:
    make_files(root, "a/1.mp4", "b/1.mov")
    message = "is listed twice: it could be support and query of one episode; remove or rename one"
    faults = faults_of(root, class_split=three_classes)
    assert faults == [
        f"a/1.avi and a/1.mp4: the same video 'a/1.mp4' {message}",
        f"b/1.mov and b/1.mp4: the same video 'b/1.mp4' {message}",
    ]
    with pytest.raises(ValueError, match=r"^a/1\.avi and a/1\.mp4: the same video"):
        index_of(root, class_split=three_classes)


def test_a_folder_of_texts_gets_a_helpful_message(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.txt", "b/2.txt")
    with pytest.raises(ValueError, match=r"folders 'a', 'b' with 2 other files.*\.mp4"):
        index_of(tmp_path, class_split="random")
    assert len(faults_of(tmp_path, class_split="random")) == 1


def test_folders_of_splits_are_recognised(tmp_path: Path) -> None:
    make_files(tmp_path, "train/a/1.mp4", "test/b/2.mp4")
    with pytest.raises(ValueError, match=r"must lie directly in data\.root"):
        index_of(tmp_path, class_split="random")


def test_random_split_deals_only_folders_with_videos(root: Path) -> None:
    make_files(root, "annotations/labels.txt")
    index = index_of(root, class_split="random", split_fractions=(0.4, 0.3, 0.3), split_seed=2)
    assert sorted(name for names in index.classes.values() for name in names) == ["a", "b", "c"]
    assert index.unused_classes == ("annotations",)


def test_a_folder_that_may_not_be_read_is_a_fault(root: Path, three_classes: Path, monkeypatch) -> None:
    def refuse(folder: str, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("mdmf.data.listing.folder.scan", refuse)
    faults = faults_of(root, class_split=three_classes)
    assert faults == [f"{root} (data.root): [Errno 13] Permission denied: '{root}/a'; check the permissions"]


def test_real_clips(shared_data: Path) -> None:
    root = shared_data / "clips" / "fight_surv"
    index = index_of(root, "fights", class_split="random", split_fractions=(0.5, 0, 0.5))
    assert len(index.records) == 40
    assert all(record.path.is_file() for record in index.records)
    assert "1 classes, 20 videos (20 to 20 a class)" in index.summary()
