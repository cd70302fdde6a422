"""The data doctor on files: each planted fault is found, and its neighbours are not."""

import os
from pathlib import Path

import pytest
from finding_helpers import codes, only, only_video, record

from mdmf.doctor.files import (
    FileFacts,
    duplicate_findings,
    file_findings,
    group_findings,
    look_at_files,
    short_finding,
)
from mdmf.structures import VideoRecord


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
        assert list(file_findings(records, facts)) == []
        assert list(duplicate_findings(records, facts)) == []

    def test_empty_file_and_dangling_link(self, tmp_path: Path) -> None:
        records = self.write(tmp_path, kick__a=b"", kick__b=b"2")
        (tmp_path / "kick" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
        records.append(record("kick/gone.mp4", root=tmp_path))
        findings = list(file_findings(records, look_at_files(records)))
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
        findings = list(file_findings(records, facts))
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
        assert list(duplicate_findings(records, look_at_files(records))) == []

    def test_empty_files_are_no_duplicates(self, tmp_path: Path) -> None:
        records = self.write(tmp_path, kick__a=b"", run__b=b"")
        assert list(duplicate_findings(records, look_at_files(records))) == []

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
        assert list(short_finding(counted[1:], n_frames=8, policy=policy)) == []


class TestGroups:
    def test_a_recording_in_two_splits(self) -> None:
        records = [record("kick/1", group="film"), record("wave/2", "test", "film"), record("run/3", group="own")]
        finding = only(group_findings(records, within_class=False, is_published=False))
        assert (finding.level, finding.code, only_video(finding)) == ("warning", "group-in-two-splits", "film")
        assert only(group_findings(records, within_class=False, is_published=True)).level == "info"
        assert list(group_findings(records, within_class=True, is_published=False)) == []
        assert list(group_findings(records[::2], within_class=False, is_published=False)) == []

    def test_some_groups_unknown(self) -> None:
        records = [record("kick/1", group="film"), record("kick/2")]
        assert codes(group_findings(records, within_class=False, is_published=False)) == [("warning", "no-group")]
        assert list(group_findings(records[1:], within_class=False, is_published=False)) == []
