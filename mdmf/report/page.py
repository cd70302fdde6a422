"""A report: one HTML page of one or several runs that needs nothing but itself, and its tables as Markdown and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mdmf.report.blocks import Cell, Section, Table, percent_cell
from mdmf.report.branch_sections import branch_section, map_section, selector_section
from mdmf.report.class_sections import class_section, confusion_section
from mdmf.report.markup import section_html, table_html
from mdmf.report.run_files import RunFiles
from mdmf.report.sections import (
    choose_baseline,
    protocol_text,
    result_section,
    settings_section,
    training_section,
)
from mdmf.report.story import story_section
from mdmf.report.style import STYLE
from mdmf.report.tables import model_label

# Nothing may be fetched and no script may run, whatever a name in a result file says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class RunReport:
    """A run and what is said of it; `prefix` begins the ids of its sections."""

    run: RunFiles
    baseline: str | None
    prefix: str
    sections: tuple[Section, ...]


def make_reports(runs: Sequence[RunFiles], *, baseline: str | None = None) -> list[RunReport]:
    """Work out every section of every run.

    Args:
        runs: what their folders hold.
        baseline: name of the model that gains are over; None: the best baseline of each test.

    Raises:
        ValueError: if a test does not have the baseline.
        ImportError: without matplotlib.
    """
    return [_report(run, f"run{number}", baseline) for number, run in enumerate(runs, start=1)]


def _report(run: RunFiles, prefix: str, asked: str | None) -> RunReport:
    baseline = choose_baseline(run, asked)
    sections = (
        result_section(run),
        training_section(run),
        class_section(run, baseline),
        confusion_section(run),
        branch_section(run),
        selector_section(run),
        story_section(run, prefix),
        map_section(run),
        settings_section(run),
    )
    return RunReport(run, baseline, prefix, sections)


def comparison_table(reports: Sequence[RunReport]) -> Table:
    """A row per run: what was asked, the model's accuracy, and its gain over the baseline."""
    rows = []
    for report in reports:
        run, models = report.run, report.run.result["models"]
        own = models[run.model]
        accuracy = percent_cell(own["accuracy_percent"], interval=own["interval"])
        base = Cell("–"), Cell("–")
        if report.baseline is not None:
            percent = models[report.baseline]["accuracy_percent"]
            gain = own["accuracy_percent"] - percent
            base = Cell(f"{report.baseline} {percent:.2f}", percent), Cell(f"{gain:+.2f}", gain)
        rows.append((Cell(run.label), Cell(model_label(run.model)), accuracy, *base, Cell(protocol_text(run.result))))
    header = ("run", "model", "accuracy, % (95 %)", "baseline, %", "gain, points", "asked")
    return Table("comparison", "The runs beside each other", header, tuple(rows))


def page_html(reports: Sequence[RunReport]) -> str:
    """The whole page."""
    alone = len(reports) == 1
    names = ", ".join(report.run.label for report in reports)
    title = f"{names}: few-shot action recognition" if alone else f"{len(reports)} runs: {names}"
    body = "".join(_run_html(report, alone=alone) for report in reports)
    compared = "" if alone else _comparison_html(reports)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#content">Skip to the content</a>\n'
        f'<div class="page">\n<header><h1>{escape(title)}</h1>{_headline(reports) if alone else ""}</header>\n'
        f"{_contents(reports, alone=alone)}\n"
        f'<main id="content" tabindex="-1">\n{compared}{body}\n</main>\n'
        "<footer>Made by mdmf report from the files of the run; every number is from them.</footer>\n"
        "</div>\n</body>\n</html>\n"
    )


def _headline(reports: Sequence[RunReport]) -> str:
    """What was asked, and the numbers that a reader looks for first."""
    (report,) = reports
    run, models = report.run, report.run.result["models"]
    own = models[run.model]
    figures = {f"{model_label(run.model)}, accuracy": f"{own['accuracy_percent']:.2f} ± {own['interval']:.2f} %"}
    if report.baseline is not None:
        percent = models[report.baseline]["accuracy_percent"]
        figures[f"baseline {report.baseline}"] = f"{percent:.2f} %"
        figures["gain over it"] = f"{own['accuracy_percent'] - percent:+.2f} points"
    figures["by chance"] = f"{100 / run.result['protocol']['n_way']:.0f} %"
    cards = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures.items())
    return f"<p>{escape(protocol_text(run.result))}</p><dl class='figures'>{cards}</dl>"


def _contents(reports: Sequence[RunReport], *, alone: bool) -> str:
    def links(report: RunReport) -> str:
        return "".join(
            f'<li><a href="#{report.prefix}-{section.key}">{escape(section.title)}</a></li>'
            for section in report.sections
        )

    inside = links(reports[0]) if alone else '<li><a href="#comparison">Comparison</a></li>'
    if not alone:
        for report in reports:
            inside += f'<li><a href="#{report.prefix}">{escape(report.run.label)}</a><ul>{links(report)}</ul></li>'
    return f'<nav aria-labelledby="contents"><h2 id="contents">Contents</h2><ul>{inside}</ul></nav>'


def _comparison_html(reports: Sequence[RunReport]) -> str:
    asked = {protocol_text(report.run.result) for report in reports}
    note = "" if len(asked) == 1 else "<p>These tests asked different episodes: their accuracies do not compare.</p>"
    inside = note + table_html(comparison_table(reports))
    heading = '<h2 id="comparison-heading">Comparison</h2>'
    return f'<section id="comparison" aria-labelledby="comparison-heading">{heading}{inside}</section>'


def _run_html(report: RunReport, *, alone: bool) -> str:
    level = 2 if alone else 3
    inside = "".join(section_html(section, prefix=report.prefix, level=level) for section in report.sections)
    if alone:
        return inside
    heading = f'<h2 id="{report.prefix}-heading">{escape(report.run.label)}</h2>'
    about = f"<p>{escape(protocol_text(report.run.result))}</p>"
    name = f'id="{report.prefix}" aria-labelledby="{report.prefix}-heading"'
    return f"<section {name}>{heading}{about}{inside}</section>"
