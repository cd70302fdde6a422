"""Published lists as a listing: found on disk by class and name, and every mistake named with its line."""

from pathlib import Path

import pytest
from listing_files import faults_of, ids, index_of, make_files, write

from mdmf.data.listing.index import VideoIndex
from mdmf.data.listing.splits import load_class_split


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_files(tmp_path / "videos", "a/2.mp4", "a/1.avi", "b/1.mp4", "c/1.webm")


def lists_of(tmp_path: Path, texts: dict[str, str]) -> dict[str, Path]:
    return {split: write(tmp_path / f"{split}.txt", text) for split, text in texts.items()}


def build(root: Path, tmp_path: Path, class_split: str | Path | None = None, **texts: str) -> VideoIndex:
    return index_of(root, kind="lists", lists=lists_of(tmp_path, texts), class_split=class_split)


def faults(root: Path, tmp_path: Path, class_split: str | None = None, **texts: str) -> list[str]:
    settings = {"kind": "lists", "lists": lists_of(tmp_path, texts), "class_split": class_split}
    return [message.replace(f"{tmp_path}/", "") for message in faults_of(root, **settings)]


def test_trx_lines_match_any_extension_and_spelling(tmp_path: Path) -> None:
    root = make_files(
        tmp_path / "v",
        "ride_bike/A.b_1.avi",
        "HandstandPushups/v_HandStandPushups_g01_c01.avi",
        "golf/x/00001.jpg",
        "golf/not_listed.avi",
    )
    train = "ride bike/A.b_1\nHandstandPushups/v_HandstandPushups_g01_c01\n"
    index = build(root, tmp_path, train=train, test="\ngolf/x.mp4\n")
    assert ids(index) == ["HandstandPushups/v_HandStandPushups_g01_c01.avi", "ride_bike/A.b_1.avi", "golf/x"]
    assert index.classes == {"train": ("HandstandPushups", "ride bike"), "val": (), "test": ("golf",)}


def test_a_list_may_mix_spaces_and_underscores(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "playing drums/1.mp4", "playing drums/2.mp4")
    index = build(root, tmp_path, test="playing_drums/1\nplaying drums/2\n")
    assert len(index.records) == 2
    assert len(index.classes["test"]) == 1


def test_clip_fsar_numbers_are_places_in_the_split(tmp_path: Path) -> None:
    names = load_class_split("kinetics100")["test"]
    root = make_files(tmp_path / "v", "val_256/busking/abc.mkv", "train_256/hurling_(sport)/d_000001_000011.mp4")
    text = "test1//val_256/busking/abc.mp4\ntest10//train_256/hurling_(sport)/d_000001_000011.mp4\n"
    index = build(root, tmp_path, "kinetics100", test=text)
    assert [record.class_name for record in index.records] == [names[1], names[10]]
    assert index.classes["train"] == ()
    assert len(index.missing.classes["test"]) == 22


def test_videos_without_class_folders_are_found_by_name(tmp_path: Path) -> None:
    """SSv2 lies in one folder; TRX unpacks it into folders named like the numbers."""
    flat = make_files(tmp_path / "flat", "20bn/195025.webm", "20bn/36.webm")
    nested = make_files(tmp_path / "nested", "test18/195025/00001.jpg", "test0/36/00001.jpg", "train0/36/00001.jpg")
    for root, expected in ((flat, "20bn/195025.webm"), (nested, "test18/195025")):
        index = build(root, tmp_path, "ssv2_full", test="test18/195025\ntest0//36\n")
        assert ids(index)[1] == expected
        assert index.records[1].class_name == "Showing something next to something"


def test_stray_images_do_not_hide_a_class_folder(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "golf/x.avi", "golf/thumbnail.jpg")
    assert ids(build(root, tmp_path, test="golf/x")) == ["golf/x.avi"]


def test_names_of_another_class_do_not_match(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "kick/x.avi", "golf/y.avi")
    index = build(root, tmp_path, test="kick/x\ngolf/y\ngolf/x\n")
    assert index.missing.videos == {"test": ("golf/x",)}


def test_kinetics_names_with_and_without_times_are_one_clip(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "busking/abc.mp4", "busking/d_000001_000011.mp4", "busking/e_000001_000011.mp4")
    text = "busking/abc_000005_000015\nbusking/d.mp4\nbusking/e_000031_000041\n"
    index = build(root, tmp_path, test=text)
    assert ids(index) == ["busking/abc.mp4", "busking/d_000001_000011.mp4"]
    assert index.missing.videos == {"test": ("busking/e_000031_000041",)}


def test_the_exact_name_goes_before_a_name_without_times_or_in_another_case(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "a/X.mp4", "a/x.mp4", "a/x_000001_000011.mp4", "a/Y.mp4", "a/Y_000001_000011.mp4")
    assert ids(build(root, tmp_path, test="a/x\na/y\na/X\n")) == ["a/X.mp4", "a/Y.mp4", "a/x.mp4"]


def test_the_listed_extension_decides_between_two_files(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "golf/x.avi", "golf/x.mp4")
    assert ids(build(root, tmp_path, test="golf/x.mp4")) == ["golf/x.mp4"]
    with pytest.raises(ValueError, match=r"line 1: 'golf/x' could be 'golf/x.avi' or 'golf/x.mp4'"):
        build(root, tmp_path, test="golf/x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kick/../../x\n", r"line 1: .*leads out of data\.root"),
        ("/etc/kick/x\n", r"leads out of data\.root"),
        ("C:/kick/x\n", r"leads out of data\.root"),
        ("x\n", "expected class/video"),
        ("kick/x\nkick/x.avi\n", r"line 1 and .*line 2: the same video"),
        ("kick/absent\nkick/absent.mp4\n", "the same video"),
        ("kikc/x\n", r"class 'kikc' is not in data\.class_split \(did you mean 'kick'\?\)"),
        ("wave/x\n", "class 'wave' is not a class of 'test'"),
        ("train0//kick/x\n", "'train0' is 'brush hair' in data.class_split, but the path says 'kick'"),
        ("train0//x\n", "class 'brush hair' is not a class of 'test'"),
        ("test10//x\n", "'test10' is no class: the split has 10 classes"),
        ("\n", "is empty"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    root = make_files(tmp_path / "v", "kick/x.avi")
    with pytest.raises(ValueError, match=message):
        build(root, tmp_path, "hmdb51", test=text)
    assert len(faults(root, tmp_path, "hmdb51", test=text)) == 1


def test_all_mistakes_are_found_at_once(tmp_path: Path) -> None:
    root = make_files(tmp_path / "v", "kick/x.avi", "kick/x.mp4")
    texts = {"train": "wave/1\nlonely\nkick/3\n", "val": "\n", "test": "kick/x\nkikc/2\nkick/4\nkick/4.mp4\ntest77/5\n"}
    assert [fault.split(": ")[0] for fault in faults(root, tmp_path, "hmdb51", **texts)] == [
        "train.txt, line 2",
        "val.txt (data.lists.val)",
        "train.txt, line 3",
        "test.txt, line 1",
        "test.txt, line 2",
        "test.txt, line 3 and test.txt, line 4",
        "test.txt, line 5",
    ]


def test_numbers_need_a_class_split(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'test3' is the number of a class; set data\.class_split"):
        build(root, tmp_path, test="test3/5")


def test_a_part_of_a_published_data_set_knows_all_its_classes(tmp_path: Path) -> None:
    """Shipped prompts name the classes of every split, and must not be called misspelt."""
    root = make_files(tmp_path / "v", "kick/x.avi")
    everything = {name for names in load_class_split("hmdb51").values() for name in names}
    assert everything <= set(build(root, tmp_path, "hmdb51", test="kick/x").known_classes)
    lists = {"test": tmp_path / "test.txt"}
    assert everything <= set(index_of(root, "hmdb51", kind="lists", lists=lists).known_classes)


def test_lists_go_before_a_random_split(root: Path, tmp_path: Path) -> None:
    assert build(root, tmp_path, "random", test="a/1").classes == {"train": (), "val": (), "test": ("a",)}


def test_a_class_in_two_lists_is_named_with_both_lines(root: Path, tmp_path: Path) -> None:
    message = r"train\.txt, line 1 and .*test\.txt, line 1: class 'A' is in 'train' and 'test' \(written 'a' and 'A'\)"
    with pytest.raises(ValueError, match=message):
        build(root, tmp_path, train="a/1", test="A/2")


def test_each_missing_list_names_its_setting(root: Path) -> None:
    lists = {"train": root / "nowhere.txt", "val": root / "none.txt"}
    with pytest.raises(FileNotFoundError, match=r"data\.lists\.train"):
        index_of(root, kind="lists", lists=lists)
    assert [fault.split("setting ")[1] for fault in faults_of(root, kind="lists", lists=lists)] == [
        "data.lists.train",
        "data.lists.val",
    ]
    with pytest.raises(ValueError, match="no video is listed"):
        index_of(root, kind="lists")


def test_all_listed_videos_absent_says_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)split 'test'.*not found is for example 'a/7'.*data\.root"):
        build(root, tmp_path, test="a/7")
