"""What the doctor found, as text and as a CSV."""

import csv
import io

from mdmf.doctor.findings import DataReport, Example, Finding, SplitRow
from mdmf.doctor.text import CSV_COLUMNS, doctor_text, findings_csv

ROW = SplitRow("test", 2, 1234, ("wave", 7), 3, None)
EMPTY = Finding(
    "error", "empty", "12 videos are empty", tuple(Example(f"kick/{i}.mp4", "kick", "train") for i in range(12))
)
NOTE = Finding("warning", "note", "a, b")


def report(*findings: Finding, row: SplitRow = ROW, is_decoded: bool = False) -> DataReport:
    return DataReport("clips", (row,), findings, is_decoded, 1.25)


def test_clean_data_says_so_and_what_was_not_done():
    said = doctor_text(report())
    assert "| test  |       2 |  1,234 |       7 (wave) |          3 | not counted |" in said
    assert said.endswith(
        "nothing found that would change a result (no video was opened: --decode reads three frames of each)"
    )
    assert doctor_text(report(is_decoded=True)).endswith("nothing found that would change a result")


def test_ten_examples_and_how_many_more():
    lines = doctor_text(report(EMPTY, NOTE)).splitlines()
    start = lines.index("error [empty]: 12 videos are empty")
    assert lines[start + 1] == "  kick/0.mp4"
    assert lines[start + 10] == "  kick/9.mp4"
    assert lines[start + 11] == "  … and 2 more"
    assert "warning [note]: a, b" in lines
    assert lines[-1].startswith("1 thing would change a result; 1 more worth a look")


def test_published_counts_stand_beside_those_found():
    row = SplitRow("test", 2, 1234, None, 0, 5, published=(24, 2400))
    said = doctor_text(report(row=row))
    assert "published classes | published videos |" in said
    assert "|         5 |                24 |            2,400 |" in said


def test_a_row_of_the_csv_for_each_finding_and_video():
    rows = list(csv.reader(io.StringIO(findings_csv(report(EMPTY, NOTE)))))
    assert rows[0] == list(CSV_COLUMNS)
    assert len(rows) == 1 + 12 + 1
    assert rows[1] == ["error", "empty", "train", "kick", "kick/0.mp4", "", "12 videos are empty"]
    assert rows[-1] == ["warning", "note", "", "", "", "", "a, b"]


def test_names_that_are_no_text_are_shown_all_the_same():
    bad = Finding("error", "empty", "x", (Example("kick/\udcff.mp4"),))
    assert "kick/?.mp4" in doctor_text(report(bad))
