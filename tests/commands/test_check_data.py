"""The data doctor from a config to its table, its CSV and its exit code: a planted fault each, and clean data."""

import csv
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mdmf.cli import main
from mdmf.data.listing.splits import published_counts
from mdmf.doctor.examine import check_data, requested_episodes
from mdmf.settings import Settings

SPLIT = {"train": ["kick", "ride bike"], "val": ["run", "sit"], "test": ["wave", "talk"]}
N_VIDEOS = 3
SMALL = ["data.class_split=split.yaml", "episode.n_way=2", "episode.n_query=1", "frames.n_frames=4", "data.n_workers=0"]


def write_clip(path: Path, seed: int, n_frames: int = 8) -> None:
    """A tiny video of its own: noise of this seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(8))
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(n_frames):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """Three clips of each of six classes, and their class split."""
    place = tmp_path_factory.mktemp("clean")
    names = [name for of_split in SPLIT.values() for name in of_split]
    for number, name in enumerate(names):
        for clip in range(N_VIDEOS):
            write_clip(place / "videos" / name / f"{clip}.mp4", seed=number * N_VIDEOS + clip)
    lines = [f"{split}: [{', '.join(of_split)}]" for split, of_split in SPLIT.items()]
    (place / "split.yaml").write_text("\n".join(lines))
    return place


@pytest.fixture
def place(clean, tmp_path, monkeypatch) -> Path:
    """A copy to harm, as the working folder."""
    shutil.copytree(clean, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def doctor(*words: str, code: int) -> list[dict[str, str]]:
    """The rows of the CSV, after the exit code was as expected."""
    got = main(["check-data", "--cfg", "clips", "--quiet", "data.root=videos", *SMALL, *words])
    assert got == code
    with Path("runs/check_clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def found(rows: list[dict[str, str]], level: str = "error") -> set[str]:
    return {row["code"] for row in rows if row["level"] == level}


def videos(rows: list[dict[str, str]], code: str) -> list[str]:
    return [row["video"] for row in rows if row["code"] == code]


class TestClean:
    @pytest.mark.parametrize("words", [[], ["--decode"]])
    def test_nothing_alarming_is_said(self, place, capsys, words):
        assert doctor(*words, code=0) == []
        said = capsys.readouterr().out
        assert "nothing found that would change a result" in said
        assert not {"error", "warning"} & set(said.replace("[", " ").split())
        assert ("not counted" in said) == (not words)
        row = next(line for line in said.splitlines() if line.startswith("| train"))
        assert [cell.strip() for cell in row.split("|")[2:6]] == ["2", "6", "3 (kick)", "0"]
        assert said.rstrip().endswith("findings: runs/check_clips.csv")

    def test_a_csv_of_your_own_choice(self, place, capsys):
        words = ["check-data", "--cfg", "clips", "--quiet", "--csv", "out/mine.csv", "data.root=videos", *SMALL]
        assert main(words) == 0
        assert (place / "out/mine.csv").read_text() == "level,code,split,class,video,detail,message\n"
        assert not (place / "runs").exists()

    def test_a_method_of_ones_own_is_not_imported(self, place):
        assert doctor("model.name=module", "model.module=absent_for_test", code=0) == []

    def test_in_processes_of_their_own(self, place):
        assert doctor("--decode", "data.n_workers=1", code=0) == []

    def test_a_csv_as_the_listing(self, place):
        lines = ["path,class,split"]
        lines += [f"{name}/{i}.mp4,{name},{s}" for s, names in SPLIT.items() for name in names for i in range(N_VIDEOS)]
        (place / "list.csv").write_text("\n".join(lines))
        assert doctor("data.kind=csv", "data.csv=list.csv", "data.class_split=null", code=0) == []


class TestPlantedFaults:
    def test_empty_file(self, place):
        (place / "videos/kick/1.mp4").write_bytes(b"")
        rows = doctor(code=1)
        assert videos(rows, "empty") == ["kick/1.mp4"]
        assert found(rows) == {"empty"}

    def test_dangling_link(self, place):
        (place / "videos/kick/9.mp4").symlink_to(place / "nowhere.mp4")
        assert videos(doctor(code=1), "unreadable") == ["kick/9.mp4"]

    @pytest.mark.parametrize("n_workers", [0, 1])
    def test_text_and_a_cut_file_are_found_by_decoding_alone(self, place, n_workers):
        whole = (place / "videos/kick/1.mp4").read_bytes()
        (place / "videos/kick/text.mp4").write_text("this is no video")
        (place / "videos/kick/cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
        assert found(doctor(code=0)) == set()
        rows = doctor("--decode", f"data.n_workers={n_workers}", code=1)
        assert videos(rows, "unreadable") == ["kick/cut.mp4", "kick/text.mp4"]
        assert all(row["detail"] for row in rows)

    def test_fewer_frames_than_asked_for(self, place):
        write_clip(place / "videos/kick/9.mp4", seed=99, n_frames=3)
        rows = doctor("--decode", code=0)
        assert videos(rows, "short") == ["kick/9.mp4"]
        assert found(rows, "warning") == {"short"}
        rows = doctor("--decode", "frames.short_videos=refuse", code=1)
        assert found(rows) == {"short"}

    def test_videos_that_cannot_be_decoded_are_not_drawn(self, place):
        for clip in range(2):
            (place / f"videos/wave/{clip}.mp4").write_text(f"this is no video {clip}")
        assert found(doctor("--decode", code=1)) == {"unreadable", "episodes"}

    def test_unreadable_and_short_videos_are_counted_apart(self, place):
        (place / "videos/wave/0.mp4").write_text("this is no video")
        for clip in range(1, 3):
            write_clip(place / f"videos/wave/{clip}.mp4", seed=90 + clip, n_frames=3)
        values = {"root": place / "videos", "class_split": str(place / "split.yaml"), "n_workers": 0}
        for policy in ("repeat", "refuse"):
            settings = Settings.model_validate({"data": values, "frames": {"short_videos": policy}})
            rows = {row.split: row for row in check_data(settings, decode=True, progress=False).rows}
            assert (rows["test"].n_unreadable, rows["test"].n_short) == (1, 2)
            assert (rows["train"].n_unreadable, rows["train"].n_short) == (0, 0)

    def test_videos_that_are_refused_are_not_drawn(self, place):
        for clip in range(2):
            write_clip(place / f"videos/wave/{clip}.mp4", seed=90 + clip, n_frames=3)
        rows = doctor("--decode", "frames.short_videos=refuse", code=1)
        assert found(rows) == {"short", "episodes"}

    @pytest.mark.parametrize(
        ("copy", "level", "code"),
        [
            ("kick/copy.mp4", "warning", "duplicate"),
            ("ride bike/copy.mp4", "error", "duplicate-across-classes"),
            ("wave/copy.mp4", "error", "duplicate-across-splits"),
        ],
    )
    def test_the_same_content_twice(self, place, copy, level, code):
        shutil.copy(place / "videos/kick/0.mp4", place / "videos" / copy)
        rows = doctor(code=int(level == "error"))
        assert [(row["level"], row["code"]) for row in rows] == [(level, code)]
        assert {rows[0]["video"], rows[0]["detail"].split()[1]} == {copy, "kick/0.mp4"}

    def test_class_folders_that_differ_in_writing(self, place):
        write_clip(place / "videos/Ride_Bike/5.mp4", seed=95)
        rows = doctor(code=1)
        assert found(rows) == {"index", "class-spelling"}
        assert {row["class"] for row in rows if row["code"] == "class-spelling"} == {"ride bike", "Ride_Bike"}

    def test_without_an_index_the_files_are_looked_at_all_the_same(self, place):
        write_clip(place / "videos/Ride_Bike/5.mp4", seed=95)
        (place / "videos/kick/1.mp4").write_bytes(b"")
        (place / "videos/wave/text.mp4").write_text("this is no video")
        rows = doctor("--decode", code=1)
        assert {"index", "empty", "unreadable", "class-spelling"} == found(rows)
        assert videos(rows, "unreadable") == ["wave/text.mp4"]

    def test_a_class_in_two_splits(self, place):
        text = (place / "split.yaml").read_text().replace("wave", "wave, kick").replace("talk", "talk, Sit")
        (place / "split.yaml").write_text(text)
        rows = doctor(code=1)
        assert found(rows) >= {"index", "class-in-two-splits"}
        assert {row["class"] for row in rows if row["code"] == "class-in-two-splits"} == {"kick", "sit / Sit"}

    def test_a_csv_with_a_video_in_two_splits(self, place):
        rows = ["path,class,split", "kick/0.mp4,kick,train", "kick/0.mp4,wave,test", "nowhere.mp4,wave,test"]
        (place / "list.csv").write_text("\n".join(rows))
        found_codes = found(doctor("data.kind=csv", "data.csv=list.csv", "data.class_split=null", code=1))
        assert found_codes == {"index", "video-in-two-splits"}

    def test_every_bad_line_of_a_csv(self, place):
        (place / "list.csv").write_text("path,class,split\nkick/0.mp4,kick,tain\n,kick,train\nkick/1.mp4,kick,train\n")
        rows = doctor("data.kind=csv", "data.csv=list.csv", "data.class_split=null", code=1)
        assert videos(rows, "listing") == ["list.csv, line 2", "list.csv, line 3"]

    @pytest.mark.parametrize(
        ("kind", "places"),
        [
            ("folder", ["kick/0.avi and kick/0.mp4", "run/1.avi and run/1.mp4"]),
            ("csv", ["list.csv, line 2", "list.csv, line 4", "list.csv, line 3 and list.csv, line 5"]),
            ("lists", ["test.txt, line 2", "test.txt, line 3", "test.txt, line 1 and test.txt, line 4"]),
        ],
    )
    def test_every_fault_of_a_format_is_reported_and_the_index_names_the_first(self, place, kind, places):
        if kind == "folder":
            for video in ("kick/0", "run/1"):
                shutil.copy(place / f"videos/{video}.mp4", place / f"videos/{video}.avi")
        rows = [
            "path,class,split",
            "kick/1.mp4,,train",
            "kick/0.mp4,kick,train",
            "run/0.mp4,run,vla",
            "kick/0.mp4,kick,train",
        ]
        (place / "list.csv").write_text("\n".join(rows))
        (place / "test.txt").write_text("wave/0\nwave\nkick/0\nwave/0.mp4\n")
        words = {
            "folder": [],
            "csv": ["data.csv=list.csv", "data.class_split=null"],
            "lists": ["data.lists={test: test.txt}"],
        }
        rows = doctor(f"data.kind={kind}", *words[kind], code=1)
        reported = [row["video"] for row in rows if row["code"] in ("listing", "listed-twice")]
        assert sorted(reported) == sorted(places)
        assert f"no command runs on this data: {places[0]}: " in next(
            row["message"] for row in rows if row["code"] == "index"
        )

    def test_listed_but_not_on_disk(self, place):
        lines = [f"{name}/{i}" for name in SPLIT["test"] for i in range(N_VIDEOS + 1)]
        (place / "test.txt").write_text("\n".join(lines))
        lists = ["data.kind=lists", "data.lists={test: test.txt}", "data.class_split=null", "model.name=otam"]
        rows = doctor(*lists, code=1)
        assert found(rows) == {"missing-video"}
        assert videos(rows, "missing-video") == ["wave/3", "talk/3"]

    def test_a_class_without_videos(self, place):
        shutil.move(place / "videos/kick", place / "videos/kicks")
        rows = doctor(code=1)
        assert {"missing-class", "episodes"} == found(rows)
        assert "on disk is 'kicks'" in next(row["detail"] for row in rows if row["code"] == "missing-class")

    def test_a_split_without_videos(self, place):
        shutil.rmtree(place / "videos/wave")
        shutil.rmtree(place / "videos/talk")
        assert "index" in found(doctor(code=1))

    def test_episodes_that_are_too_large(self, place):
        rows = doctor("episode.n_shot=3", code=1)
        assert found(rows) == {"episodes"}
        assert {row["split"] for row in rows} == {"train", "val", "test"}

    def test_groups_that_leave_no_query(self, place):
        pattern = r"data.group_pattern=^(\d)"
        assert doctor(pattern, "episode.group_disjoint=true", code=0)  # a warning: recordings in several splits
        for clip in range(N_VIDEOS):
            (place / f"videos/talk/{clip}.mp4").rename(place / f"videos/talk/7_{clip}.mp4")
        rows = doctor(pattern, "episode.group_disjoint=true", code=1)
        assert found(rows) == {"episodes"}
        assert "talk" in next(row["detail"] for row in rows if row["code"] == "episodes")
        assert found(doctor("episode.group_disjoint=true", code=1)) == {"no-group"}

    def test_a_recording_in_two_splits(self, place):
        rows = doctor(r"data.group_pattern=^(\d)", code=0)
        assert found(rows, "warning") == {"group-in-two-splits"}
        assert videos(rows, "group-in-two-splits") == ["0", "1", "2"]

    def test_prompts_that_do_not_fit(self, place):
        (place / "mine.yaml").write_text("templates: ['{}']\nclasses: {kik: a kick}\n")
        rows = doctor("data.prompts=mine.yaml", code=1)
        assert found(rows) == {"prompts"}
        assert "did you mean 'kick'" in rows[0]["message"]


class TestPublishedDataSets:
    @pytest.fixture
    def hmdb51(self, tmp_path, monkeypatch) -> Path:
        """HMDB51's layout and counts; each file holds its own name."""
        monkeypatch.chdir(tmp_path)
        for of_split in published_counts("hmdb51").values():
            for name, n_videos in of_split.items():
                folder = tmp_path / "videos" / name.replace(" ", "_")
                folder.mkdir(parents=True)
                for i in range(n_videos):
                    (folder / f"film{i}_{name}_f_cm_np1_{i}.avi").write_text(f"{name}{i}")
        return tmp_path

    def doctor(self, *words: str) -> int:
        return main(["check-data", "--quiet", "data.root=videos", *words])

    def test_the_whole_of_hmdb51_is_clean_and_a_lost_clip_is_not(self, hmdb51, capsys):
        assert self.doctor("--cfg", "hmdb51") == 0
        said = capsys.readouterr().out
        row = next(line for line in said.splitlines() if line.startswith("| train"))
        cells = [cell.strip() for cell in row.split("|")]
        assert (cells[2], cells[3], cells[7], cells[8]) == ("31", "4,280", "31", "4,280")
        assert "error" not in said
        assert "warning" not in said
        next((hmdb51 / "videos/wave").iterdir()).unlink()
        assert self.doctor("--cfg", "hmdb51") == 1
        assert "wave: 103 videos, published 104" in capsys.readouterr().out

    def test_the_lists_of_small_used_as_full(self, tmp_path, monkeypatch, capsys):
        """Numbered lists: the names come from the class split of Full, and every label is wrong."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "videos").mkdir()
        words, number = [], 0
        for split, of_split in published_counts("ssv2_small").items():
            lines = []
            for place, n_videos in enumerate(of_split.values()):
                for _ in range(n_videos):
                    number += 1
                    lines.append(f"{split}{place}//videos/{number}.mp4")
                    if number % 20 == 0:
                        (tmp_path / f"videos/{number}.webm").write_text(str(number))
            (tmp_path / f"{split}.txt").write_text("\n".join(lines))
            words.append(f"{split}: {split}.txt")
        lists = ["data.kind=lists", f"data.lists={{{', '.join(words)}}}"]
        assert self.doctor("--cfg", "ssv2_full", *lists) == 1
        said = capsys.readouterr().out
        assert "error [ssv2-trap]: class by class the splits have as many videos as the lists of ssv2_small" in said
        assert self.doctor("--cfg", "ssv2_small", *lists) == 1  # most are not on disk, but these are its lists
        said = capsys.readouterr().out
        assert "ssv2-trap" not in said
        assert "… and 9,490 more" in said

    def test_the_named_lists_of_full_used_as_small(self, tmp_path, monkeypatch, capsys):
        """No index can be built of them, since their classes are in other splits; what they are is still said."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "videos").mkdir()
        (tmp_path / "videos/1.webm").write_text("1")
        words = []
        for split, of_split in published_counts("ssv2_full").items():
            lines = [f"{name.replace(' ', '_')}/{split}{place}" for place, name in enumerate(of_split)]
            (tmp_path / f"{split}.txt").write_text("\n".join(lines))
            words.append(f"{split}: {split}.txt")
        lists = ["data.kind=lists", f"data.lists={{{', '.join(words)}}}"]
        assert self.doctor("--cfg", "ssv2_small", *lists) == 1
        said = capsys.readouterr().out
        assert "error [index]" in said
        assert "error [ssv2-trap]: the classes of the splits are those of ssv2_full (100% agree" in said


def test_what_is_not_there_at_all_is_an_error_not_a_finding(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check-data", "--cfg", "clips", "data.root=nowhere"]) == 2
    assert "nowhere does not exist; check the setting data.root" in capsys.readouterr().err
    assert main(["check-data", "--cfg", "clips"]) == 2
    assert "data.root is not set" in capsys.readouterr().err


def test_only_what_is_drawn_is_asked_for():
    trained = Settings.model_validate({"episode": {"n_shot": 5}, "evaluation": {"n_way": 7}})
    asked = {each.split: (each.n_way, each.n_shot, each.n_query) for each in requested_episodes(trained)}
    assert asked == {"train": (5, 5, 5), "val": (5, 5, 1), "test": (7, 5, 1)}
    baseline = Settings.model_validate({"model": {"name": "otam"}})
    assert [each.split for each in requested_episodes(baseline)] == ["test"]


@pytest.mark.parametrize(("name", "of_val"), [("otam", [(20, 2, 1)]), ("m2df", [(5, 1, 1), (20, 2, 1)])])
def test_the_weight_of_the_text_is_chosen_on_val_by_episodes_of_the_test(name, of_val):
    """Val may have the classes for the episodes of training and not for those of the test."""
    values = {"model": {"name": name, "text_weight": "val"}, "evaluation": {"n_way": 20, "n_shot": 2}}
    asked = requested_episodes(Settings.model_validate(values))
    assert [(each.n_way, each.n_shot, each.n_query) for each in asked if each.split == "val"] == of_val


def test_nothing_is_encoded_and_no_store_is_made(place):
    settings = Settings.model_validate(
        {
            "data": {"root": place / "videos", "class_split": str(place / "split.yaml"), "n_workers": 0},
            "episode": {"n_way": 2, "n_query": 1},
        }
    )
    report = check_data(settings, decode=True, progress=False)
    assert (report.n_errors, report.is_decoded) == (0, True)
    assert sorted(path.name for path in place.iterdir()) == ["split.yaml", "videos"]


def test_the_embedded_world_is_looked_at_and_not_mended(tmp_path, monkeypatch, capsys):
    """What is lost of it would be drawn again by whatever trains on it: a doctor that did would hide the damage."""
    monkeypatch.chdir(tmp_path)
    for name in ("appear", "grow"):
        write_clip(tmp_path / "world" / name / "000.mp4", seed=len(name))
    shutil.rmtree(tmp_path / "world" / "grow")
    (tmp_path / "world" / "grow").mkdir()
    before = sorted(path.relative_to(tmp_path) for path in (tmp_path / "world").rglob("*"))
    assert main(["check-data", "--cfg", "demo", "--quiet", "data.root=world"]) == 1
    assert sorted(path.relative_to(tmp_path) for path in (tmp_path / "world").rglob("*")) == before
    assert "would change a result" in capsys.readouterr().out
    assert main(["check-data", "--cfg", "demo", "--quiet", "data.root=absent"]) == 2
    assert "the embedded world is not in" in capsys.readouterr().err
    assert not (tmp_path / "absent").exists()
