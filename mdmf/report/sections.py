"""Sections on the results, the training, the settings and the environment of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mdmf.report.content import Block, Plot, Section
from mdmf.report.plots import curves_plot, intervals_plot
from mdmf.report.run_files import RunFiles
from mdmf.report.table import MISSING, Cell, Table, number, pointer
from mdmf.report.tables import accuracy_table, model_label, result_notes
from mdmf.results import AccuracyRecord, ResultFiles
from mdmf.training_log import TrainRow, ValRow


def choose_baseline(run: RunFiles, requested: str | None = None) -> str | None:
    """The baseline that gains are measured against: the requested or the best one; None without baselines.

    Raises:
        ValueError: if the requested one was not tested.
    """
    models = run.result.models
    others = [name for name in models if name != run.model]
    if requested is not None:
        if requested not in others:
            raise ValueError(
                f"{run.files.folder} has no baseline {requested!r} in {run.source}; "
                f"it has {', '.join(others) or 'none'}"
            )
        return requested
    return max(others, key=lambda name: models[name].accuracy_percent, default=None)


def result_section(run: RunFiles) -> Section:
    """Tables of all tests of the run, and a plot of the detailed one; the other tables are folded."""
    notes = [*result_notes(run.result), *_notes_on_weights(run)]
    blocks: list[Block] = [_result_table(run, run.files.protocol, folded=False), _result_plot(run)]
    blocks += [f"Note: {note}." for note in notes]
    blocks += [_result_table(run, name, folded=True) for name in run.results if name != run.files.protocol]
    return Section("results", "Results", tuple(blocks))


def _result_table(run: RunFiles, protocol: str, *, folded: bool) -> Table:
    source = ResultFiles(run.files.folder, protocol).result.name
    return accuracy_table(run.results[protocol], f"results_{protocol}", source=source, folded=folded)


def _notes_on_weights(run: RunFiles) -> list[str]:
    """Notes on weights of an unfinished training, and on tests of other weights."""
    notes = []
    if (run.metrics.train or run.metrics.val) and run.training is None:
        notes.append("training has not finished; these are its best weights at the time of the test")
    weights = run.result.checkpoint_sha256
    others = [name for name, result in run.results.items() if result.checkpoint_sha256 != weights]
    if others:
        notes.append(f"other weights than here were tested in {', '.join(others)}: these tables do not compare")
    return notes


def _result_plot(run: RunFiles) -> Plot:
    rows: list[tuple[str, AccuracyRecord]] = []
    for model, numbers in run.result.models.items():
        rows.append((model_label(run.result, model), numbers))
        rows += [(f"  {branch} alone", part) for branch, part in numbers.branches.items()]
    names, values = [name for name, _ in rows], [part.accuracy_percent for _, part in rows]
    strong = names.index(model_label(run.result, run.model))
    in_words = ", ".join(f"{name.strip()} {value:.1f}" for name, value in zip(names, values, strict=True))
    return Plot(
        "Accuracy",
        intervals_plot(names, values, [part.interval for _, part in rows], strong=strong),
        f"Accuracy in percent with 95 percent intervals: {in_words}.",
        "The square is the model; intervals are over episodes, and often smaller than the mark.",
    )


def training_section(run: RunFiles) -> Section:
    """Loss and accuracy over the steps of training."""
    train, val = run.metrics.train, run.metrics.val
    if not train:
        reason = (
            "This folder holds no training (no metrics.jsonl): the model has nothing to learn, or was tested alone."
        )
        return Section("training", "Training", (reason,))
    losses = ["loss", *sorted({name for row in train for name in row.numbers if name.endswith("_loss")})]
    accuracy = {"training episodes": _series(train, "accuracy_percent")}
    if val:
        accuracy["validation classes"] = [row.step for row in val], [row.accuracy_percent for row in val]
    best_step = None if run.training is None else run.training.best_step
    mark = next(((row.step, row.accuracy_percent) for row in val if row.step == best_step), None)
    first, last = train[0], train[-1]
    fall = f"The loss falls from {first.loss:.2f} to {last.loss:.2f} in {last.step} steps."
    best = "" if mark is None else f" Kept are the weights of step {mark[0]}, {mark[1]:.2f} % on validation."
    blocks: tuple[Block, ...] = (
        Plot(
            "Loss",
            curves_plot({name.removesuffix("_loss"): _series(train, name) for name in losses}, label="loss"),
            f"Losses over training steps. {fall}",
            fall,
        ),
        Plot(
            "Accuracy",
            curves_plot(accuracy, label="accuracy, %", mark=mark),
            f"Accuracy of training and validation over training steps.{best}",
            f"Pale: single measurements; strong: their running mean.{best}",
        ),
        _validation_table(val),
    )
    return Section("training", "Training", blocks)


def _series(rows: Sequence[TrainRow], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of the rows that have a number of this name."""
    with_number = [row for row in rows if name in row.numbers]
    return [row.step for row in with_number], [row.numbers[name] for row in with_number]


def _validation_table(val: Sequence[ValRow]) -> Table:
    rows = [
        (number(row.step, "d"), number(row.accuracy_percent, interval=row.interval), "yes" if row.is_best else "")
        for row in val
    ]
    header = ("step", "validation accuracy, % (95 %)", "best so far")
    return Table("validation", "Validation during training", header, rows, folded=True)


def settings_section(run: RunFiles) -> Section:
    """All settings of the test, its weights, and its environment."""
    weights = run.result.checkpoint_sha256
    rows = [(".".join(path), _value_cell(value, "settings", *path)) for path, value in _flat(run.result.settings)]
    caption, header = "Settings of the test", ("setting", "value")
    settings = Table("settings", caption, header, rows, source=run.source, folded=True, wraps=True)
    return Section(
        "settings",
        "Settings and environment",
        (
            "No weights: nothing was learned." if weights is None else f"Weights tested: SHA-256 {weights}.",
            settings,
            _environment_table("environment_test", "Environment of the test", run.result.environment),
            _environment_table("environment_run", "Environment of the training", run.environment),
        ),
    )


def _environment_table(name: str, caption: str, environment: Mapping[str, Any]) -> Table:
    rows = [(".".join(path), _value_cell(value)) for path, value in _flat(environment)]
    return Table(name, caption, ("what", "value"), rows, folded=True, wraps=True)


def _flat(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path of keys, value) of every value in nested dictionaries; an empty dictionary is a value."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, (*path, key))
        else:
            yield (*path, key), value


def _value_cell(value: Any, *path: str) -> Cell:
    text = MISSING if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Cell(text, value, pointer=pointer(*path))
