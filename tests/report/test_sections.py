"""What the sections of a run give their plots and say of it, beside the files of the run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_run import CLASSES, PROTOCOL, write_run

from mdmf.report import branch_sections, class_sections, sections
from mdmf.report.page import comparison_table, make_reports
from mdmf.report.run_files import RunFiles, read_run
from mdmf.report.table import Table

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture
def run(folder) -> RunFiles:
    return read_run(folder)


def given(monkeypatch, module, plot: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """What a plot is called with from now on; it draws nothing."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(module, plot, lambda *values, **named: calls.append((values, named)) or "<svg/>")
    return calls


def test_classes_are_drawn_best_first_with_their_own_interval_and_baseline(run, monkeypatch):
    calls, gains = (given(monkeypatch, class_sections, plot) for plot in ("classes_plot", "gains_plot"))
    class_sections.class_section(run, "prototype")
    (((names, rows, others), _),) = calls
    accuracies, baselines = (run.result.models[model].per_class_percent for model in ("m2df", "prototype"))
    assert list(names) == sorted(CLASSES, key=accuracies.get, reverse=True) != CLASSES
    assert [baselines[name] for name in names] != [baselines[name] for name in CLASSES]
    for name, (percent, low, high), other in zip(names, rows, others, strict=True):
        assert percent == pytest.approx(accuracies[name])
        assert low < percent < high
        assert other == pytest.approx(baselines[name])
    (((names, values, _), _),) = gains
    expected = {name: accuracies[name] - baselines[name] for name in CLASSES}
    assert list(names) == sorted(CLASSES, key=expected.get, reverse=True)
    assert values == pytest.approx([expected[name] for name in names])


def test_bins_of_few_queries_are_not_drawn(run, monkeypatch):
    """The accuracy of 19 queries says nothing; 20 are drawn."""
    calls = given(monkeypatch, branch_sections, "calibration_plot")
    few = {"lower": 0.2, "upper": 0.3, "n": 19, "accuracy": 0.0, "confidence": 0.25}
    run.evidence.calibration["fused"] += [few, few | {"n": 20}]
    branch_sections.branch_section(run)
    ((curves,), _) = calls[0]
    assert [one["n"] for one in curves["fused"]] == [30, 30, 30, 20]


def test_the_weights_that_were_kept_are_marked(run, monkeypatch):
    calls = given(monkeypatch, sections, "curves_plot")
    sections.training_section(run)
    marks = {named["label"]: named.get("mark") for _, named in calls}
    assert marks == {"loss": None, "accuracy, %": (20, 62.0)}


def test_the_test_that_is_looked_at_comes_first_and_the_others_are_folded(folder, tmp_path):
    other = write_run(tmp_path / "run")
    (other / "test_2way.json").write_text((folder / f"test_{PROTOCOL}.json").read_text())
    tables = list(sections.result_section(read_run(other, protocol=PROTOCOL)).tables())
    assert [(table.name, table.folded) for table in tables] == [
        (f"results_{PROTOCOL}", False),
        ("results_2way", True),
    ]


def test_prompts_of_classes_of_one_text_count_as_each_others(run):
    """Given the prompts of the other two classes by turns: of one text, they are all a query's own."""
    run.evidence_arrays["selector/text"] = np.zeros(3, dtype=np.int32)
    section = branch_sections.selector_section(run)
    (said,) = [block for block in section.blocks if isinstance(block, str)]
    assert "It is the one of its own class for 100.0 % of the queries (by chance 100.0 %)" in said
    assert f"have the same text, and each other's prompt counts as their own: {' and '.join(CLASSES)}." in said
    run.evidence_arrays["selector/text"] = np.arange(3, dtype=np.int32)
    section = branch_sections.selector_section(run)
    (said,) = [block for block in section.blocks if isinstance(block, str)]
    chosen, labels = run.evidence_arrays["selector/chosen"], run.episodes.labels
    is_own = chosen == labels
    is_right = run.episodes.answers["m2df"].predictions == labels
    shares = [100 * share for share in (is_own.mean(), is_right[is_own].mean(), is_right[~is_own].mean())]
    assert f"{shares[0]:.1f} % of the queries (by chance 33.3 %)" in said
    assert f"prompt {shares[1]:.1f} % are answered right, with another one {shares[2]:.1f} %." in said
    assert "same text" not in said
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert [cell.value for cell in table.rows[0][2:]] == pytest.approx(shares)


def test_every_column_has_a_heading(run):
    (report,) = make_reports([run])
    tables = [table for section in report.sections for table in section.tables()]
    assert len(tables) > 8
    assert all(name.strip() for table in tables for name in table.header)


def test_runs_of_one_test_are_set_beside_each_other_with_their_gains(folder, tmp_path):
    worse = write_run(tmp_path / "worse", seed=3)
    table = comparison_table(make_reports([read_run(folder), read_run(worse)], baseline="prototype"))
    for row, path in zip(table.rows, (folder, worse), strict=True):
        models = json.loads((path / f"test_{PROTOCOL}.json").read_text())["models"]
        accuracies = [models[name]["accuracy_percent"] for name in ("m2df", "prototype")]
        assert (row[2].value, row[3].value) == tuple(accuracies)
        assert row[4].value == pytest.approx(accuracies[0] - accuracies[1])


def test_tables_of_other_weights_and_of_an_unfinished_run_are_not_taken_for_its_own(tmp_path):
    def notes(folder: Path) -> str:
        blocks = sections.result_section(read_run(folder)).blocks
        return " ".join(block for block in blocks if isinstance(block, str))

    folder = write_run(tmp_path / "run")
    assert "weights" not in notes(folder)
    result = json.loads((folder / f"test_{PROTOCOL}.json").read_text())
    (folder / "test_early.json").write_text(json.dumps(result | {"checkpoint_sha256": "1" * 64}))
    assert "other weights than here were tested in early" in notes(folder)
    (folder / "training.json").unlink()
    assert "training has not finished" in notes(folder)
