"""The sections of a run about the whole of it: results, training, settings and environment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mdmf.report.blocks import Block, Cell, Plot, Section, Table, Text, percent_cell, pointer
from mdmf.report.plots import curves_plot, intervals_plot
from mdmf.report.run_files import RunFiles
from mdmf.report.tables import model_label


def protocol_text(result: Mapping[str, Any]) -> str:
    """What was asked, in one line."""
    protocol = result["protocol"]
    parts = [
        f"{result['data']}, {protocol['split']} classes",
        f"{protocol['n_way']}-way {protocol['n_shot']}-shot",
        f"{protocol['n_episodes']:,} episodes of {protocol['n_query']} query per class",
        f"seed {protocol['seed']}",
    ]
    parts += ["support and query from different recordings"] if protocol.get("group_disjoint") else []
    parts += [f"corrupted on purpose: {protocol['corrupt']}"] if protocol.get("corrupt") else []
    parts += [f"other data: {protocol['other_data']}"] if protocol.get("other_data") else []
    parts += [f"other model: {protocol['other_model']}"] if protocol.get("other_model") else []
    parts += [f"weight of the text {result['text_weight']}"] if result.get("text_weight") else []
    return "; ".join(parts)


def choose_baseline(run: RunFiles, asked: str | None = None) -> str | None:
    """The baseline that gains are over: the one asked for, else the best one; None if the test has none.

    Raises:
        ValueError: if the one asked for was not tested.
    """
    others = [name for name in run.result["models"] if name != run.model]
    if asked is not None:
        if asked not in others:
            had = ", ".join(others) or "none"
            raise ValueError(f"{run.folder} has no baseline {asked!r} in {run.source}; it has {had}")
        return asked
    return max(others, key=lambda name: run.result["models"][name]["accuracy_percent"], default=None)


def result_section(run: RunFiles) -> Section:
    """All tests of the run, and a plot of the one that is looked at; the others are folded."""
    first = [run.protocol, *(name for name in run.results if name != run.protocol)]
    blocks: list[Block] = []
    for name in first:
        blocks.append(_result_table(name, run.results[name], folded=name != run.protocol))
        if name == run.protocol:
            blocks.append(_result_plot(run))
            blocks += [Text(f"Note: {note}.") for note in [*notes(run.result), *_notes_on_weights(run)]]
    return Section("results", "Results", tuple(blocks))


def notes(result: Mapping[str, Any]) -> list[str]:
    """What must be known about a result."""
    missing = [f"{100 * share:.1f} % of the queries have no {source}" for source, share in result["missing"].items()]
    return [*result["notes"], *missing]


def _notes_on_weights(run: RunFiles) -> list[str]:
    """What a table beside others would hide: weights of before the end of training, or tests of different weights."""
    found = []
    if run.metrics and not run.training:
        found.append("training has not finished; these are its best weights at the time of the test")
    weights = run.result["checkpoint_sha256"]
    others = [name for name, result in run.results.items() if result["checkpoint_sha256"] != weights]
    if others:
        found.append(f"other weights than here were tested in {', '.join(others)}: these tables do not compare")
    return found


def _result_table(name: str, result: Mapping[str, Any], *, folded: bool) -> Table:
    models = result["models"]
    branches = list(dict.fromkeys(branch for numbers in models.values() for branch in numbers["branches"]))
    rows = []
    for model, numbers in models.items():
        cells = [Cell(model_label(model)), _accuracy(numbers, "models", model)]
        for branch in branches:
            one = numbers["branches"].get(branch)
            cells.append(Cell("–") if one is None else _accuracy(one, "models", model, "branches", branch))
        rows.append(tuple(cells))
    header = ("model", "accuracy, % (95 %)", *(f"{branch} alone" for branch in branches))
    return Table(f"results_{name}", protocol_text(result), header, tuple(rows), f"test_{name}.json", folded)


def _accuracy(numbers: Mapping[str, float], *path: str) -> Cell:
    return percent_cell(numbers["accuracy_percent"], path=(*path, "accuracy_percent"), interval=numbers["interval"])


def _result_plot(run: RunFiles) -> Plot:
    names, values, halves = [], [], []
    for model, numbers in run.result["models"].items():
        parts = {model_label(model): numbers}
        parts |= {f"  {branch} alone": one for branch, one in numbers["branches"].items()}
        for name, one in parts.items():
            names.append(name)
            values.append(one["accuracy_percent"])
            halves.append(one["interval"])
    strong = names.index(model_label(run.model))
    said = ", ".join(f"{name.strip()} {value:.1f}" for name, value in zip(names, values, strict=True))
    return Plot(
        "Accuracy",
        intervals_plot(names, values, halves, strong=strong),
        f"Accuracy in percent with 95 percent intervals: {said}.",
        "The square is the model; intervals are over episodes, and often smaller than the mark.",
    )


def training_section(run: RunFiles) -> Section:
    """Loss and accuracy over the steps of training."""
    train = [row for row in run.metrics if row.get("kind") == "train"]
    val = [row for row in run.metrics if row.get("kind") == "val"]
    if not train:
        reason = (
            "This folder holds no training (no metrics.jsonl): the model has nothing to learn, or was tested alone."
        )
        return Section("training", "Training", (Text(reason),))
    losses = ["loss", *sorted({key for row in train for key in row if key.endswith("_loss")})]
    loss_series = {name.removesuffix("_loss"): _series(train, name) for name in losses}
    accuracy = {"training episodes": _series(train, "accuracy_percent")}
    accuracy |= {"validation classes": _series(val, "accuracy_percent")} if val else {}
    kept = next((row for row in val if row["step"] == run.training.get("best_step")), None)
    mark = None if kept is None else (kept["step"], kept["accuracy_percent"])
    last = train[-1]
    said = f"The loss falls from {train[0]['loss']:.2f} to {last['loss']:.2f} in {last['step']} steps."
    best = "" if mark is None else f" Kept are the weights of step {mark[0]}, {mark[1]:.2f} % on validation."
    blocks: tuple[Block, ...] = (
        Plot("Loss", curves_plot(loss_series, label="loss"), f"Losses over training steps. {said}", said),
        Plot(
            "Accuracy",
            curves_plot(accuracy, label="accuracy, %", mark=mark),
            f"Accuracy of training and validation over training steps.{best}",
            f"Pale: single measurements; strong: their running mean.{best}",
        ),
        _validation_table(val),
    )
    return Section("training", "Training", blocks)


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    there = [row for row in rows if isinstance(row.get(key), (int, float))]
    return [row["step"] for row in there], [row[key] for row in there]


def _validation_table(val: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            Cell(str(row["step"]), row["step"]),
            percent_cell(row["accuracy_percent"], interval=row["interval"]),
            Cell("yes" if row["is_best"] else ""),
        )
        for row in val
    )
    header = ("step", "validation accuracy, % (95 %)", "best so far")
    return Table("validation", "Validation during training", header, rows, folded=True)


def settings_section(run: RunFiles) -> Section:
    """All settings of the test, and where and with what it ran."""
    flat = _flat(run.result["settings"], ("settings",))
    rows = tuple((Cell(".".join(path[1:])), _value_cell(value, path)) for path, value in flat)
    settings = Table("settings", "Settings of the test", ("setting", "value"), rows, source=run.source, folded=True)
    tested = _environment_table("environment_test", "Environment of the test", run.result.get("environment", {}))
    trained = _environment_table("environment_run", "Environment of the training", run.environment)
    weights = run.result.get("checkpoint_sha256")
    said = "No weights: nothing was learned." if weights is None else f"Weights tested: SHA-256 {weights}."
    return Section("settings", "Settings and environment", (Text(said), settings, tested, trained))


def _environment_table(name: str, caption: str, environment: Mapping[str, Any]) -> Table:
    rows = tuple((Cell(".".join(path)), _value_cell(value)) for path, value in _flat(environment, ()))
    return Table(name, caption, ("what", "value"), rows, folded=True)


def _flat(values: Mapping[str, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in values.items():
        inside = isinstance(value, Mapping) and value
        found += _flat(value, (*path, key)) if inside else [((*path, key), value)]
    return found


def _value_cell(value: Any, path: tuple[str, ...] = ()) -> Cell:
    text = "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Cell(text, value, pointer(*path) if path else "")
