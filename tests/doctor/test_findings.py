"""The data doctor's findings: their order, the rows of counts, and whether episodes can be drawn."""

import pytest
from finding_helpers import codes, only, record

from mdmf.doctor.findings import (
    Example,
    Finding,
    RequestedEpisodes,
    episode_findings,
    finding_about,
    most_serious_first,
    split_rows,
)
from mdmf.structures import VideoRecord

CLASSES = {"train": ("kick", "run"), "val": (), "test": ("wave",)}


def test_rows_by_hand() -> None:
    records = [record("kick/a"), record("kick/b"), record("run/c"), record("wave/d", "test")]
    train, test = split_rows(records, CLASSES, unreadable={"kick/a"}, short={"wave/d"}, published={"test": {"x": 9}})
    assert (train.n_classes, train.n_videos, train.smallest, train.n_unreadable) == (2, 3, ("run", 1), 1)
    assert (train.n_short, train.published) == (0, None)
    assert (test.n_short, test.published) == (1, (1, 9))
    assert split_rows(records, CLASSES)[0].n_short is None


class TestEpisodes:
    ASKED = RequestedEpisodes("the test", "train", 2, 1, 1)

    def records(self, n: int, groups: str = "") -> list[VideoRecord]:
        return [record(f"{c}/{i}", group=groups[i] if groups else None) for c in ("kick", "run") for i in range(n)]

    def test_possible_ones_are_not_mentioned(self) -> None:
        assert list(episode_findings(self.records(2), CLASSES, [self.ASKED])) == []

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
        finding = only(episode_findings(self.records(9), CLASSES, [RequestedEpisodes("training", "train", 3, 1, 1)]))
        assert "has 2 classes, needs n_way = 3" in finding.message

    def test_an_empty_split(self) -> None:
        finding = only(episode_findings(self.records(9), CLASSES, [RequestedEpisodes("the choice", "val", 2, 1, 1)]))
        assert "'val' has 0 classes" in finding.message

    def test_group_disjoint_needs_videos_of_other_groups(self) -> None:
        asked = [self.ASKED]
        assert list(episode_findings(self.records(2, "ab"), CLASSES, asked, group_disjoint=True)) == []
        assert list(episode_findings(self.records(2, "aa"), CLASSES, asked)) == []
        finding = only(episode_findings(self.records(2, "aa"), CLASSES, asked, group_disjoint=True))
        assert "in 1 groups" in finding.examples[0].detail

    def test_group_disjoint_without_groups(self) -> None:
        finding = only(episode_findings(self.records(2), CLASSES, [self.ASKED], group_disjoint=True))
        assert (finding.code, len(finding.examples)) == ("no-group", 4)
        assert "set data.group_pattern" in finding.message


def test_a_finding_begins_with_the_number_of_its_examples() -> None:
    (finding,) = finding_about([Example("a")] * 1200, "info", "x", "videos are here")
    assert (finding.message, len(finding.examples)) == ("1,200 videos are here", 1200)
    assert list(finding_about([], "info", "x", "videos are here")) == []


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
