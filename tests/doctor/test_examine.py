"""The list of checks: each is run, also after one that fails."""

from collections.abc import Iterator
from pathlib import Path

from listing_files import make_files

from mdmf.doctor import examine
from mdmf.doctor.findings import Finding
from mdmf.doctor.subject import Subject
from mdmf.settings import Settings


def test_a_check_that_fails_is_a_finding_and_the_next_one_goes_on(tmp_path: Path, monkeypatch) -> None:
    def failing(subject: Subject) -> Iterator[Finding]:
        yield Finding("info", "first", "")
        raise OSError("the disk is\n  gone")

    def next_check(subject: Subject) -> Iterator[Finding]:
        yield Finding("info", "next", str(len(subject.records)))

    make_files(tmp_path, "kick/1.mp4")
    monkeypatch.setattr(examine, "CHECKS", (("the disk", failing), ("the rest", next_check)))
    settings = Settings.model_validate({"data": {"root": tmp_path, "class_split": "random"}})
    findings = examine.check_data(settings, progress=False).findings
    assert findings == (
        Finding("error", "not-checked", "the disk could not be checked: the disk is gone"),
        Finding("info", "first", ""),
        Finding("info", "next", "1"),
    )
