import csv
import io
import json
import re

import pytest
from written_run import CLASSES, EVIL, PROTOCOL, write_run

from mdmf.report.exports import csv_files, markdown
from mdmf.report.page import make_reports
from mdmf.report.run_files import read_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture(scope="module")
def reports(folder):
    return make_reports([read_run(folder)])


def test_csv_holds_the_numbers_as_they_were_written(reports, folder):
    files = dict(csv_files(reports))
    result = json.loads((folder / f"test_{PROTOCOL}.json").read_text())
    rows = list(csv.DictReader(io.StringIO(files[f"results_{PROTOCOL}.csv"])))
    for row in rows:
        numbers = result["models"][row["model"]]
        assert float(row["accuracy, % (95 %)"]) == numbers["accuracy_percent"]
        assert float(row["accuracy, % (95 %), interval"]) == numbers["interval"]
    assert rows[0]["local alone"] == ""  # the baseline has no branch
    assert [row["class"] for row in csv.DictReader(io.StringIO(files["classes.csv"]))] == CLASSES


@pytest.mark.usefixtures("undrawn")
def test_names_of_csv_files_stay_in_their_folder(tmp_path):
    runs = [read_run(write_run(tmp_path / name), label=f"../{name}") for name in ("a", "b")]
    names = [name for name, _ in csv_files(make_reports(runs))]
    assert names[0] == "comparison.csv"
    assert len(names) == len(set(names))
    assert not any("/" in name for name in names)


def test_markdown_has_every_table_and_a_name_opens_nothing(reports):
    text = markdown(reports)
    for title in ("## one", "### Results", "### Confusions", "**Is the right branch trusted?**"):
        assert title in text
    assert "<script" not in text
    shown = '&lt;script>alert("1")&lt;/script>\\|$x_1$'
    assert shown in text
    lines = text.splitlines()
    rows = [number for number, line in enumerate(lines) if line.startswith(f"| {shown}")]
    assert len(rows) >= 3
    for number in rows:  # as many cells as the line above it
        cells = [len(re.split(r"(?<!\\)\|", lines[number - back])) for back in (0, 1)]
        assert cells[0] == cells[1]
    assert EVIL not in text
