"""The tables of one test, of numbers from its result."""

from __future__ import annotations

from typing import Any

from mdmf.report.table import MISSING, Cell, Row, Table, number, row_label
from mdmf.results import AccuracyRecord, Result


def model_label(result: Result, model: str) -> str:
    """Name of a model's row."""
    return row_label(model, our_reading=result.is_our_reading(model))


def protocol_text(result: Result) -> str:
    """The protocol of a test in one line."""
    protocol = result.protocol
    parts = [
        f"{result.data}, {protocol.split} classes",
        f"{protocol.n_way}-way {protocol.n_shot}-shot",
        f"{protocol.n_episodes:,} episodes of {protocol.n_query} query per class",
        f"seed {protocol.seed}",
    ]
    parts += ["support and query from different recordings"] if protocol.group_disjoint else []
    parts += [f"corrupted on purpose: {protocol.corrupt}"] if protocol.corrupt else []
    parts += [f"other data or settings: {protocol.other_data}"] if protocol.other_data else []
    parts += [f"other model: {protocol.other_model}"] if protocol.other_model else []
    parts += [f"weight of the text {result.text_weight}"] if result.text_weight else []
    return "; ".join(parts)


def result_notes(result: Result) -> list[str]:
    """Notes of a result, and shares of queries without features."""
    missing = [f"{100 * share:.1f} % of the queries have no {source}" for source, share in result.missing.items()]
    return [*result.notes, *missing]


def accuracy_table(result: Result, name: str = "accuracy", **options: Any) -> Table:
    """A row per model with its accuracy and that of its branches; `options` are those of `Table`."""
    branches = list(dict.fromkeys(branch for numbers in result.models.values() for branch in numbers.branches))
    rows = []
    for model, numbers in result.models.items():
        cells = [Cell(model_label(result, model)), _accuracy(numbers, "models", model)]
        for branch in branches:
            of_branch = numbers.branches.get(branch)
            path = ("models", model, "branches", branch)
            cells.append(Cell(MISSING) if of_branch is None else _accuracy(of_branch, *path))
        rows.append(cells)
    header = ("model", "accuracy, % (95 %)", *(f"{branch} alone" for branch in branches))
    return Table(name, protocol_text(result), header, rows, **options)


def _accuracy(numbers: AccuracyRecord, *path: str) -> Cell:
    return number(numbers.accuracy_percent, interval=numbers.interval, path=(*path, "accuracy_percent"))


def diagnostics_table(result: Result, **options: Any) -> Table:
    """A row per model with two branches or more: diagnostics of the branches; `options` are those of `Table`.

    `decidable`: queries on which one branch is correct and another is wrong. Of these, `trusted is right`: share on
    which the more trusted branch (by fusion weight or, if weights are fixed, by certainty) is correct; `teacher is
    right`: share of the taught ones on which the teacher is correct. `weight-gain r`: correlation of fusion weight and
    gain. `ECE`: expected calibration error of the fused answer and of each branch, in percent.
    """
    rows: list[Row] = []
    for model, numbers in result.models.items():
        record = numbers.reliability
        if record is None:
            continue
        taught = (numbers.taught_share or {}).items()
        rows.append(
            [
                model_label(result, model),
                number(record.n_decidable, "d"),
                number(record.by_trust_percent, ".1f", interval=record.by_trust_interval),
                number(record.teacher_percent, ".1f", interval=record.teacher_interval),
                number(numbers.gain_correlation, ".3f"),
                " / ".join(f"{100 * error:.1f}" for error in numbers.calibration_error.values()),
                ", ".join(f"{branch} {100 * share:.1f}" for branch, share in taught if share) or MISSING,
            ]
        )
    header = ["branches of", "decidable", "trusted is right %", "teacher is right %", "weight-gain r"]
    header += ["ECE % fused / each", "taught by %"]
    return Table("diagnostics", "", header, rows, **options)


def result_tables(result: Result) -> list[Table]:
    """The tables of one test, with its notes below the last one."""
    notes = result_notes(result)
    diagnostics = diagnostics_table(result, notes=notes)
    return [accuracy_table(result), diagnostics] if diagnostics.rows else [accuracy_table(result, notes=notes)]
