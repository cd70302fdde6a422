"""What the data doctor found, as text for a terminal and as a CSV."""

from __future__ import annotations

from mdmf.doctor.findings import LEVELS, DataReport, Finding, SplitRow
from mdmf.report.table import Row, Table

N_EXAMPLES = 10
CSV_COLUMNS = ("level", "code", "split", "class", "video", "detail", "message")


def doctor_text(report: DataReport) -> str:
    """A row per split, then the findings, most serious first, with some examples each, then the verdict."""
    header = ["split", "classes", "videos", "smallest class", "unreadable", "too short"]
    is_published = any(row.published for row in report.rows)
    if is_published:
        header += ["published classes", "published videos"]
    table = Table("counts", "", header, [_row(row, is_published) for row in report.rows]).text()
    parts = [f"{report.name}: {'looked at and opened' if report.is_decoded else 'looked at'} in {report.seconds:.1f} s"]
    parts += [table, *(_finding(finding) for finding in report.findings), _verdict(report)]
    return "\n\n".join(parts)


def findings_csv(report: DataReport) -> str:
    """A row for each finding and each video or class that it is about."""
    rows: list[Row] = []
    for finding in report.findings:
        examples = [[each.split, each.class_name, each.video, each.detail] for each in finding.examples]
        rows += [[finding.level, finding.code, *example, finding.message] for example in examples or [[""] * 4]]
    return Table("findings", "", CSV_COLUMNS, rows).csv()


def _row(row: SplitRow, is_published: bool) -> list[str]:
    smallest = "" if row.smallest is None else f"{row.smallest[1]} ({row.smallest[0]})"
    cells = [row.split, str(row.n_classes), f"{row.n_videos:,}", smallest, f"{row.n_unreadable:,}"]
    cells.append("not counted" if row.n_short is None else f"{row.n_short:,}")
    if is_published:
        cells += [f"{number:,}" for number in row.published] if row.published else ["", ""]
    return cells


def _finding(finding: Finding) -> str:
    lines = [f"{finding.level} [{finding.code}]: {finding.message}"]
    lines += [f"  {_named(each)}" for each in map(str, finding.examples[:N_EXAMPLES])]
    if len(finding.examples) > N_EXAMPLES:
        lines.append(f"  … and {len(finding.examples) - N_EXAMPLES:,} more")
    return "\n".join(lines)


def _named(text: str) -> str:
    """Names of files may hold bytes that no terminal shows."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _verdict(report: DataReport) -> str:
    counts = {level: sum(finding.level == level for finding in report.findings) for level in LEVELS}
    if counts["error"]:
        things = "1 thing" if counts["error"] == 1 else f"{counts['error']} things"
        verdict = f"{things} would change a result"
    else:
        verdict = "nothing found that would change a result"
    if counts["warning"]:
        verdict += f"; {counts['warning']} more worth a look"
    if not report.is_decoded:
        verdict += " (no video was opened: --decode reads three frames of each)"
    return verdict
