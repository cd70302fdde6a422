"""The sections of a run about its classes: how well each is known, and which is taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdmf.report.blocks import Block, Cell, Plot, Section, Table, Text, percent_cell
from mdmf.report.numbers import ClassNumbers, answered, class_numbers, confusion_counts
from mdmf.report.plots import classes_plot, confusion_plot, gains_plot
from mdmf.report.run_files import RunFiles
from mdmf.report.tables import model_label

N_CONFUSIONS = 10
_NO_EPISODES = (
    "The file of the test's answers (test_…_episodes.npz) is not in the run folder, or not of this result: this cannot "
    "be shown."
)


def class_section(run: RunFiles, baseline: str | None) -> Section:
    """Accuracy of each class, and its gain over the baseline."""
    if not run.episodes:
        return Section("classes", "Classes", (_json_classes(run, baseline), Text(_NO_EPISODES)))
    C = len(run.classes)
    base = None if baseline is None else answered(run.episodes, baseline, C)
    numbers = class_numbers(answered(run.episodes, run.model, C), base)
    order = sorted(range(C), key=lambda c: -1.0 if (percent := numbers[c].percent) is None else percent, reverse=True)
    blocks: list[Block] = [_class_plot(run, numbers, order, baseline)]
    if baseline is not None:
        blocks.append(_gain_plot(run, numbers, baseline))
    blocks.append(_class_table(run, numbers, baseline))
    said = (
        "Intervals take queries to be independent. The same few videos are drawn again and again, so they are narrow."
    )
    return Section("classes", "Classes", (*blocks, Text(said)))


def _json_classes(run: RunFiles, baseline: str | None) -> Table:
    models = [run.model, *([] if baseline is None else [baseline])]
    rows = tuple((Cell(name), *(_class_cell(run, model, name) for model in models)) for name in run.classes)
    return Table("classes", "Accuracy per class, %", ("class", *models), rows, source=run.source)


def _class_cell(run: RunFiles, model: str, name: str) -> Cell:
    value = run.result["models"][model]["per_class_percent"][name]
    return percent_cell(value, path=("models", model, "per_class_percent", name))


def _class_plot(run: RunFiles, numbers: Sequence[ClassNumbers], order: Sequence[int], baseline: str | None) -> Plot:
    rows = [
        None if one.percent is None or one.low is None or one.high is None else (one.percent, one.low, one.high)
        for one in (numbers[c] for c in order)
    ]
    names = [run.classes[c] for c in order]
    said = ", ".join(f"{name} {row[0]:.0f}" for name, row in zip(names, rows, strict=True) if row is not None)
    against = "" if baseline is None else f" The hollow mark is {baseline}."
    return Plot(
        "Accuracy per class",
        classes_plot(
            names,
            rows,
            [numbers[c].baseline_percent for c in order],
            labels=(f"{run.model}, accuracy", f"{baseline}, accuracy"),
        ),
        f"Accuracy of each class in percent, best first: {said}.",
        f"{model_label(run.model)}, best class first, with 95 % Wilson intervals.{against}",
    )


def _gain_plot(run: RunFiles, numbers: Sequence[ClassNumbers], baseline: str) -> Plot:
    rows = [(one.gain, name, one.gain_interval) for name, one in zip(run.classes, numbers, strict=True)]
    asked = sorted(((gain, name, half) for gain, name, half in rows if gain is not None), key=lambda row: -row[0])
    names, gains = [name for _, name, _ in asked], [gain for gain, _, _ in asked]
    said = ", ".join(f"{name} {gain:+.0f}" for name, gain in zip(names, gains, strict=True))
    return Plot(
        f"Gain over {baseline}",
        gains_plot(names, gains, [half for _, _, half in asked]),
        f"Gain over {baseline} per class in percentage points, largest first: {said}.",
        "Paired: both answered the same queries. Hatched bars are losses.",
    )


def _class_table(run: RunFiles, numbers: Sequence[ClassNumbers], baseline: str | None) -> Table:
    header: tuple[str, ...] = ("class", "number", "queries", f"{run.model}, %")
    header += () if baseline is None else (f"{baseline}, %", "gain, points (95 %)")
    rows = []
    for c, (name, one) in enumerate(zip(run.classes, numbers, strict=True), start=1):
        cells = [Cell(name), Cell(str(c), c), Cell(f"{one.n_asked:,}", one.n_asked), _class_cell(run, run.model, name)]
        if baseline is not None:
            half = "" if one.gain_interval is None else f" ± {one.gain_interval:.2f}"
            gain = Cell("–") if one.gain is None else Cell(f"{one.gain:+.2f}{half}", one.gain)
            cells += [_class_cell(run, baseline, name), gain]
        rows.append(tuple(cells))
    return Table("classes", "Accuracy per class", header, tuple(rows), source=run.source)


def confusion_section(run: RunFiles) -> Section:
    """Which class is taken for which."""
    if not run.episodes:
        return Section("confusions", "Confusions", (Text(_NO_EPISODES),))
    counts, possible = confusion_counts(answered(run.episodes, run.model, len(run.classes)))
    asked = counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        percent = 100 * counts / asked
    worst = _confusion_rows(run.classes, counts, possible)
    said = "; ".join(f"{row[0].text} taken for {row[1].text}" for row in worst[:3])
    numbered = tuple(f"{number}" for number in range(1, len(run.classes) + 1))
    plot = Plot(
        "Confusion matrix",
        confusion_plot(run.classes, percent),
        f"Confusion matrix, true class by answered class, in percent of the true class. Most frequent: {said}.",
        "Rows: true class; columns: answered class, by the number beside the name. Percent of the row's queries; "
        "cells under 0.5 % carry no number.",
    )
    matrix = Table(
        "confusion_matrix",
        "Confusion matrix, % of the row's queries (columns by class number)",
        ("true class", *numbered),
        tuple(
            (Cell(f"{number} {name}"), *(Cell("–") if np.isnan(v) else Cell(f"{v:.1f}", float(v)) for v in row))
            for number, (name, row) in enumerate(zip(run.classes, percent, strict=True), start=1)
        ),
        folded=True,
    )
    header = ("true class", "taken for", "% of its queries", "% with both to choose from")
    frequent = Table("confusions", "Most frequent confusions", header, worst)
    return Section("confusions", "Confusions", (plot, frequent, matrix))


def _confusion_rows(classes: Sequence[str], counts: np.ndarray, possible: np.ndarray) -> tuple[tuple[Cell, ...], ...]:
    """The largest off-diagonal cells, as shares of the queries that had both classes to choose from."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    shares = wrong / np.maximum(possible, 1)
    order = np.argsort(-shares, axis=None, kind="stable")[:N_CONFUSIONS]
    rows = []
    for true, answer in zip(*np.unravel_index(order, shares.shape), strict=True):
        if wrong[true, answer]:
            of_all = 100 * wrong[true, answer] / counts[true].sum()
            both = 100 * float(shares[true, answer])
            cells = (Cell(f"{of_all:.1f}", float(of_all)), Cell(f"{both:.1f}", both))
            rows.append((Cell(classes[true]), Cell(classes[answer]), *cells))
    return tuple(rows)
