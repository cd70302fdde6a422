"""The data doctor on counts: the published lists are clean, and each planted difference is found."""

import pytest
from finding_helpers import codes, only, record

from mdmf.data.listing.formats import Entry
from mdmf.data.listing.index import Missing
from mdmf.data.listing.splits import published_counts
from mdmf.doctor.counts import count_findings, count_videos, missing_findings, published_name, ssv2_findings
from mdmf.doctor.findings import Example

PUBLISHED = ("kinetics100", "ssv2_small", "ssv2_full", "hmdb51", "ucf101")


def test_a_data_set_is_known_up_to_spelling() -> None:
    assert published_name("SSv2-Small", None) == "ssv2_small"
    assert published_name("clips", "ucf101") == "ucf101"
    assert published_name("clips", None, "random") is None
    assert published_name("shapes") is None


def test_videos_are_counted_by_hand() -> None:
    records = [record("kick/a"), record("kick/b"), record("run/c"), record("wave/d", "test")]
    classes = {"train": ("kick", "run"), "val": (), "test": ("wave",)}
    assert count_videos(records, classes) == {"train": {"kick": 2, "run": 1}, "val": {}, "test": {"wave": 1}}


def test_listed_videos_count_also_where_they_lack_and_in_the_order_of_the_split() -> None:
    entries = [
        Entry("", name, "x", None, split) for name, split in [("run", "train"), ("wave", "train"), ("kick", None)]
    ]
    counts = count_videos([*entries, Entry("", "kick", "y", None, "train")], {"train": ("kick", "jump", "run")})
    assert list(counts["train"].items()) == [("kick", 1), ("run", 1), ("wave", 1)]


class TestCounts:
    def test_the_published_counts_are_clean(self) -> None:
        for name in PUBLISHED:
            assert list(count_findings(published_counts(name), name)) == []
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
        findings = list(missing_findings(Missing({"test": ("ride bike",)}, {"train": ("kick/a",)}), ("ride bikes",), 3))
        assert codes(findings) == [
            ("error", "missing-class"),
            ("error", "missing-video"),
            ("info", "unused-class"),
            ("info", "ignored-file"),
        ]
        assert "on disk is 'ride bikes'" in findings[0].examples[0].detail
        assert findings[1].examples == (Example("kick/a", split="train"),)

    def test_nothing_missing_is_nothing_found(self) -> None:
        assert list(missing_findings(Missing(), (), 0)) == []


class TestSsv2Trap:
    @pytest.mark.parametrize(("name", "other"), [("ssv2_small", "ssv2_full"), ("ssv2_full", "ssv2_small")])
    def test_the_class_split_of_the_other(self, name: str, other: str) -> None:
        first = next(ssv2_findings(published_counts(other), name))
        assert (first.level, first.code) == ("error", "ssv2-trap")
        assert f"are those of {other}" in first.message

    @pytest.mark.parametrize(("name", "other"), [("ssv2_small", "ssv2_full"), ("ssv2_full", "ssv2_small")])
    def test_the_class_split_of_the_other_in_the_spelling_of_folders(self, name: str, other: str) -> None:
        folders = {s: {c.replace(" ", "_"): n for c, n in of.items()} for s, of in published_counts(other).items()}
        assert f"are those of {other}" in next(ssv2_findings(folders, name)).message

    @pytest.mark.parametrize(("name", "other"), [("ssv2_small", "ssv2_full"), ("ssv2_full", "ssv2_small")])
    def test_numbered_lists_of_the_other_under_own_class_names(self, name: str, other: str) -> None:
        own, theirs = published_counts(name), published_counts(other)
        mixed = {s: dict(zip(own[s], theirs[s].values(), strict=True)) for s in own}
        first = next(ssv2_findings(mixed, name))
        assert (first.level, first.code) == ("error", "ssv2-trap")
        assert f"as many videos as the lists of {other}" in first.message

    def test_small_from_folders_of_all_of_ssv2(self) -> None:
        counts = published_counts("ssv2_small")
        counts["train"]["Pouring something into something"] = 1530
        first = next(ssv2_findings(counts, "ssv2_small"))
        assert "folders of all of SSv2" in first.message
        assert first.examples[0].detail == "1,530 videos"

    def test_a_few_lost_videos_are_no_trap(self) -> None:
        for name in ("ssv2_small", "ssv2_full"):
            counts = {s: {c: max(n - 3, 1) for c, n in of.items()} for s, of in published_counts(name).items()}
            assert codes(ssv2_findings(counts, name)) == [("info", "ssv2-overlap")]

    def test_other_data_sets_are_not_asked(self) -> None:
        assert list(ssv2_findings(published_counts("hmdb51"), "hmdb51")) == []
