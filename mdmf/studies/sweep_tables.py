"""The result of a sweep as tables, CSV and a plot."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdmf.files import write_atomic
from mdmf.report.table import Cell, Table, number, row_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The colours of the report: distinct for colour-blind readers, dark enough on white.
_COLOURS = ("#0072b2", "#c75000", "#007a5a", "#a3478a", "#7d6a00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLE: Any = {
    "font.size": 12,
    "axes.titlesize": 13,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "mdmf",  # the same result gives the same file
    "text.parse_math": False,  # data may be called "$5"
}
_MOST_COLUMNS = 3


def sweep_tables(result: Mapping[str, Any]) -> list[Table]:
    """A table per model, the tested one first: a row per way, a column per shot; `-` where the data are too small."""
    caption = (
        f"{result['data']}, {result['split']} classes: accuracy % (95 % over episodes), {result['n_episodes']:,} "
        f"episodes of {result['n_query']} query per class, seed {result['seed']}"
    )
    reasons: dict[str, list[str]] = {}
    for size in result["impossible"]:
        reasons.setdefault(size["reason"], []).append(f"{size['n_way']}-way {size['n_shot']}-shot")
    notes = [f"- {', '.join(sizes)}: {reason}" for reason, sizes in reasons.items()]
    models, shots = _models(result), [f"{shot}-shot" for shot in result["shots"]]
    return [
        Table(
            f"sweep_{model}",
            caption if model == models[0] else "",
            [_label(result, model), *shots],
            [[f"{way}-way", *(_cell(result, model, way, shot) for shot in result["shots"])] for way in result["ways"]],
            notes=notes if model == models[-1] else (),
        )
        for model in models
    ]


def _label(result: Mapping[str, Any], model: str) -> str:
    return row_label(model, our_reading=model in result["our_reading"])


def _models(result: Mapping[str, Any]) -> list[str]:
    return sorted(result["models"], key=lambda model: model != result["model"])  # stable: baselines keep their order


def _numbers(result: Mapping[str, Any], model: str, way: int, shot: int) -> Mapping[str, float] | None:
    """Accuracy and interval; None where the data are too small."""
    numbers: Mapping[str, float] | None = result["models"][model].get(str(way), {}).get(str(shot))
    return numbers


def _cell(result: Mapping[str, Any], model: str, way: int, shot: int) -> Cell:
    numbers = _numbers(result, model, way, shot)
    return Cell("-") if numbers is None else number(numbers["accuracy_percent"], interval=numbers["interval"])


def sweep_list(result: Mapping[str, Any]) -> Table:
    """A row per model, way and shot; without numbers where the data are too small."""
    rows = []
    for model in _models(result):
        for way, shot in itertools.product(result["ways"], result["shots"]):
            numbers = _numbers(result, model, way, shot) or {}
            values = (way, shot, numbers.get("accuracy_percent"), numbers.get("interval"))
            rows.append([Cell(model), *(number(value, "") for value in values)])
    return Table("sweep", "", ["model", "n_way", "n_shot", "accuracy_percent", "interval"], rows)


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        ImportError: if it is not.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError("the plot needs matplotlib: pip install matplotlib, or pass --no-plot") from error


def sweep_plot(result: Mapping[str, Any]) -> str:
    """SVG of the accuracy against shots: a panel per model, a line per way, error bars for the intervals.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    models = _models(result)
    n_columns = min(len(models), _MOST_COLUMNS)
    n_rows = -(-len(models) // n_columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.2 * n_columns, 3.6 * n_rows + 0.8), layout="constrained")
        panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
        for panel, model in zip(panels, models, strict=False):
            _draw(panel, result, model)
        for panel in panels[len(models) :]:
            panel.remove()
        for panel in panels[: len(models) : n_columns]:
            panel.set_ylabel("accuracy, %")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3 * n_columns), frameon=False)
        figure.suptitle(f"{result['data']}, {result['split']} classes, {result['n_episodes']:,} episodes")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _draw(panel: Axes, result: Mapping[str, Any], model: str) -> None:
    """Draw the lines of one model; a way without any test has no line."""
    for place, way in enumerate(result["ways"]):
        numbers_of = {shot: _numbers(result, model, way, shot) for shot in result["shots"]}
        points = {shot: numbers for shot, numbers in numbers_of.items() if numbers is not None}
        if points:
            panel.errorbar(
                list(points),
                [numbers["accuracy_percent"] for numbers in points.values()],
                yerr=[numbers["interval"] for numbers in points.values()],
                color=_COLOURS[place % len(_COLOURS)],
                marker=_MARKERS[place % len(_MARKERS)],
                capsize=4,
                label=f"{way}-way",
            )
    panel.set_title(_label(result, model))
    panel.set_xlabel("shots")
    panel.set_xscale("log", base=2)  # 1, 2 and 3 shots stay apart beside 50
    panel.set_xticks(result["shots"], labels=[str(shot) for shot in result["shots"]])
    panel.minorticks_off()
    panel.grid(axis="y", alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def write_sweep(result: Mapping[str, Any], *, plot: bool = True) -> list[Path]:
    """Write the CSV and the plot of a sweep, next to its JSON file.

    Returns:
        The files, the JSON first.

    Raises:
        ImportError: with `plot`, if matplotlib is not installed.
    """
    file = Path(result["file"])
    contents = {file.with_suffix(".csv"): sweep_list(result).csv()}
    if plot:
        contents[file.with_suffix(".svg")] = sweep_plot(result)
    for path, text in contents.items():
        write_atomic(path, text.encode())
    return [file, *contents]
