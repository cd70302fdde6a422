"""What the branches of a model say of each other, the prompts it chose, and its features in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdmf.report.content import Block, Plot, Section
from mdmf.report.numbers import SelectorNumbers, answered, certainty_histogram, selector_numbers
from mdmf.report.plots import calibration_plot, certainty_plot, classes_plot, curves_plot, map_plot, shares_plot
from mdmf.report.run_files import RunFiles
from mdmf.report.table import Cell, Table, number, pointer
from mdmf.statistics import wilson_interval
from mdmf.training_log import TrainRow

_FEWEST = 20  # queries of a bin in the calibration plot: the accuracy of fewer says nothing


def absent(run: RunFiles, part: str) -> str | None:
    """Why a part of the evidence is not there; None if it is."""
    if part in run.evidence.not_applicable:
        return f"Does not apply: {run.evidence.not_applicable[part]}."
    if part in run.evidence.missing:
        return f"Missing: {run.evidence.missing[part]}."
    return None


def branch_section(run: RunFiles) -> Section:
    """Who is trusted, who teaches, how sure each is and whether it may be."""
    blocks: list[Block] = []
    if len(run.branches) < 2:
        blocks.append(f"Does not apply: {run.model} has no two branches that could teach each other.")
    else:
        blocks += [*_teaching(run), *_reliability(run)]
    blocks += [*_certainty(run), *_calibration(run)]
    return Section("branches", "Branches", tuple(blocks))


def _teaching(run: RunFiles) -> list[Block]:
    """Who teaches: over training, and on the test's queries."""
    blocks: list[Block] = []
    rows = [row for row in run.metrics.train if "taught_share" in row.numbers]
    if rows:
        blocks.append(_teaching_plot(rows, run.branches))
    shares = run.result.models[run.model].taught_share
    if shares is None:
        return [*blocks, "Does not apply: no branch of this model teaches."]
    named = {_teacher_name(name): share for name, share in shares.items() if share or name in run.branches}
    in_words = ", ".join(f"{name} {100 * share:.1f} %" for name, share in named.items())
    about = "Who would teach on the test's queries"
    blocks.append(
        Plot("Teacher at the test", shares_plot(named), f"{about}: {in_words}.", about + ", where nobody learns.")
    )
    cells = [
        (_teacher_name(name), _share(share, "models", run.model, "taught_share", name))
        for name, share in shares.items()
    ]
    caption = "Who would teach, % of the test's queries"
    return [*blocks, Table("taught_share", caption, ("teacher", "%"), cells, source=run.source, folded=True)]


def _share(share: float, *path: str, digits: int = 1) -> Cell:
    """A share in percent; its value stays the share that the file holds."""
    return Cell(f"{100 * share:.{digits}f}", share, pointer=pointer(*path))


def _teaching_plot(rows: Sequence[TrainRow], branches: Sequence[str]) -> Plot:
    """Who teaches whom over the steps; runs of before this was noted have the sum alone."""
    steps = [row.step for row in rows]
    noted = [name for name in branches if all(f"taught_by_{name}" in row.numbers for row in rows)]
    keys = {_teacher_name(name): f"taught_by_{name}" for name in noted} or {"taught": "taught_share"}
    series = {name: (steps, [100 * row.numbers[key] for row in rows]) for name, key in keys.items()}
    in_words = "; ".join(f"{name}: from {values[0]:.0f} to {values[-1]:.0f} %" for name, (_, values) in series.items())
    about = "Queries on which one branch teaches the other, during training"
    svg = curves_plot(series, label="% of the queries", limits=(0, 102))
    return Plot("Teaching during training", svg, f"{about}. {in_words}.", f"{about}. {in_words}.")


def _teacher_name(name: str) -> str:
    return {"none": "nobody", "both": "both"}.get(name, f"{name} teaches")


def _reliability(run: RunFiles) -> list[Block]:
    numbers, path = run.result.models[run.model], ("models", run.model)
    report = numbers.reliability
    if report is None:
        return []

    def count(key: str) -> Cell:
        return number(getattr(report, key), ",d", path=(*path, "reliability", key))

    def percent(kind: str) -> Cell:
        key, interval = f"{kind}_percent", getattr(report, f"{kind}_interval")
        return number(getattr(report, key), interval=interval, path=(*path, "reliability", key))

    rows = [
        ("queries on which the branches disagree", count("n_disagree")),
        ("of them, exactly one is right", count("n_decidable")),
        ("of these, the trusted branch is right, %", percent("by_trust")),
        ("of these, the teacher is right, %", percent("teacher")),
    ]
    if numbers.gain_correlation is not None:
        correlation = number(numbers.gain_correlation, ".3f", path=(*path, "gain_correlation"))
        rows.append(("correlation of a branch's weight with its gain", correlation))
    return [Table("reliability", "Is the right branch trusted?", ("what", "value"), rows, source=run.source)]


def _certainty(run: RunFiles) -> list[Block]:
    """A histogram for each branch, or of the answer where there are none."""
    if run.episodes is None:
        return ["Missing: the test's posteriors (test_…_episodes.npz), for histograms of certainty."]
    answers = run.episodes.answers[run.model]
    blocks: list[Block] = []
    for branch, posterior in (answers.branch_posteriors or {"": answers.posterior}).items():
        edges, right, wrong = certainty_histogram(posterior, run.episodes.labels)
        in_words = f"right on {right.sum():.1f} % of the queries, wrong on {wrong.sum():.1f} %"
        about = f"How sure {branch or 'the answer'} is where it is right and where it is wrong"
        title = f"Certainty, {branch or run.model}"
        blocks.append(
            Plot(title, certainty_plot(edges, right, wrong), f"{about}; {in_words}.", f"{about}: {in_words}.")
        )
    return blocks


def _calibration(run: RunFiles) -> list[Block]:
    if not run.evidence.calibration:
        reason = absent(run, "calibration")
        return [] if reason is None else [f"Calibration. {reason}"]
    curves = {name: [one for one in bins if one["n"] >= _FEWEST] for name, bins in run.evidence.calibration.items()}
    about = "Accuracy against confidence; on the dotted line confidence is as large as accuracy"
    about += f"; bins of fewer than {_FEWEST} queries are left out"
    errors = run.result.models[run.model].calibration_error
    in_words = ", ".join(f"{name} {100 * error:.1f} %" for name, error in errors.items())
    end = f". Expected calibration error: {in_words}." if errors else "."
    blocks: list[Block] = [Plot("Calibration", calibration_plot(curves), about + end, about + end)]
    if errors:
        path = ("models", run.model, "calibration_error")
        rows = [(name, _share(error, *path, name, digits=2)) for name, error in errors.items()]
        caption, header = "Expected calibration error, %", ("answer", "ECE, %")
        blocks.append(Table("calibration_error", caption, header, rows, source=run.source, folded=True))
    return blocks


def selector_section(run: RunFiles) -> Section:
    """How often a query was given the prompt of its own class, and what came of it."""
    key, title = "selector", "Prompts chosen"
    reason = absent(run, "selector")
    chosen, text = (run.evidence_arrays.get(f"selector/{name}") for name in ("chosen", "text"))
    if reason is not None or chosen is None or text is None or run.episodes is None:
        return Section(key, title, (reason or "Missing: the arrays of the evidence.",))
    overall, per_class = selector_numbers(chosen, text, answered(run.episodes, run.model, len(run.classes)))
    rows = [
        None if one.own_percent is None else (one.own_percent, *wilson_interval(one.n * one.own_percent / 100, one.n))
        for one in per_class
    ]
    in_words = (
        f"A query's class is not known, so its prompt is chosen among {run.result.protocol.n_way}. It is the one "
        f"of its own class for {_text(overall.own_percent)} % of the queries (by chance "
        f"{_text(overall.chance_percent)} %). With its own class's prompt {_text(overall.when_own)} % are answered "
        f"right, with another one {_text(overall.when_other)} %.{_shared_texts(run.classes, text)}"
    )
    plot = Plot(
        "Own prompt chosen, per class",
        classes_plot(run.classes, rows, [one.when_own for one in per_class], labels=("own prompt", "right with it")),
        f"Share of the queries given the prompt of their own class: {_per_class(run, per_class)}.",
        "Full mark: queries given their own class's prompt. Hollow: accuracy of these queries.",
    )
    return Section(key, title, (in_words, plot, _selector_table(run, overall, per_class)))


def _shared_texts(classes: Sequence[str], text: np.ndarray) -> str:
    """Which classes have one text, where any have: their prompts cannot be told apart."""
    groups = [[name for name, own in zip(classes, text, strict=True) if own == number] for number in np.unique(text)]
    named = "; ".join(" and ".join(group) for group in groups if len(group) > 1)
    return f" These classes have the same text, and each other's prompt counts as their own: {named}." if named else ""


def _text(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:.1f}"


def _per_class(run: RunFiles, numbers: list[SelectorNumbers]) -> str:
    return ", ".join(f"{name} {_text(one.own_percent)} %" for name, one in zip(run.classes, numbers, strict=True))


def _selector_table(run: RunFiles, overall: SelectorNumbers, per_class: list[SelectorNumbers]) -> Table:
    def row(name: str, one: SelectorNumbers) -> list[Cell]:
        percents = (one.own_percent, one.when_own, one.when_other)
        return [Cell(name), number(one.n, ",d"), *(number(percent, ".1f") for percent in percents)]

    header = ("class", "queries", "own prompt, %", "right with it, %", "right with another, %")
    rows = [row("all classes", overall), *(row(name, one) for name, one in zip(run.classes, per_class, strict=True))]
    return Table("selector", f"Prompts chosen (selector: {run.evidence.selector['mode']})", header, rows)


def map_section(run: RunFiles) -> Section:
    """Features of the test's videos in two dimensions."""
    key, title = "maps", "Features in two dimensions"
    reason = absent(run, "embeddings")
    if reason is not None:
        return Section(key, title, (reason,))
    blocks: list[Block] = []
    for index, one in enumerate(run.evidence.embeddings):
        points = run.evidence_arrays.get(f"embeddings/{index}/points")
        classes = run.evidence_arrays.get(f"embeddings/{index}/classes")
        if points is None or classes is None:
            return Section(key, title, ("Missing: the arrays of the evidence.",))
        what = "Before: mean frame features" if one.when == "before" else "After: mean tokens"
        share = 100 * sum(one.explained)
        about = f"{one.n_videos} videos of the test; two principal components hold {share:.0f} % of the variance"
        svg = map_plot(points, classes, run.classes, one.explained)
        blocks.append(Plot(f"{what}, {one.of}", svg, f"Scatter plot, a mark per video. {about}.", f"{about}."))
    if run.model == "m2df":
        own = "After fusion each video has its own class's prompt, as a support video has"
        blocks.append(f"{own}: part of the order is the text's.")
    if not any(one.when == "after" for one in run.evidence.embeddings):
        blocks.append(f"After does not apply: {run.model} compares the features as they are.")
    return Section(key, title, tuple(blocks))
