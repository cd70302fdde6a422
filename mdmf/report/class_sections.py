"""Sections on the classes: accuracy of each class, and confusions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdmf.report.content import Block, Plot, Section
from mdmf.report.numbers import ClassNumbers, answered, class_numbers, confusion_counts
from mdmf.report.plots import classes_plot, confusion_plot, gains_plot
from mdmf.report.run_files import RunFiles
from mdmf.report.table import MISSING, Cell, Row, Table, number
from mdmf.report.tables import model_label

N_CONFUSIONS = 10
_NO_EPISODES = (
    "The file of the test's answers (test_…_episodes.npz) is not in the run folder, or not of this result: this cannot "
    "be shown."
)


def class_section(run: RunFiles, baseline: str | None) -> Section:
    """Accuracy of each class, and its gain over the baseline."""
    if run.episodes is None:
        return Section("classes", "Classes", (_json_classes(run, baseline), _NO_EPISODES))
    C = len(run.classes)
    base = None if baseline is None else answered(run.episodes, baseline, C)
    numbers = class_numbers(answered(run.episodes, run.model, C), base)
    percents = [-1.0 if of_class.percent is None else of_class.percent for of_class in numbers]
    order = sorted(range(C), key=percents.__getitem__, reverse=True)
    blocks: list[Block] = [_class_plot(run, numbers, order, baseline)]
    if baseline is not None:
        blocks.append(_gain_plot(run, numbers, baseline))
    blocks.append(_class_table(run, numbers, baseline))
    blocks.append(
        "Intervals take queries to be independent. The same few videos are drawn again and again, so they are narrow."
    )
    return Section("classes", "Classes", tuple(blocks))


def _json_classes(run: RunFiles, baseline: str | None) -> Table:
    """Accuracy per class from the result alone, for a test without its episodes."""
    models = [run.model, *([] if baseline is None else [baseline])]
    rows: list[Row] = [(name, *(_class_cell(run, model, name) for model in models)) for name in run.classes]
    return Table("classes", "Accuracy per class, %", ("class", *models), rows, source=run.source)


def _class_cell(run: RunFiles, model: str, name: str) -> Cell:
    value = run.result.models[model].per_class_percent[name]
    return number(value, path=("models", model, "per_class_percent", name))


def _class_plot(run: RunFiles, numbers: Sequence[ClassNumbers], order: Sequence[int], baseline: str | None) -> Plot:
    rows = [
        None if n.percent is None or n.low is None or n.high is None else (n.percent, n.low, n.high)
        for n in (numbers[c] for c in order)
    ]
    names = [run.classes[c] for c in order]
    in_words = ", ".join(f"{name} {row[0]:.0f}" for name, row in zip(names, rows, strict=True) if row is not None)
    against = "" if baseline is None else f" The hollow mark is {baseline}."
    return Plot(
        "Accuracy per class",
        classes_plot(
            names,
            rows,
            [numbers[c].baseline_percent for c in order],
            labels=(f"{run.model}, accuracy", f"{baseline}, accuracy"),
        ),
        f"Accuracy of each class in percent, best first: {in_words}.",
        f"{model_label(run.result, run.model)}, best class first, with 95 % Wilson intervals.{against}",
    )


def _gain_plot(run: RunFiles, numbers: Sequence[ClassNumbers], baseline: str) -> Plot:
    rows = [(n.gain, name, n.gain_interval) for name, n in zip(run.classes, numbers, strict=True)]
    rows = sorted((row for row in rows if row[0] is not None), key=lambda row: -(row[0] or 0.0))
    gains, names, halves = zip(*rows, strict=True)
    in_words = ", ".join(f"{name} {gain:+.0f}" for name, gain in zip(names, gains, strict=True))
    return Plot(
        f"Gain over {baseline}",
        gains_plot(names, gains, halves),
        f"Gain over {baseline} per class in percentage points, largest first: {in_words}.",
        "Paired: both answered the same queries. Hatched bars are losses.",
    )


def _class_table(run: RunFiles, numbers: Sequence[ClassNumbers], baseline: str | None) -> Table:
    header: tuple[str, ...] = ("class", "number", "queries", f"{run.model}, %")
    header += () if baseline is None else (f"{baseline}, %", "gain, points (95 %)")
    rows = []
    for place, (name, of_class) in enumerate(zip(run.classes, numbers, strict=True), start=1):
        cells = [Cell(name), number(place, "d"), number(of_class.n_queries, ",d"), _class_cell(run, run.model, name)]
        if baseline is not None:
            half = "" if of_class.gain_interval is None else f" ± {of_class.gain_interval:.2f}"
            gain = Cell(MISSING) if of_class.gain is None else Cell(f"{of_class.gain:+.2f}{half}", of_class.gain)
            cells += [_class_cell(run, baseline, name), gain]
        rows.append(cells)
    return Table("classes", "Accuracy per class", header, rows, source=run.source)


def confusion_section(run: RunFiles) -> Section:
    """Confusion matrix and the most frequent confusions."""
    if run.episodes is None:
        return Section("confusions", "Confusions", (_NO_EPISODES,))
    counts, possible = confusion_counts(answered(run.episodes, run.model, len(run.classes)))
    with np.errstate(invalid="ignore"):
        percent = 100 * counts / counts.sum(axis=1, keepdims=True)
    worst = _confusion_rows(run.classes, counts, possible)
    in_words = "; ".join(f"{row[0].text} taken for {row[1].text}" for row in worst[:3])
    plot = Plot(
        "Confusion matrix",
        confusion_plot(run.classes, percent),
        f"Confusion matrix, true class by answered class, in percent of the true class. Most frequent: {in_words}.",
        "Rows: true class; columns: answered class, by the number beside the name. Percent of the row's queries; "
        "cells under 0.5 % carry no number.",
    )
    matrix = Table(
        "confusion_matrix",
        "Confusion matrix, % of the row's queries (columns by class number)",
        ("true class", *(str(place) for place in range(1, len(run.classes) + 1))),
        [
            (f"{place} {name}", *(number(None if np.isnan(share) else share, ".1f") for share in row))
            for place, (name, row) in enumerate(zip(run.classes, percent.tolist(), strict=True), start=1)
        ],
        folded=True,
    )
    header = ("true class", "taken for", "% of its queries", "% with both to choose from")
    frequent = Table("confusions", "Most frequent confusions", header, worst)
    return Section("confusions", "Confusions", (plot, frequent, matrix))


def _confusion_rows(classes: Sequence[str], counts: np.ndarray, possible: np.ndarray) -> list[Sequence[Cell]]:
    """The largest off-diagonal cells as shares of the queries whose episode has both classes."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    shares = wrong / np.maximum(possible, 1)
    order = np.argsort(-shares, axis=None, kind="stable")[:N_CONFUSIONS]
    rows: list[Sequence[Cell]] = []
    for true, answer in zip(*np.unravel_index(order, shares.shape), strict=True):
        if wrong[true, answer]:
            of_all, of_both = 100 * wrong[true, answer] / counts[true].sum(), 100 * shares[true, answer]
            percents = (number(float(of_all), ".1f"), number(float(of_both), ".1f"))
            rows.append((Cell(classes[true]), Cell(classes[answer]), *percents))
    return rows
