"""The tables of a report as Markdown and as CSV files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from mdmf.report.blocks import Cell, Table, Text
from mdmf.report.page import RunReport, comparison_table
from mdmf.report.tables import text_table

_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def markdown(reports: Sequence[RunReport]) -> str:
    """All tables and sentences of a report, without its pictures."""
    parts = ["# Report", ""]
    if len(reports) > 1:
        parts += ["## Comparison", "", _markdown_table(comparison_table(reports)), ""]
    for report in reports:
        parts += [f"## {_one_line(report.run.label)}", ""]
        for section in report.sections:
            parts += [f"### {_one_line(section.title)}", ""]
            for block in section.blocks:
                if isinstance(block, Table) and block.rows:
                    parts += [f"**{_one_line(block.caption)}**", "", _markdown_table(block), ""]
                elif isinstance(block, Text):
                    parts += [_one_line(block.text), ""]
    return "\n".join(parts).rstrip() + "\n"


def _markdown_table(table: Table) -> str:
    header = [_one_line(name) for name in table.header]
    return text_table(header, [[_one_line(cell.text) for cell in row] for row in table.rows])


def _one_line(text: str) -> str:
    """A name of a user's as plain text in Markdown: no cell, line or tag is opened by it."""
    text = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("&", "&amp;").replace("<", "&lt;")


def csv_files(reports: Sequence[RunReport]) -> Iterator[tuple[str, str]]:
    """(file name, content) of each table; numbers as they were written, intervals in a column of their own."""
    if len(reports) > 1:
        yield "comparison.csv", _csv(comparison_table(reports))
    for report in reports:
        before = "" if len(reports) == 1 else f"{report.prefix}_{_NOT_IN_NAMES.sub('_', report.run.label)}_"
        for section in report.sections:
            for table in section.tables():
                if table.rows:
                    yield f"{before}{_NOT_IN_NAMES.sub('_', table.name)}.csv", _csv(table)


def _csv(table: Table) -> str:
    has_interval = [any(row[column].interval is not None for row in table.rows) for column in range(len(table.header))]
    header: list[str] = []
    for name, interval in zip(table.header, has_interval, strict=True):
        header += [name, f"{name}, interval"] if interval else [name]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        cells: list[str] = []
        for cell, interval in zip(row, has_interval, strict=True):
            cells += [_plain(cell)]
            cells += ["" if cell.interval is None else repr(cell.interval)] if interval else []
        writer.writerow(cells)
    return buffer.getvalue()


def _plain(cell: Cell) -> str:
    is_number = isinstance(cell.value, (int, float)) and not isinstance(cell.value, bool)
    return repr(cell.value) if is_number else "" if cell.text == "–" else cell.text
