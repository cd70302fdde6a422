"""A report: one self-contained HTML page on one or several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mdmf.report.branch_sections import branch_section, map_section, selector_section
from mdmf.report.class_sections import class_section, confusion_section
from mdmf.report.content import Section
from mdmf.report.run_files import RunFiles
from mdmf.report.sections import choose_baseline, result_section, settings_section, training_section
from mdmf.report.story import story_section
from mdmf.report.table import MISSING, Cell, Row, Table, number, templates
from mdmf.report.tables import model_label, protocol_text


@dataclass(frozen=True)
class RunReport:
    """A run and its sections.

    Attributes:
        baseline: model that gains are measured against; None without baselines.
        prefix: beginning of the ids of its sections.
    """

    run: RunFiles
    baseline: str | None
    prefix: str
    sections: tuple[Section, ...]

    @property
    def protocol(self) -> str:
        """The protocol of the test in one line."""
        return protocol_text(self.run.result)

    @property
    def accuracies(self) -> tuple[float, float | None]:
        """Accuracy of the model and of the baseline, in percent."""
        models = self.run.result.models
        baseline = None if self.baseline is None else models[self.baseline].accuracy_percent
        return models[self.run.model].accuracy_percent, baseline

    def figures(self) -> dict[str, str]:
        """Name -> text of the main numbers."""
        result, (accuracy, baseline) = self.run.result, self.accuracies
        interval = result.models[result.model].interval
        figures = {f"{model_label(result, result.model)}, accuracy": f"{accuracy:.2f} ± {interval:.2f} %"}
        if baseline is not None:
            figures[f"baseline {self.baseline}"] = f"{baseline:.2f} %"
            figures["gain over it"] = f"{accuracy - baseline:+.2f} points"
        return figures | {"by chance": f"{100 / result.protocol.n_way:.0f} %"}


def make_reports(runs: Sequence[RunFiles], *, baseline: str | None = None) -> list[RunReport]:
    """The reports of runs.

    Args:
        runs: contents of their folders.
        baseline: model that gains are measured against; default: the best baseline of each test.

    Raises:
        ValueError: if a test does not have the baseline.
        ImportError: if matplotlib is not installed.
    """
    return [_report(run, f"run{place}", baseline) for place, run in enumerate(runs, start=1)]


def _report(run: RunFiles, prefix: str, requested_baseline: str | None) -> RunReport:
    baseline = choose_baseline(run, requested_baseline)
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
    """A row per run: accuracy of its model, gain over the baseline, and protocol of the test."""
    rows: list[Row] = []
    for report in reports:
        result, (accuracy, baseline) = report.run.result, report.accuracies
        gain = [Cell(MISSING), Cell(MISSING)]
        if baseline is not None:
            gain = [Cell(f"{report.baseline} {baseline:.2f}", baseline), number(accuracy - baseline, "+.2f")]
        cell = number(accuracy, interval=result.models[result.model].interval)
        rows.append([report.run.label, model_label(result, result.model), cell, *gain, report.protocol])
    header = ("run", "model", "accuracy, % (95 %)", "baseline, %", "gain, points", "asked")
    return Table("comparison", "The runs beside each other", header, rows)


def page_html(reports: Sequence[RunReport]) -> str:
    """The HTML page."""
    labels = ", ".join(report.run.label for report in reports)
    is_one = len(reports) == 1
    template = templates().get_template("page.html.j2")
    return template.render(
        title=f"{labels}: few-shot action recognition" if is_one else f"{len(reports)} runs: {labels}",
        reports=reports,
        comparison=None if is_one else comparison_table(reports),
        is_same_test=len({report.protocol for report in reports}) == 1,
    )
