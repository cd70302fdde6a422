"""The index: folders, CSV and published lists, with the traps of real data sets."""

import time
from pathlib import Path

import pytest

from mdmf.data.listing.index import VideoIndex, build_index
from mdmf.data.listing.splits import load_class_split


def make_files(root: Path, *paths: str) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def ids(index: VideoIndex, split: str | None = None) -> list[str]:
    return [record.video_id for record in index.records if split in (None, record.split)]


@pytest.fixture
def three_classes(tmp_path: Path) -> Path:
    """A split a | b | c, in that order of train, val, test."""
    return write(tmp_path / "split.yaml", "train: [a]\nval: [b]\ntest: [c]")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_files(tmp_path / "videos", "a/2.mp4", "a/1.avi", "b/1.mp4", "c/1.webm")


class TestFolders:
    def test_records_are_sorted_by_split_class_and_id(self, root: Path, tmp_path: Path) -> None:
        make_files(root, "d/9.mp4", "d/10.mp4")
        split = write(tmp_path / "split.yaml", "train: [d, a]\nval: [c]\ntest: [b]")
        index = build_index(name="x", kind="folder", root=root, class_split=split)
        assert ids(index) == ["d/10.mp4", "d/9.mp4", "a/1.avi", "a/2.mp4", "c/1.webm", "b/1.mp4"]
        assert index.classes == {"train": ("d", "a"), "val": ("c",), "test": ("b",)}
        first = index.records[0]
        assert (first.class_name, first.split, first.path) == ("d", "train", root / "d" / "10.mp4")

    def test_frame_folders_count_as_videos_and_other_things_are_counted(self, root: Path, three_classes: Path) -> None:
        make_files(root, "a/3/00001.jpg", "a/3/00002.jpg", "a/notes.txt", "a/empty/x.txt", "a/.hidden.mp4", "readme.md")
        index = build_index(name="x", kind="folder", root=root, class_split=three_classes)
        assert ids(index, "train") == ["a/1.avi", "a/2.mp4", "a/3"]
        assert index.n_ignored_files == 2  # the text and the folder without frames; what lies in root is no class's
        assert "ignored: 2" in index.summary()

    def test_folders_match_class_names_up_to_spelling(self, tmp_path: Path) -> None:
        make_files(tmp_path / "v", "ride_bike/1.avi", "BRUSH HAIR/1.avi", "hurling_(sport)/1.mp4", "extra/1.avi")
        split = write(tmp_path / "s.yaml", "train: [ride bike]\nval: [brush_hair]\ntest: [hurling (sport)]")
        index = build_index(name="x", kind="folder", root=tmp_path / "v", class_split=split)
        assert [record.class_name for record in index.records] == ["ride bike", "brush_hair", "hurling (sport)"]
        assert index.unused_classes == ("extra",)
        assert set(index.known_classes) == {"ride bike", "brush_hair", "hurling (sport)", "extra"}

    def test_two_folders_for_one_class_are_named(self, root: Path, three_classes: Path) -> None:
        make_files(root, "a_/7.mp4")
        with pytest.raises(ValueError, match="class 'a' could be the folder 'a' or 'a_'"):
            build_index(name="x", kind="folder", root=root, class_split=three_classes)
        with pytest.raises(ValueError, match="written 'a' and 'a_'"):
            build_index(name="x", kind="folder", root=root, split_fractions=(0.5, 0.25, 0.25))

    def test_absent_and_empty_classes_are_kept_out_and_told(self, root: Path, tmp_path: Path) -> None:
        (root / "e").mkdir()
        split = write(tmp_path / "s.yaml", "train: [a, e, f]\nval: [b]\ntest: [c]")
        index = build_index(name="x", kind="folder", root=root, class_split=split)
        assert index.classes["train"] == ("a",)
        assert index.missing.classes == {"train": ("e", "f")}
        assert "2 classes of train have no video on disk: 'e', 'f'" in index.summary()
        assert {"e", "f"} <= set(index.known_classes)

    def test_a_split_without_any_video_says_what_to_do(self, root: Path, tmp_path: Path) -> None:
        split = write(tmp_path / "s.yaml", "train: [a]\nval: [b]\ntest: [nothing]")
        with pytest.raises(ValueError, match=r"(?s)split 'test'.*expected classes 'nothing'.*'c'.*data\.class_split"):
            build_index(name="x", kind="folder", root=root, class_split=split)

    def test_a_folder_of_texts_gets_a_helpful_message(self, tmp_path: Path) -> None:
        make_files(tmp_path, "a/1.txt", "b/2.txt")
        with pytest.raises(ValueError, match=r"folders 'a', 'b' with 2 other files.*\.mp4"):
            build_index(name="x", kind="folder", root=tmp_path, split_fractions=(0, 0, 1))

    def test_folders_of_splits_are_recognised(self, tmp_path: Path) -> None:
        make_files(tmp_path, "train/a/1.mp4", "test/b/2.mp4")
        with pytest.raises(ValueError, match=r"must lie directly in data\.root"):
            build_index(name="x", kind="folder", root=tmp_path, split_fractions=(0, 0, 1))

    def test_missing_root_names_the_setting(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"data\.root"):
            build_index(name="x", kind="folder", root=tmp_path / "none", split_fractions=(0, 0, 1))

    def test_one_video_in_two_forms_is_refused(self, root: Path, three_classes: Path) -> None:
        make_files(root, "a/1.mp4")
        with pytest.raises(ValueError, match="one video in two forms"):
            build_index(name="x", kind="folder", root=root, class_split=three_classes)

    def test_no_split_and_no_fractions_is_refused(self, root: Path) -> None:
        with pytest.raises(ValueError, match=r"set data\.class_split.*or data\.split_fractions"):
            build_index(name="x", kind="folder", root=root)

    def test_random_split_deals_only_folders_with_videos(self, root: Path) -> None:
        make_files(root, "annotations/labels.txt")
        settings = {"name": "x", "kind": "folder", "root": root, "split_fractions": (0.4, 0.3, 0.3), "split_seed": 2}
        index = build_index(**settings)  # type: ignore[arg-type]
        assert index == build_index(**settings, class_split="random")  # type: ignore[arg-type]
        assert sorted(name for names in index.classes.values() for name in names) == ["a", "b", "c"]
        assert index.unused_classes == ("annotations",)

    def test_unknown_kind(self, root: Path) -> None:
        with pytest.raises(ValueError, match="'folder', 'csv' or 'lists', got 'cvs'"):
            build_index(name="x", kind="cvs", root=root)

    def test_real_clips(self, shared_data: Path) -> None:
        root = shared_data / "clips" / "fight_surv"
        index = build_index(name="fights", kind="folder", root=root, split_fractions=(0.5, 0, 0.5))
        assert len(index.records) == 40
        assert all(record.path.is_file() for record in index.records)
        assert "1 classes, 20 videos (20 to 20 a class)" in index.summary()


class TestGroups:
    def test_ucf101_and_hmdb51_have_a_built_in_pattern(self, tmp_path: Path) -> None:
        ucf = make_files(tmp_path / "u", "HandstandPushups/v_HandStandPushups_g07_c02.avi")
        split = write(tmp_path / "u.yaml", "test: [HandstandPushups]")
        index = build_index(name="UCF101", kind="folder", root=ucf, class_split=split)
        assert index.records[0].group == "g07"
        hmdb = make_files(
            tmp_path / "h",
            "ride_bike/ride_bike_tour_ride_bike_f_cm_np1_le_med_0.avi",
            "wave/TrumanShow_wave_f_nm_np1_fr_med_26.avi",
            "wave/odd.avi",
        )
        split = write(tmp_path / "h.yaml", "train: [wave]\ntest: [ride bike]")
        index = build_index(name="hmdb51", kind="folder", root=hmdb, class_split=split)
        assert [record.group for record in index.records] == ["TrumanShow", None, "ride_bike_tour"]
        assert "no group: 1 videos" in index.summary()

    def test_own_pattern(self, root: Path, three_classes: Path) -> None:
        build = {"name": "x", "kind": "folder", "root": root, "class_split": three_classes}
        index = build_index(**build, group_pattern=r"^(\d)")  # type: ignore[arg-type]
        assert [record.group for record in index.records] == ["1", "2", "1", "1"]
        for pattern, message in ((r"(\d", "regular expression"), (r"\d", "one capture group"), ("(z)", "no file name")):
            with pytest.raises(ValueError, match=message):
                build_index(**build, group_pattern=pattern)  # type: ignore[arg-type]

    def test_real_names(self, shared_data: Path, tmp_path: Path) -> None:
        clips = sorted((shared_data / "clips" / "torchvision").glob("*_wave_*.avi"))
        assert len(clips) == 3
        listing = "".join(f"{clip.resolve()},wave,test\n" for clip in clips)
        file = write(tmp_path / "i.csv", "path,class,split\n" + listing)
        index = build_index(name="hmdb51", kind="csv", root=tmp_path, csv=file)
        assert {record.group for record in index.records} == {"RATRACE", "SchoolRulesHowTheyHelpUs", "TrumanShow"}


class TestCsv:
    def build(self, root: Path, text: str, **settings: object) -> VideoIndex:
        file = write(root.parent / "index.csv", text)
        return build_index(name="x", kind="csv", root=root, csv=file, **settings)  # type: ignore[arg-type]

    def test_split_and_group_columns(self, root: Path) -> None:
        text = "\ufeffpath, class,split,group\nc/1.webm,c,test,g9\na/2.mp4,a,train,\n./a/../b/1.mp4,b,val,\n"
        index = self.build(root, text)
        assert ids(index) == ["a/2.mp4", "b/1.mp4", "c/1.webm"]
        assert [record.group for record in index.records] == [None, None, "g9"]

    def test_absolute_paths_may_lie_elsewhere(self, root: Path, tmp_path: Path) -> None:
        other = make_files(tmp_path / "other", "z.mp4") / "z.mp4"
        index = self.build(root, f"path,class,split\n{other},z,test\n{root / 'a' / '2.mp4'},a,train\n")
        assert [record.path for record in index.records] == [root / "a" / "2.mp4", other]
        assert ids(index, "train") == ["a/2.mp4"]

    def test_class_split_names_classes_up_to_spelling(self, root: Path, three_classes: Path) -> None:
        index = self.build(root, "path,class\na/1.avi,A\na/2.mp4,a\nb/1.mp4,b\nc/1.webm,c\n", class_split=three_classes)
        assert [record.class_name for record in index.records] == ["a", "a", "b", "c"]

    def test_absent_files_are_told(self, root: Path) -> None:
        index = self.build(root, "path,class,split\na/2.mp4,a,test\na/3.mp4,a,test\nnone/1.mp4,a,test\n")
        assert index.missing.videos == {"test": ("a/3.mp4", "none/1.mp4")}
        assert "2 listed videos of test are not on disk" in index.summary()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("path,class,split\na/1.avi,a,train\n./a/1.avi,a,train\n", "lines 2 and 3 give the same video"),
            ("path,class,split\na/1.avi,a,train\na/2.mp4,a,test\n", "class 'a' is in 'train' and 'test'"),
            ("path,class,split\na/1.avi,a,train\na/2.mp4,A,test\n", "written 'a' and 'A'"),
            ("path,class,split\na/1.avi,a,tset\n", r"line 2: .*got 'tset' \(did you mean 'test'\?\)"),
            ("path,class,split\na/1.avi,a,\n", "line 2: the column 'split' is empty"),
            ("path,class\na/1.avi,\n", "line 2: the column 'class' is empty"),
            ("path,class\na/1.avi,putting a, b and c\n", "double quotes"),
            ("path;class\na/1.avi;a\n", "comma separated.*path;class"),
            ("path,label\na/1.avi,a\n", "'label'"),
            ("path,class\n", "no rows"),
            ("", "must begin with a line of column names"),
            ("path,class,split\nnone.mp4,a,test\n", "(?s)split 'test'.*not found is for example 'none.mp4'"),
        ],
    )
    def test_mistakes_are_named(self, root: Path, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            self.build(root, text)

    def test_split_column_and_class_split_do_not_mix(self, root: Path, three_classes: Path) -> None:
        for class_split in (three_classes, "random"):
            with pytest.raises(ValueError, match="use one of the two"):
                self.build(root, "path,class,split\na/1.avi,a,train\n", class_split=class_split)

    def test_missing_csv_names_the_setting(self, root: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"data\.csv"):
            build_index(name="x", kind="csv", root=root, csv=root / "none.csv")
        with pytest.raises(ValueError, match=r"data\.csv"):
            build_index(name="x", kind="csv", root=root)


class TestLists:
    def build(self, root: Path, tmp_path: Path, class_split: str | Path | None = None, **texts: str) -> VideoIndex:
        lists = {split: write(tmp_path / f"{split}.txt", text) for split, text in texts.items()}
        return build_index(name="x", kind="lists", root=root, lists=lists, class_split=class_split)

    def test_trx_lines_match_any_extension_and_spelling(self, tmp_path: Path) -> None:
        root = make_files(
            tmp_path / "v",
            "ride_bike/A.b_1.avi",
            "HandstandPushups/v_HandStandPushups_g01_c01.avi",
            "golf/x/00001.jpg",
            "golf/not_listed.avi",
        )
        train = "ride bike/A.b_1\nHandstandPushups/v_HandstandPushups_g01_c01\n"
        index = self.build(root, tmp_path, train=train, test="\ngolf/x.mp4\n")
        assert ids(index) == ["HandstandPushups/v_HandStandPushups_g01_c01.avi", "ride_bike/A.b_1.avi", "golf/x"]
        assert index.classes == {"train": ("HandstandPushups", "ride bike"), "val": (), "test": ("golf",)}

    def test_a_list_may_mix_spaces_and_underscores(self, tmp_path: Path) -> None:
        root = make_files(tmp_path / "v", "playing drums/1.mp4", "playing drums/2.mp4")
        index = self.build(root, tmp_path, test="playing_drums/1\nplaying drums/2\n")
        assert len(index.records) == 2
        assert len(index.classes["test"]) == 1

    def test_clip_fsar_numbers_are_places_in_the_split(self, tmp_path: Path) -> None:
        names = load_class_split("kinetics100")["test"]
        root = make_files(tmp_path / "v", "val_256/busking/abc.mkv", "train_256/hurling_(sport)/d_000001_000011.mp4")
        text = "test1//val_256/busking/abc.mp4\ntest10//train_256/hurling_(sport)/d_000001_000011.mp4\n"
        index = self.build(root, tmp_path, "kinetics100", test=text)
        assert [record.class_name for record in index.records] == [names[1], names[10]]
        assert index.classes["train"] == ()
        assert len(index.missing.classes["test"]) == 22

    def test_videos_without_class_folders_are_found_by_name(self, tmp_path: Path) -> None:
        """SSv2 lies in one folder; TRX unpacks it into folders named like the numbers."""
        flat = make_files(tmp_path / "flat", "20bn/195025.webm", "20bn/36.webm")
        nested = make_files(tmp_path / "nested", "test18/195025/00001.jpg", "test0/36/00001.jpg", "train0/36/00001.jpg")
        for root, expected in ((flat, "20bn/195025.webm"), (nested, "test18/195025")):
            index = self.build(root, tmp_path, "ssv2_full", test="test18/195025\ntest0//36\n")
            assert ids(index)[1] == expected
            assert index.records[1].class_name == "Showing something next to something"

    def test_stray_images_do_not_hide_a_class_folder(self, tmp_path: Path) -> None:
        root = make_files(tmp_path / "v", "golf/x.avi", "golf/thumbnail.jpg")
        assert ids(self.build(root, tmp_path, test="golf/x")) == ["golf/x.avi"]

    def test_names_of_another_class_do_not_match(self, tmp_path: Path) -> None:
        root = make_files(tmp_path / "v", "kick/x.avi", "golf/y.avi")
        index = self.build(root, tmp_path, test="kick/x\ngolf/y\ngolf/x\n")
        assert index.missing.videos == {"test": ("golf/x",)}

    def test_kinetics_names_with_and_without_times_are_one_clip(self, tmp_path: Path) -> None:
        root = make_files(
            tmp_path / "v", "busking/abc.mp4", "busking/d_000001_000011.mp4", "busking/e_000001_000011.mp4"
        )
        text = "busking/abc_000005_000015\nbusking/d.mp4\nbusking/e_000031_000041\n"
        index = self.build(root, tmp_path, test=text)
        assert ids(index) == ["busking/abc.mp4", "busking/d_000001_000011.mp4"]
        assert index.missing.videos == {"test": ("busking/e_000031_000041",)}

    def test_the_listed_extension_decides_between_two_files(self, tmp_path: Path) -> None:
        root = make_files(tmp_path / "v", "golf/x.avi", "golf/x.mp4")
        assert ids(self.build(root, tmp_path, test="golf/x.mp4")) == ["golf/x.mp4"]
        with pytest.raises(ValueError, match=r"line 1: 'golf/x' could be 'golf/x.avi' or 'golf/x.mp4'"):
            self.build(root, tmp_path, test="golf/x")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("kick/../../x\n", r"line 1: .*leads out of data\.root"),
            ("/etc/kick/x\n", r"leads out of data\.root"),
            ("C:/kick/x\n", r"leads out of data\.root"),
            ("x\n", "expected class/video"),
            ("kick/x\nkick/x.avi\n", r"line 1 and .*line 2 give the same video"),
            ("kick/absent\nkick/absent.mp4\n", "give the same video"),
            ("kikc/x\n", r"class 'kikc' is not in data\.class_split \(did you mean 'kick'\?\)"),
            ("wave/x\n", "class 'wave' is not a class of 'test'"),
            ("train0//kick/x\n", "'train0' is 'brush hair' in data.class_split, but the path says 'kick'"),
            ("train0//x\n", "class 'brush hair' is not a class of 'test'"),
            ("test10//x\n", "'test' has 10 classes, got 'test10'"),
            ("\n", "is empty"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, text: str, message: str) -> None:
        root = make_files(tmp_path / "v", "kick/x.avi")
        with pytest.raises(ValueError, match=message):
            self.build(root, tmp_path, "hmdb51", test=text)

    def test_numbers_need_a_class_split(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"'test3' is the number of a class; set data\.class_split"):
            self.build(root, tmp_path, test="test3/5")

    def test_a_part_of_a_published_data_set_knows_all_its_classes(self, tmp_path: Path) -> None:
        """Shipped prompts name the classes of every split, and must not be called misspelt."""
        root = make_files(tmp_path / "v", "kick/x.avi")
        everything = {name for names in load_class_split("hmdb51").values() for name in names}
        assert everything <= set(self.build(root, tmp_path, "hmdb51", test="kick/x").known_classes)
        lists = {"test": tmp_path / "test.txt"}
        assert everything <= set(build_index(name="hmdb51", kind="lists", root=root, lists=lists).known_classes)

    def test_lists_and_a_random_split_do_not_mix(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="cannot be 'random'"):
            self.build(root, tmp_path, "random", test="a/1")

    def test_a_class_in_two_lists_is_refused(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"data\.lists: class 'A' is in 'train' and 'test'"):
            self.build(root, tmp_path, train="a/1", test="A/2")

    def test_lists_must_be_named_and_exist(self, root: Path) -> None:
        with pytest.raises(ValueError, match=r"data\.lists must name a file"):
            build_index(name="x", kind="lists", root=root)
        with pytest.raises(ValueError, match="'trian'"):
            build_index(name="x", kind="lists", root=root, lists={"trian": root})
        with pytest.raises(FileNotFoundError, match=r"data\.lists\.val"):
            build_index(name="x", kind="lists", root=root, lists={"val": root / "none.txt"})

    def test_all_listed_videos_absent_says_what_to_do(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"(?s)split 'test'.*not found is for example 'a/7'.*data\.root"):
            self.build(root, tmp_path, test="a/7")


@pytest.fixture(scope="module")
def many_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    for c in range(20):
        (root / f"class_{c}").mkdir()
        for v in range(1000):
            (root / f"class_{c}" / f"v_{c}_{v}.mp4").touch()
    return root


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "csv", "lists"])
def test_time_grows_with_the_number_of_videos_only(many_videos: Path, tmp_path: Path, kind: str) -> None:
    """20,000 videos take 0.2 to 0.5 s; the limit is for busy machines and finds anything quadratic."""
    videos = [(f"class_{c}", f"v_{c}_{v}") for c in range(20) for v in range(1000)]
    listing = write(tmp_path / "list.txt", "".join(f"{c}/{v}\n" for c, v in videos))
    table = write(tmp_path / "i.csv", "path,class,split\n" + "".join(f"{c}/{v}.mp4,{c},test\n" for c, v in videos))
    settings = {
        "folder": {"split_fractions": (0.6, 0.2, 0.2)},
        "csv": {"csv": table},
        "lists": {"lists": {"test": listing}},
    }
    start = time.perf_counter()
    index = build_index(name="ucf101", kind=kind, root=many_videos, **settings[kind])  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    assert len(index.records) == 20_000
    assert seconds < 8, f"{seconds:.1f} s"
