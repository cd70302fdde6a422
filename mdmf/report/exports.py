"""The tables of a report as Markdown and as CSV files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mdmf.report.page import RunReport, comparison_table
from mdmf.report.table import Table, file_name, one_line


def markdown(reports: Sequence[RunReport]) -> str:
    """All tables and paragraphs of a report as Markdown."""
    parts = ["# Report"]
    if len(reports) > 1:
        parts += ["## Comparison", comparison_table(reports).markdown(caption=False)]
    for report in reports:
        parts.append(f"## {one_line(report.run.label)}")
        for section in report.sections:
            parts.append(f"### {one_line(section.title)}")
            for block in section.blocks:
                if isinstance(block, Table) and block.rows:
                    parts.append(block.markdown())
                elif isinstance(block, str):
                    parts.append(one_line(block))
    return "\n\n".join(parts) + "\n"


def csv_files(reports: Sequence[RunReport]) -> Iterator[tuple[str, str]]:
    """(file name, content) of each table."""
    if len(reports) > 1:
        yield "comparison.csv", comparison_table(reports).csv()
    for report in reports:
        before = "" if len(reports) == 1 else f"{report.prefix}_{file_name(report.run.label)}_"
        for section in report.sections:
            for table in section.tables():
                if table.rows:
                    yield f"{before}{file_name(table.name)}.csv", table.csv()
