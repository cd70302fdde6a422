"""The index: what is missing is kept out and told, source recordings, and the time that it takes."""

import time
from pathlib import Path

import pytest
from listing_files import index_of, make_files, write


@pytest.fixture
def three_classes(tmp_path: Path) -> Path:
    return write(tmp_path / "split.yaml", "train: [a]\nval: [b]\ntest: [c]")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_files(tmp_path / "videos", "a/2.mp4", "a/1.avi", "b/1.mp4", "c/1.webm")


def test_absent_and_empty_classes_are_kept_out_and_told(root: Path, tmp_path: Path) -> None:
    (root / "e").mkdir()
    split = write(tmp_path / "s.yaml", "train: [a, e, f]\nval: [b]\ntest: [c]")
    index = index_of(root, class_split=split)
    assert index.classes["train"] == ("a",)
    assert index.missing.classes == {"train": ("e", "f")}
    assert index.unused_classes == ()
    assert "2 classes of train have no video on disk: 'e', 'f'" in index.summary()
    assert {"e", "f"} <= set(index.known_classes)


def test_a_split_without_any_video_says_what_to_do(root: Path, tmp_path: Path) -> None:
    split = write(tmp_path / "s.yaml", "train: [a]\nval: [b]\ntest: [nothing]")
    with pytest.raises(ValueError, match=r"(?s)split 'test'.*expected classes 'nothing'.*'c'.*data\.class_split"):
        index_of(root, class_split=split)


class TestGroups:
    def test_ucf101_and_hmdb51_have_a_built_in_pattern(self, tmp_path: Path) -> None:
        ucf = make_files(tmp_path / "u", "HandstandPushups/v_HandStandPushups_g07_c02.avi")
        split = write(tmp_path / "u.yaml", "test: [HandstandPushups]")
        assert index_of(ucf, "UCF101", class_split=split).records[0].group == "g07"
        hmdb = make_files(
            tmp_path / "h",
            "ride_bike/ride_bike_tour_ride_bike_f_cm_np1_le_med_0.avi",
            "wave/TrumanShow_wave_f_nm_np1_fr_med_26.avi",
            "wave/odd.avi",
        )
        split = write(tmp_path / "h.yaml", "train: [wave]\ntest: [ride bike]")
        index = index_of(hmdb, "hmdb51", class_split=split)
        assert [record.group for record in index.records] == ["TrumanShow", None, "ride_bike_tour"]
        assert "no group: 1 videos" in index.summary()

    def test_own_pattern(self, root: Path, three_classes: Path) -> None:
        index = index_of(root, class_split=three_classes, group_pattern=r"^(\d)")
        assert [record.group for record in index.records] == ["1", "2", "1", "1"]
        with pytest.raises(ValueError, match=r"'\(z\)' matches no file name; a name here is '1.avi'"):
            index_of(root, class_split=three_classes, group_pattern="(z)")

    def test_real_names(self, shared_data: Path, tmp_path: Path) -> None:
        clips = sorted((shared_data / "clips" / "torchvision").glob("*_wave_*.avi"))
        assert len(clips) == 3
        listing = "".join(f"{clip.resolve()},wave,test\n" for clip in clips)
        file = write(tmp_path / "i.csv", "path,class,split\n" + listing)
        index = index_of(tmp_path, "hmdb51", kind="csv", csv=file)
        assert {record.group for record in index.records} == {"RATRACE", "SchoolRulesHowTheyHelpUs", "TrumanShow"}


N_OF_CLASS = 400


@pytest.fixture(scope="module")
def many_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    for c in range(20):
        (root / f"class_{c}").mkdir()
        for v in range(N_OF_CLASS):
            (root / f"class_{c}" / f"v_{c}_{v}.mp4").touch()
    return root


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "csv", "lists"])
def test_time_grows_with_the_number_of_videos_only(many_videos: Path, tmp_path: Path, kind: str) -> None:
    """8,000 videos take 0.1 to 0.2 s of a processor; the limit is for slow ones and finds anything quadratic."""
    videos = [(f"class_{c}", f"v_{c}_{v}") for c in range(20) for v in range(N_OF_CLASS)]
    listing = write(tmp_path / "list.txt", "".join(f"{c}/{v}\n" for c, v in videos))
    table = write(tmp_path / "i.csv", "path,class,split\n" + "".join(f"{c}/{v}.mp4,{c},test\n" for c, v in videos))
    start = time.process_time()
    of_listing = {"csv": table, "lists": {"test": listing}, "class_split": "random"}
    index = index_of(many_videos, "mine", kind=kind, **of_listing)
    seconds = time.process_time() - start
    assert len(index.records) == 20 * N_OF_CLASS
    assert seconds < 1.3, f"{seconds:.1f} s"
