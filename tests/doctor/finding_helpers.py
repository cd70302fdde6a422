"""Records and findings for the tests of the data doctor."""

from collections.abc import Iterable
from pathlib import Path

from mdmf.doctor.findings import Finding
from mdmf.structures import VideoRecord


def record(video_id: str, split: str = "train", group: str | None = None, root: Path = Path("/none")) -> VideoRecord:
    return VideoRecord(video_id, root / video_id, video_id.split("/")[0], split, group)


def codes(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.code) for finding in findings]


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


def only_video(finding: Finding) -> str:
    (example,) = finding.examples
    return example.video
