"""Tables, CSV and plot of `mdmf/studies/sweep_tables.py`."""

import csv
import sys
from xml.etree import ElementTree

import pytest

from mdmf.studies.sweep_tables import require_matplotlib, sweep_list, sweep_plot, sweep_tables, write_sweep


def numbers(value: float) -> dict[str, float]:
    return {"accuracy_percent": value, "interval": 0.25}


RESULT = {
    "data": "clips",
    "model": "m2df",
    "split": "test",
    "ways": [2, 5],
    "shots": [1, 5, 10],
    "n_query": 1,
    "n_episodes": 1000,
    "seed": 0,
    "models": {
        "otam": {"2": {"1": numbers(60), "5": numbers(70.126)}, "5": {"1": numbers(30)}},
        "m2df": {"2": {"1": numbers(80), "5": numbers(90)}, "5": {"1": numbers(50)}},
    },
    "our_reading": [],
    "impossible": [
        {"n_way": 2, "n_shot": 10, "reason": "class 'a' is small"},
        {"n_way": 5, "n_shot": 5, "reason": "class 'b' is small"},
        {"n_way": 5, "n_shot": 10, "reason": "class 'a' is small"},
    ],
}


def test_a_table_per_model_with_a_dash_and_its_reason_for_what_cannot_be():
    said = "\n\n".join(table.text() for table in sweep_tables(RESULT))
    assert said.splitlines() == [
        "clips, test classes: accuracy % (95 % over episodes), 1,000 episodes of 1 query per class, seed 0",
        "",
        "| m2df  |       1-shot |       5-shot | 10-shot |",
        "|-------|-------------:|-------------:|--------:|",
        "| 2-way | 80.00 ± 0.25 | 90.00 ± 0.25 |       - |",
        "| 5-way | 50.00 ± 0.25 |            - |       - |",
        "",
        "| otam  |       1-shot |       5-shot | 10-shot |",
        "|-------|-------------:|-------------:|--------:|",
        "| 2-way | 60.00 ± 0.25 | 70.13 ± 0.25 |       - |",
        "| 5-way | 30.00 ± 0.25 |            - |       - |",
        "",
        "(- 2-way 10-shot, 5-way 10-shot: class 'a' is small)",
        "(- 5-way 5-shot: class 'b' is small)",
    ]
    assert sweep_tables(RESULT | {"impossible": []})[-1].notes == ()


def test_our_reading_of_a_method_is_marked():
    first, second = sweep_tables(RESULT | {"our_reading": ["otam"]})
    assert (first.header[0], second.header[0]) == ("m2df", "otam (our reading)")


def test_csv_has_a_line_for_each_also_for_what_cannot_be():
    lines = list(csv.DictReader(sweep_list(RESULT).csv().splitlines()))
    assert len(lines) == 2 * 2 * 3
    assert lines[1] == {
        "model": "m2df",
        "n_way": "2",
        "n_shot": "5",
        "accuracy_percent": "90",
        "interval": "0.25",
    }
    assert [line["accuracy_percent"] for line in lines if line["n_shot"] == "10"] == [""] * 4


def test_the_plot_has_a_panel_per_model_a_line_per_way_and_its_labels_as_text():
    svg = sweep_plot(RESULT)
    texts = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    for text, count in [("m2df", 1), ("otam", 1), ("2-way", 1), ("5-way", 1), ("shots", 2), ("accuracy, %", 1)]:
        assert texts.count(text) == count, text
    assert texts.count("10") == 2  # a tick on each panel's axis
    assert sweep_plot(RESULT) == svg


def test_lines_go_through_the_accuracies_and_bars_have_the_length_of_intervals():
    """Read back from the axes that are drawn on, in percent."""
    from matplotlib.figure import Figure

    from mdmf.studies.sweep_tables import _draw

    panel = Figure().subplots()
    _draw(panel, RESULT, "otam")
    lines = [container.lines for container in panel.containers]
    assert [line.get_xydata().tolist() for line, _, _ in lines] == [[[1, 60], [5, 70.126]], [[1, 30]]]
    ends = [segment.tolist() for segment in lines[0][2][0].get_segments()]
    assert ends == [[[1, 59.75], [1, 60.25]], [[5, pytest.approx(69.876)], [5, pytest.approx(70.376)]]]
    assert len({line.get_color() for line, _, _ in lines}) == len({line.get_marker() for line, _, _ in lines}) == 2


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for ask in (require_matplotlib, lambda: sweep_plot(RESULT)):
        with pytest.raises(ImportError, match=r"pip install matplotlib, or pass --no-plot"):
            ask()
    result = RESULT | {"file": str(tmp_path / "sweep.json")}
    assert write_sweep(result, plot=False) == [tmp_path / "sweep.json", tmp_path / "sweep.csv"]
    assert (tmp_path / "sweep.csv").is_file()


def test_files_stand_beside_the_json(tmp_path):
    files = write_sweep(RESULT | {"file": str(tmp_path / "sweep.json")})
    assert [file.name for file in files] == ["sweep.json", "sweep.csv", "sweep.svg"]
    assert files[2].read_text().startswith("<?xml")
