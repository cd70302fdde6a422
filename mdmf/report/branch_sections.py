"""Sections on the branches of a model, on its chosen prompts, and on its features in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdmf.report.content import Block, Plot, Section
from mdmf.report.numbers import SelectorNumbers, answered, certainty_histogram, selector_numbers
from mdmf.report.plots import calibration_plot, certainty_plot, classes_plot, curves_plot, map_plot, shares_plot
from mdmf.report.run_files import RunFiles
from mdmf.report.table import Cell, Table, number, pointer
from mdmf.results import Evidence
from mdmf.statistics import wilson_interval
from mdmf.training_log import TrainRow

_MIN_BIN_QUERIES = 20  # in the calibration plot; the accuracy of fewer queries is meaningless


def reason_missing(run: RunFiles, part: str) -> str | None:
    """Why a part of the evidence does not exist; None if it exists."""
    if part in run.evidence.not_applicable:
        return f"Does not apply: {run.evidence.not_applicable[part]}."
    if part in run.evidence.missing:
        return f"Missing: {run.evidence.missing[part]}."
    return None


def branch_section(run: RunFiles) -> Section:
    """Teaching, reliability, certainty and calibration of the branches."""
    blocks: list[Block] = []
    if len(run.branches) < 2:
        blocks.append(f"Does not apply: {run.model} has no two branches that could teach each other.")
    else:
        blocks += [*_teaching(run), *_reliability(run)]
    blocks += [*_certainty(run), *_calibration(run)]
    return Section("branches", "Branches", tuple(blocks))


def _teaching(run: RunFiles) -> list[Block]:
    """Teaching branches during training, and on the queries of the test."""
    blocks: list[Block] = []
    rows = [row for row in run.metrics.train if "taught_share" in row.numbers]
    if rows:
        blocks.append(_teaching_plot(rows, run.branches))
    shares = run.result.models[run.model].taught_share
    if shares is None:
        return [*blocks, "Does not apply: no branch of this model teaches."]
    named = {_teacher_name(name): share for name, share in shares.items() if share or name in run.branches}
    description = ", ".join(f"{name} {100 * share:.1f} %" for name, share in named.items())
    about = "Who would teach on the test's queries"
    blocks.append(
        Plot("Teacher at the test", shares_plot(named), f"{about}: {description}.", about + ", where nobody learns.")
    )
    cells = [
        (_teacher_name(name), _share(share, "models", run.model, "taught_share", name))
        for name, share in shares.items()
    ]
    caption = "Who would teach, % of the test's queries"
    return [*blocks, Table("taught_share", caption, ("teacher", "%"), cells, source=run.source, folded=True)]


def _share(share: float, *path: str, digits: int = 1) -> Cell:
    """A share in percent; the value of the cell is the share of the file."""
    return Cell(f"{100 * share:.{digits}f}", share, pointer=pointer(*path))


def _teaching_plot(rows: Sequence[TrainRow], branches: Sequence[str]) -> Plot:
    """Share of the taught queries over the steps, by branch; older runs have only the sum."""
    steps = [row.step for row in rows]
    by_branch = [name for name in branches if all(f"taught_by_{name}" in row.numbers for row in rows)]
    keys = {_teacher_name(name): f"taught_by_{name}" for name in by_branch} or {"taught": "taught_share"}
    series = {name: (steps, [100 * row.numbers[key] for row in rows]) for name, key in keys.items()}
    changes = "; ".join(f"{name}: from {values[0]:.0f} to {values[-1]:.0f} %" for name, (_, values) in series.items())
    caption = f"Queries on which one branch teaches the other, during training. {changes}."
    svg = curves_plot(series, label="% of the queries", limits=(0, 102))
    return Plot("Teaching during training", svg, caption, caption)


def _teacher_name(name: str) -> str:
    return {"none": "nobody", "both": "both"}.get(name, f"{name} teaches")


def _reliability(run: RunFiles) -> list[Block]:
    """Table of how often the trusted branch and the teacher are correct."""
    numbers, path = run.result.models[run.model], ("models", run.model)
    record = numbers.reliability
    if record is None:
        return []

    def count(key: str) -> Cell:
        return number(getattr(record, key), ",d", path=(*path, "reliability", key))

    def percent(kind: str) -> Cell:
        key, interval = f"{kind}_percent", getattr(record, f"{kind}_interval")
        return number(getattr(record, key), interval=interval, path=(*path, "reliability", key))

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
    """A histogram of the certainty of each branch, or of the answer of a model without branches."""
    if run.episodes is None:
        return ["Missing: the test's posteriors (test_…_episodes.npz), for histograms of certainty."]
    answers = run.episodes.answers[run.model]
    blocks: list[Block] = []
    for branch, posterior in (answers.branch_posteriors or {"": answers.posterior}).items():
        edges, correct, wrong = certainty_histogram(posterior, run.episodes.labels)
        shares = f"right on {correct.sum():.1f} % of the queries, wrong on {wrong.sum():.1f} %"
        about = f"How sure {branch or 'the answer'} is where it is right and where it is wrong"
        title = f"Certainty, {branch or run.model}"
        blocks.append(Plot(title, certainty_plot(edges, correct, wrong), f"{about}; {shares}.", f"{about}: {shares}."))
    return blocks


def _calibration(run: RunFiles) -> list[Block]:
    """Plot of the calibration curves, and table of the calibration errors."""
    if not run.evidence.calibration:
        reason = reason_missing(run, "calibration")
        return [] if reason is None else [f"Calibration. {reason}"]
    curves = {
        name: [each for each in bins if each["n"] >= _MIN_BIN_QUERIES]
        for name, bins in run.evidence.calibration.items()
    }
    about = "Accuracy against confidence; on the dotted line confidence is as large as accuracy"
    about += f"; bins of fewer than {_MIN_BIN_QUERIES} queries are left out"
    errors = run.result.models[run.model].calibration_error
    values = ", ".join(f"{name} {100 * error:.1f} %" for name, error in errors.items())
    about += f". Expected calibration error: {values}." if errors else "."
    blocks: list[Block] = [Plot("Calibration", calibration_plot(curves), about, about)]
    if errors:
        path = ("models", run.model, "calibration_error")
        rows = [(name, _share(error, *path, name, digits=2)) for name, error in errors.items()]
        caption, header = "Expected calibration error, %", ("answer", "ECE, %")
        blocks.append(Table("calibration_error", caption, header, rows, source=run.source, folded=True))
    return blocks


def selector_section(run: RunFiles) -> Section:
    """How often a query was given the prompt of its own class, and the accuracy with it and with another prompt."""
    key, title = "selector", "Prompts chosen"
    reason = reason_missing(run, "selector")
    chosen, text = (run.evidence_arrays.get(f"selector/{name}") for name in ("chosen", "text"))
    if reason is not None or chosen is None or text is None or run.episodes is None:
        return Section(key, title, (reason or "Missing: the arrays of the evidence.",))
    overall, per_class = selector_numbers(chosen, text, answered(run.episodes, run.model, len(run.classes)))
    rows = [_match_interval(numbers) for numbers in per_class]
    summary = (
        f"A query's class is not known, so its prompt is chosen among {run.result.protocol.n_way}. It is the one "
        f"of its own class for {_text(overall.match_percent)} % of the queries (by chance "
        f"{_text(overall.chance_percent)} %). With its own class's prompt {_text(overall.accuracy_with_match)} % are "
        f"answered right, with another one {_text(overall.accuracy_with_other)} %.{_shared_texts(run.classes, text)}"
    )
    plot = Plot(
        "Own prompt chosen, per class",
        classes_plot(
            run.classes,
            rows,
            [numbers.accuracy_with_match for numbers in per_class],
            labels=("own prompt", "right with it"),
        ),
        f"Share of the queries given the prompt of their own class: {_per_class(run, per_class)}.",
        "Full mark: queries given their own class's prompt. Hollow: accuracy of these queries.",
    )
    return Section(key, title, (summary, plot, _selector_table(run, overall, per_class)))


def _match_interval(numbers: SelectorNumbers) -> tuple[float, float, float] | None:
    """Percentage of queries with the prompt of their own class, and the ends of its interval."""
    percent = numbers.match_percent
    return None if percent is None else (percent, *wilson_interval(numbers.n * percent / 100, numbers.n))


def _shared_texts(classes: Sequence[str], text: np.ndarray) -> str:
    """A sentence that names the classes with the same text; empty if there are none."""
    groups = [
        [name for name, of_class in zip(classes, text, strict=True) if of_class == number] for number in np.unique(text)
    ]
    named = "; ".join(" and ".join(group) for group in groups if len(group) > 1)
    return f" These classes have the same text, and each other's prompt counts as their own: {named}." if named else ""


def _text(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:.1f}"


def _per_class(run: RunFiles, numbers: list[SelectorNumbers]) -> str:
    return ", ".join(f"{name} {_text(one.match_percent)} %" for name, one in zip(run.classes, numbers, strict=True))


def _selector_table(run: RunFiles, overall: SelectorNumbers, per_class: list[SelectorNumbers]) -> Table:
    def row(name: str, one: SelectorNumbers) -> list[Cell]:
        percents = (one.match_percent, one.accuracy_with_match, one.accuracy_with_other)
        return [Cell(name), number(one.n, ",d"), *(number(percent, ".1f") for percent in percents)]

    header = ("class", "queries", "own prompt, %", "right with it, %", "right with another, %")
    rows = [row("all classes", overall), *(row(name, one) for name, one in zip(run.classes, per_class, strict=True))]
    return Table("selector", f"Prompts chosen (selector: {run.evidence.selector['mode']})", header, rows)


def map_section(run: RunFiles) -> Section:
    """Scatter plots of the test's videos, before and after the model."""
    key, title = "maps", "Features in two dimensions"
    reason = reason_missing(run, "embeddings")
    if reason is not None:
        return Section(key, title, (reason,))
    blocks: list[Block] = []
    for index, feature_map in enumerate(run.evidence.embeddings):
        points = run.evidence_arrays.get(f"embeddings/{index}/points")
        classes = run.evidence_arrays.get(f"embeddings/{index}/classes")
        if points is None or classes is None:
            return Section(key, title, ("Missing: the arrays of the evidence.",))
        what = "Before: mean frame features" if feature_map.when == "before" else "After: mean tokens"
        share = 100 * sum(feature_map.explained)
        about = (
            f"{feature_map.n_videos} videos of the test; two principal components hold {share:.0f} % of the variance"
        )
        svg = map_plot(points, classes, run.classes, feature_map.explained)
        blocks.append(Plot(f"{what}, {feature_map.of}", svg, f"Scatter plot, a mark per video. {about}.", f"{about}."))
    if _has_prompted_maps(run.evidence):
        blocks.append(
            "After fusion each video has its own class's prompt, as a support video has: part of the order is "
            "the text's."
        )
    if not any(feature_map.when == "after" for feature_map in run.evidence.embeddings):
        blocks.append(f"After does not apply: {run.model} compares the features as they are.")
    return Section(key, title, tuple(blocks))


def _has_prompted_maps(evidence: Evidence) -> bool:
    """Whether a feature map includes prompts; older evidence only tells whether the model chooses prompts."""
    known = [feature_map.prompted for feature_map in evidence.embeddings if feature_map.prompted is not None]
    return any(known) if known else bool(evidence.selector)
