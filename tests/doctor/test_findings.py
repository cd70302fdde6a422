"""The data doctor's parts: each planted fault is found, and its neighbours are not."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from mdmf.data.listing.index import Missing
from mdmf.doctor.counts import count_findings, count_videos, missing_findings, ssv2_findings
from mdmf.doctor.files import (
    FileFacts,
    duplicate_findings,
    file_findings,
    group_findings,
    look_at_files,
    name_findings,
    short_finding,
)
from mdmf.doctor.findings import AskedEpisodes, Example, Finding, episode_findings, most_serious_first, split_rows
from mdmf.doctor.listing import (
    Entry,
    class_findings,
    listed_counts,
    read_class_split,
    read_csv,
    read_folders,
    read_lists,
    records_of,
    repeated_videos,
)
from mdmf.doctor.published_counts import PUBLISHED, published_counts, published_name
from mdmf.structures import VideoRecord

CLASSES = {"train": ("kick", "run"), "val": (), "test": ("wave",)}


def record(video_id: str, split: str = "train", group: str | None = None, root: Path = Path("/none")) -> VideoRecord:
    return VideoRecord(video_id, root / video_id, video_id.split("/")[0], split, group)


def codes(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.code) for finding in findings]


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


class TestPublishedCounts:
    def test_sizes_of_the_published_splits(self) -> None:
        sizes = {name: [len(of_split) for of_split in published_counts(name).values()] for name in PUBLISHED}
        of_cmn = [64, 12, 24]
        assert sizes == {
            "kinetics100": of_cmn, "ssv2_small": of_cmn, "ssv2_full": of_cmn,
            "hmdb51": [31, 10, 10], "ucf101": [70, 10, 21],
        }  # fmt: skip

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
    def test_videos_of_the_published_splits(self, name: str, n_videos: list[int]) -> None:
        assert [sum(of_split.values()) for of_split in published_counts(name).values()] == n_videos

    def test_a_data_set_is_known_up_to_spelling(self) -> None:
        assert published_name("SSv2-Small", None) == "ssv2_small"
        assert published_name("clips", "ucf101") == "ucf101"
        assert published_name("clips", None, "random") is None
        with pytest.raises(ValueError, match="of 'shapes' are not known"):
            published_counts("shapes")


class TestCounts:
    def test_the_published_counts_are_clean(self) -> None:
        for name in PUBLISHED:
            assert count_findings(published_counts(name), name) == []
            assert all(finding.level == "info" for finding in ssv2_findings(published_counts(name), name))

    def test_one_video_too_few_is_found(self) -> None:
        counts = published_counts("hmdb51")
        counts["test"]["smoke"] -= 1
        finding = only(count_findings(counts, "hmdb51"))
        assert (finding.level, finding.code) == ("error", "video-count")
        assert finding.examples == (Example(class_name="smoke", split="test", detail="108 videos, published 109"),)
        assert "6,765 videos in all, published 6,766" in finding.message

    def test_a_class_in_the_wrong_split_is_found_once_in_each(self) -> None:
        counts = published_counts("kinetics100")
        counts["train"]["unboxing"] = counts["test"].pop("unboxing")
        finding = only(count_findings(counts, "kinetics100"))
        assert (finding.code, len(finding.examples)) == ("class-split", 2)
        assert {(each.split, each.detail) for each in finding.examples} == {
            ("test", "lacks"),
            ("train", "is not of this split"),
        }

    def test_missing_classes_are_hinted_at_by_what_is_unused(self) -> None:
        findings = missing_findings(Missing({"test": ("ride bike",)}, {"train": ("kick/a",)}), ("ride bikes",), 3)
        assert codes(findings) == [
            ("error", "missing-class"),
            ("error", "missing-video"),
            ("info", "unused-class"),
            ("info", "ignored-file"),
        ]
        assert "on disk is 'ride bikes'" in findings[0].examples[0].detail
        assert findings[1].examples == (Example("kick/a", split="train"),)

    def test_nothing_missing_is_nothing_found(self) -> None:
        assert missing_findings(Missing(), (), 0) == []

    def test_rows_by_hand(self) -> None:
        records = [record("kick/a"), record("kick/b"), record("run/c"), record("wave/d", "test")]
        train, test = split_rows(
            records, CLASSES, unreadable={"kick/a"}, short={"wave/d"}, published={"test": {"x": 9}}
        )
        assert (train.n_classes, train.n_videos, train.smallest, train.n_unreadable) == (2, 3, ("run", 1), 1)
        assert (train.n_short, train.published) == (0, None)
        assert (test.n_short, test.published) == (1, (1, 9))
        assert split_rows(records, CLASSES)[0].n_short is None
        assert count_videos(records, CLASSES) == {"train": {"kick": 2, "run": 1}, "val": {}, "test": {"wave": 1}}


class TestSsv2Trap:
    @pytest.mark.parametrize(("name", "other"), [("ssv2_small", "ssv2_full"), ("ssv2_full", "ssv2_small")])
    def test_the_class_split_of_the_other(self, name: str, other: str) -> None:
        first = ssv2_findings(published_counts(other), name)[0]
        assert (first.level, first.code) == ("error", "ssv2-trap")
        assert f"are those of {other}" in first.message

    @pytest.mark.parametrize(("name", "other"), [("ssv2_small", "ssv2_full"), ("ssv2_full", "ssv2_small")])
    def test_the_class_split_of_the_other_in_the_spelling_of_folders(self, name: str, other: str) -> None:
        folders = {s: {c.replace(" ", "_"): n for c, n in of.items()} for s, of in published_counts(other).items()}
        assert f"are those of {other}" in ssv2_findings(folders, name)[0].message

    @pytest.mark.parametrize(("name", "other"), [("ssv2_small", "ssv2_full"), ("ssv2_full", "ssv2_small")])
    def test_numbered_lists_of_the_other_under_own_class_names(self, name: str, other: str) -> None:
        own, theirs = published_counts(name), published_counts(other)
        mixed = {s: dict(zip(own[s], theirs[s].values(), strict=True)) for s in own}
        first = ssv2_findings(mixed, name)[0]
        assert (first.level, first.code) == ("error", "ssv2-trap")
        assert f"as many videos as the lists of {other}" in first.message

    def test_small_from_folders_of_all_of_ssv2(self) -> None:
        counts = published_counts("ssv2_small")
        counts["train"]["Pouring something into something"] = 1530
        first = ssv2_findings(counts, "ssv2_small")[0]
        assert "folders of all of SSv2" in first.message
        assert first.examples[0].detail == "1,530 videos"

    def test_a_few_lost_videos_are_no_trap(self) -> None:
        for name in ("ssv2_small", "ssv2_full"):
            counts = {s: {c: max(n - 3, 1) for c, n in of.items()} for s, of in published_counts(name).items()}
            assert codes(ssv2_findings(counts, name)) == [("info", "ssv2-overlap")]

    def test_other_data_sets_are_not_asked(self) -> None:
        assert ssv2_findings(published_counts("hmdb51"), "hmdb51") == []


class TestEpisodes:
    ASKED = AskedEpisodes("the test", "train", 2, 1, 1)

    def records(self, n: int, groups: str = "") -> list[VideoRecord]:
        return [record(f"{c}/{i}", group=groups[i] if groups else None) for c in ("kick", "run") for i in range(n)]

    def test_possible_ones_are_not_mentioned(self) -> None:
        assert episode_findings(self.records(2), CLASSES, [self.ASKED]) == []

    def test_the_smallest_class_is_named(self) -> None:
        finding = only(episode_findings(self.records(2)[:-1], CLASSES, [self.ASKED]))
        assert (finding.level, finding.code) == ("error", "episodes")
        assert "2-way 1-shot, 1 queries a class" in finding.message
        assert [each.detail for each in finding.examples] == [
            "class 'run' of split 'train' has 1 usable videos, needs n_shot + n_query = 2"
        ]

    def test_videos_that_cannot_be_read_do_not_count(self) -> None:
        assert codes(episode_findings(self.records(2), CLASSES, [self.ASKED], unusable=["kick/0"])) == [
            ("error", "episodes")
        ]

    def test_too_few_classes(self) -> None:
        finding = only(episode_findings(self.records(9), CLASSES, [AskedEpisodes("training", "train", 3, 1, 1)]))
        assert "has 2 classes, needs n_way = 3" in finding.message

    def test_an_empty_split(self) -> None:
        finding = only(episode_findings(self.records(9), CLASSES, [AskedEpisodes("the choice", "val", 2, 1, 1)]))
        assert "'val' has 0 classes" in finding.message

    def test_group_disjoint_needs_videos_of_other_groups(self) -> None:
        asked = [self.ASKED]
        assert episode_findings(self.records(2, "ab"), CLASSES, asked, group_disjoint=True) == []
        assert episode_findings(self.records(2, "aa"), CLASSES, asked) == []
        finding = only(episode_findings(self.records(2, "aa"), CLASSES, asked, group_disjoint=True))
        assert "in 1 groups" in finding.examples[0].detail

    def test_group_disjoint_without_groups(self) -> None:
        finding = only(episode_findings(self.records(2), CLASSES, [self.ASKED], group_disjoint=True))
        assert (finding.code, len(finding.examples)) == ("no-group", 4)
        assert "set data.group_pattern" in finding.message


class TestFiles:
    def write(self, root: Path, **contents: bytes) -> list[VideoRecord]:
        """`kick__a=b"…"` is kick/a.mp4; classes kick and run are of train, wave of test."""
        records = []
        for name, content in contents.items():
            video_id = name.replace("__", "/") + ".mp4"
            (root / video_id).parent.mkdir(parents=True, exist_ok=True)
            (root / video_id).write_bytes(content)
            records.append(record(video_id, "test" if name.startswith("wave") else "train", root=root))
        return records

    def test_whole_files_are_clean(self, tmp_path: Path) -> None:
        records = self.write(tmp_path, kick__a=b"1", kick__b=b"2", run__c=b"33", wave__d=b"4444")
        facts = look_at_files(records)
        assert file_findings(records, facts) == []
        assert duplicate_findings(records, facts) == []

    def test_empty_file_and_dangling_link(self, tmp_path: Path) -> None:
        records = self.write(tmp_path, kick__a=b"", kick__b=b"2")
        (tmp_path / "kick" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
        records.append(record("kick/gone.mp4", root=tmp_path))
        findings = file_findings(records, look_at_files(records))
        assert codes(findings) == [("error", "unreadable"), ("error", "empty")]
        assert [finding.examples[0].video for finding in findings] == ["kick/gone.mp4", "kick/a.mp4"]

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, tmp_path: Path) -> None:
        records = self.write(tmp_path, kick__a=b"1")
        records[0].path.chmod(0)
        assert "permission" in only(file_findings(records, look_at_files(records))).examples[0].detail

    def test_frame_folders(self, tmp_path: Path) -> None:
        for folder, contents in {"a": [b"1", b"22"], "b": [b"1", b""], "c": []}.items():
            (tmp_path / "kick" / folder).mkdir(parents=True)
            for number, content in enumerate(contents):
                (tmp_path / "kick" / folder / f"{number}.jpg").write_bytes(content)
        records = [record(f"kick/{name}", root=tmp_path) for name in "abc"]
        facts = look_at_files(records)
        assert facts[0] == FileFacts(3, 2, 0)
        findings = file_findings(records, facts)
        assert codes(findings) == [("error", "unreadable"), ("error", "empty")]
        assert findings[1].examples[0].detail == "1 of 2 images have 0 bytes"

    @pytest.mark.parametrize(
        ("copy", "level", "code"),
        [
            ("kick__copy", "warning", "duplicate"),
            ("run__copy", "error", "duplicate-across-classes"),
            ("wave__copy", "error", "duplicate-across-splits"),
        ],
    )
    def test_one_content_under_two_names(self, tmp_path: Path, copy: str, level: str, code: str) -> None:
        others = {"kick__same_size": b"x" * 99 + b"z", "run__other": b"y"}
        records = self.write(tmp_path, kick__a=b"x" * 100, **{copy: b"x" * 100}, **others)
        finding = only(duplicate_findings(records, look_at_files(records)))
        assert (finding.level, finding.code) == (level, code)
        assert only_video(finding) == copy.replace("__", "/") + ".mp4"
        assert finding.examples[0].detail.startswith("is kick/a.mp4")

    def test_contents_that_differ_late_are_two(self, tmp_path: Path) -> None:
        long = b"x" * 200_000
        records = self.write(tmp_path, kick__a=long + b"1", kick__b=long + b"2")
        assert duplicate_findings(records, look_at_files(records)) == []

    def test_empty_files_are_no_duplicates(self, tmp_path: Path) -> None:
        records = self.write(tmp_path, kick__a=b"", run__b=b"")
        assert duplicate_findings(records, look_at_files(records)) == []

    def test_frame_folders_with_the_same_frames(self, tmp_path: Path) -> None:
        for folder, last in {"kick/a": b"3", "run/b": b"3", "run/c": b"4"}.items():
            (tmp_path / folder).mkdir(parents=True)
            for number, content in enumerate([b"1", b"2", last]):
                (tmp_path / folder / f"{number}.png").write_bytes(content)
        records = [record(name, root=tmp_path) for name in ("kick/a", "run/b", "run/c")]
        finding = only(duplicate_findings(records, look_at_files(records)))
        assert (finding.code, only_video(finding)) == ("duplicate-across-classes", "run/b")

    @pytest.mark.parametrize(("policy", "level"), [("repeat", "warning"), ("refuse", "error")])
    def test_short_videos(self, policy: str, level: str) -> None:
        counted = [(record("kick/a"), 7), (record("kick/b"), 8)]
        finding = only(short_finding(counted, n_frames=8, policy=policy))
        assert (finding.level, only_video(finding), finding.examples[0].detail) == (level, "kick/a", "7 frames")
        assert short_finding(counted[1:], n_frames=8, policy=policy) == []


def only_video(finding: Finding) -> str:
    (example,) = finding.examples
    return example.video


class TestOverlaps:
    def test_one_name_in_two_splits_or_classes(self) -> None:
        records = [record("kick/1.mp4"), record("wave/1.webm", "test"), record("kick/2.mp4"), record("run/2.mp4")]
        findings = name_findings([*records, record("kick/3.mp4")])
        assert codes(findings) == [("error", "video-in-two-splits"), ("error", "video-in-two-classes")]
        assert [only_video(finding) for finding in findings] == ["kick/1.mp4", "kick/2.mp4"]
        assert name_findings([records[0], records[2]]) == []

    def test_a_recording_in_two_splits(self) -> None:
        records = [record("kick/1", group="film"), record("wave/2", "test", "film"), record("run/3", group="own")]
        finding = only(group_findings(records, within_class=False, is_published=False))
        assert (finding.level, finding.code, only_video(finding)) == ("warning", "group-in-two-splits", "film")
        assert only(group_findings(records, within_class=False, is_published=True)).level == "info"
        assert group_findings(records, within_class=True, is_published=False) == []
        assert group_findings(records[::2], within_class=False, is_published=False) == []

    def test_some_groups_unknown(self) -> None:
        records = [record("kick/1", group="film"), record("kick/2")]
        assert codes(group_findings(records, within_class=False, is_published=False)) == [("warning", "no-group")]
        assert group_findings(records[1:], within_class=False, is_published=False) == []

    def test_a_class_in_two_splits(self) -> None:
        named = [("train", "ride bike"), ("train", "run"), ("test", "ride bike")]
        finding = only(class_findings(named, merges=False))
        assert (finding.level, finding.code) == ("error", "class-in-two-splits")
        assert finding.examples == (Example(class_name="ride bike", detail="in test and train"),)

    @pytest.mark.parametrize("other", ["Ride Bike", "ride_bike", "ride-bike", "ridebike"])
    def test_names_that_differ_in_writing_only(self, other: str) -> None:
        finding = only(class_findings([(None, "ride bike"), (None, other), (None, "ride horse")], merges=False))
        assert (finding.level, finding.code) == ("error", "class-spelling")
        assert {each.class_name for each in finding.examples} == {"ride bike", other}
        assert only(class_findings([(None, "ride bike"), (None, other)], merges=True)).level == "warning"

    def test_different_names_are_clean(self) -> None:
        assert class_findings([("train", "C"), ("test", "C++"), ("train", "C")], merges=False) == []

    def test_a_video_listed_twice_and_in_two_splits(self) -> None:
        entries = [
            Entry("line 1", "train", "kick", "kick/1.mp4"),
            Entry("line 2", "train", "kick", "kick/./1.mp4"),
            Entry("line 3", "train", "kick", "kick/2.mp4"),
            Entry("line 4", "test", "kick", "kick/2.avi"),
            Entry("line 5", "test", "wave", "wave/1.mp4"),
        ]
        findings = repeated_videos(entries, names_are_global=False)
        assert codes(findings) == [("error", "video-in-two-splits"), ("error", "listed-twice")]
        assert [finding.examples[0].detail for finding in findings] == ["line 3 and line 4", "line 1 and line 2"]
        everywhere = repeated_videos([entries[0], entries[4]], names_are_global=True)
        assert codes(everywhere) == [("error", "video-in-two-splits")]


class TestListing:
    def test_csv_names_every_bad_line(self, tmp_path: Path) -> None:
        path = tmp_path / "list.csv"
        path.write_text("path,class,split\na.mp4,kick,train\n,kick,train\nb.mp4,run,tset\nc.mp4,run,test,x\n")
        listing = read_csv(path)
        assert [entry.path for entry in listing.entries] == ["a.mp4"]
        finding = only(listing.findings)
        assert [each.video for each in finding.examples] == [f"list.csv, line {i}" for i in (3, 4, 5)]
        path.write_text("file,label\na,b\n")
        assert "'path' and 'class'" in only(read_csv(path).findings).message

    def test_lists_by_name_and_by_number(self, tmp_path: Path) -> None:
        path = tmp_path / "train.txt"
        path.write_text("kick/a\n\ntrain1//some/where/b.mp4\ntrain7/c\nlonely\n")
        listing = read_lists({"train": path}, {"train": ["kick", "run"]})
        assert [(entry.class_name, entry.path) for entry in listing.entries] == [
            ("kick", "kick/a"),
            ("run", "some/where/b.mp4"),
        ]
        assert [each.video for each in only(listing.findings).examples] == ["train.txt, line 4", "train.txt, line 5"]

    def test_listed_videos_count_also_where_they_lack(self) -> None:
        entries = [Entry("", "train", "Ride_Bike", f"{i}") for i in range(3)]
        entries += [Entry("", "train", "kick", "9"), Entry("", None, "kick", "8")]
        counts = listed_counts(entries, {"train": ["kick", "ride bike"]})
        assert list(counts["train"].items()) == [("kick", 1), ("ride bike", 3)]
        assert counts["test"] == {}

    def test_a_class_split_is_read_with_its_faults(self, tmp_path: Path) -> None:
        path = tmp_path / "split.yaml"
        path.write_text("train: [kick, kick ]\ntest: [kick, 3]\nother: [x]\n")
        assert read_class_split(str(path)) == {"train": ["kick", "kick"], "test": ["kick"]}
        path.write_text("- kick\n")
        assert read_class_split(str(path)) == {}
        assert read_class_split(str(tmp_path / "none.yaml")) == {}
        assert len(read_class_split("hmdb51")["test"]) == 10

    def test_records_without_an_index(self, tmp_path: Path) -> None:
        for name in ("Kick/a.mp4", "Kick/b.mp4", "flat/9.webm"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        classes = {"train": ["kick"]}
        found = records_of(read_folders(tmp_path).entries, tmp_path, classes)
        assert [(each.video_id, each.split) for each in found] == [
            ("Kick/a.mp4", "train"),
            ("Kick/b.mp4", "train"),
            ("flat/9.webm", "?"),
        ]
        listed = [
            Entry("", "test", "run", "run/9"),
            Entry("", "test", "kick", "kick/b"),
            Entry("", "test", "kick", "x"),
        ]
        assert [each.video_id for each in records_of(listed, tmp_path, classes)] == ["flat/9.webm", "Kick/b.mp4"]


def test_errors_come_first_and_unknown_levels_are_refused() -> None:
    findings = [
        Finding("info", "a", ""),
        Finding("error", "b", ""),
        Finding("warning", "c", ""),
        Finding("error", "d", ""),
    ]
    assert [finding.code for finding in most_serious_first(findings)] == ["b", "d", "c", "a"]
    with pytest.raises(ValueError, match="must be one of"):
        Finding("fatal", "x", "")
