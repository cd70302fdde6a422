"""The plots of a report: functions from plain numbers to an `<svg>`. Colour is never the only difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdmf.report.figures import (
    COLOURS,
    INK,
    MARKERS,
    drawing,
    legend_below,
    name_rows,
    series_style,
    short,
    to_svg,
)

_ROW = 0.27  # inches of height for a named row
MAX_NUMBERED_CLASSES, MAX_MAPPED_CLASSES = 15, 24


def intervals_plot(names: Sequence[str], values: Sequence[float], halves: Sequence[float], *, strong: int) -> str:
    """Accuracies in percent with their intervals, a row each; row `strong` is the tested model."""
    with drawing(_ROW * len(names) + 0.9) as (figure, axes):
        for row, (value, half) in enumerate(zip(values, halves, strict=True)):
            is_model = row == strong
            axes.errorbar(
                value, row, xerr=half, fmt="s" if is_model else "o", color=COLOURS[int(is_model)], capsize=3, ms=6
            )
        name_rows(axes, names)
        axes.set_xlabel("accuracy, %")
        axes.grid(axis="y", visible=False)
        return to_svg(figure)


def curves_plot(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    label: str,
    mark: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
) -> str:
    """Lines over training steps; long lines are pale, with their running mean on top.

    Args:
        series: name -> (steps, values).
        label: of the y axis.
        mark: step and value of the saved weights, drawn as a circle.
        limits: of the y axis.
    """
    with drawing(3.1) as (figure, axes):
        for index, (name, (steps, values)) in enumerate(series.items()):
            style = series_style(index)
            smooth = running_mean(np.asarray(values, dtype=np.float64))
            if len(values) > 20:
                axes.plot(steps, values, color=style["color"], alpha=0.3, linewidth=0.8)
                axes.plot(steps, smooth, color=style["color"], linestyle=style["linestyle"], label=name)
            else:
                axes.plot(steps, values, **style, markersize=5, label=name)
        if mark is not None:
            axes.plot(*mark, "o", markersize=12, markerfacecolor="none", markeredgecolor=INK, label="kept weights")
        axes.set_xlabel("training step")
        axes.set_ylabel(label)
        if limits is not None:
            axes.set_ylim(*limits)
        legend_below(axes)
        return to_svg(figure)


def running_mean(values: np.ndarray, *, width: int = 5) -> np.ndarray:
    """Mean of each value and its neighbours, of which there are fewer at the ends."""
    weights = np.ones(min(width, len(values)))
    return np.convolve(values, weights, "same") / np.convolve(np.ones(len(values)), weights, "same")


def classes_plot(
    names: Sequence[str],
    rows: Sequence[tuple[float, float, float] | None],
    others: Sequence[float | None],
    *,
    labels: tuple[str, str],
) -> str:
    """A row per class: a percentage with its interval, and another percentage as a hollow mark.

    Args:
        names: names of the rows.
        rows: value and ends of its interval; None for no mark.
        others: the other percentages; None for no mark.
        labels: of the two kinds of marks.
    """
    with drawing(_ROW * len(names) + 1.2) as (figure, axes):
        places = [y for y, row in enumerate(rows) if row is not None]
        values = np.array([row for row in rows if row is not None], dtype=np.float64).reshape(-1, 3)
        ends = np.abs(values[:, 1:] - values[:, :1]).T
        style: dict[str, Any] = {"color": COLOURS[0], "capsize": 3, "ms": 6}
        handles: list[Any] = [axes.errorbar(values[:, 0], places, xerr=ends, fmt="o", label=labels[0], **style)]
        hollow = [(value, y) for y, value in enumerate(others) if value is not None]
        if hollow:
            style = {"color": COLOURS[1], "markerfacecolor": "none", "markersize": 6}
            handles += axes.plot(*zip(*hollow, strict=True), "D", label=labels[1], **style)
        name_rows(axes, names)
        axes.set_xlim(-3, 103)
        axes.set_xlabel("%")
        legend_below(axes, handles=handles)
        return to_svg(figure)


def gains_plot(names: Sequence[str], gains: Sequence[float | None], halves: Sequence[float | None]) -> str:
    """Gain per class in percentage points as bars with intervals; losses are hatched."""
    with drawing(_ROW * len(names) + 0.9) as (figure, axes):
        for row, (gain, half) in enumerate(zip(gains, halves, strict=True)):
            if gain is None:
                continue
            is_loss = gain < 0
            colour = COLOURS[int(is_loss)]
            face, hatch = ("none", "////") if is_loss else ((colour, 0.75), None)
            axes.barh(row, gain, height=0.62, facecolor=face, edgecolor=colour, linewidth=0.8, hatch=hatch)
            axes.errorbar(gain, row, xerr=half or 0, fmt="none", color=INK, ecolor=INK, capsize=3, linewidth=1)
        axes.axvline(0, color=INK, linewidth=0.8)
        name_rows(axes, names)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("gain, percentage points")
        return to_svg(figure)


def confusion_plot(names: Sequence[str], percent: np.ndarray) -> str:
    """Confusion matrix (C, C), true × answered class in percent of the row; rows of classes without queries are NaN.

    The opacity of a cell is its percentage, which is also written for up to `MAX_NUMBERED_CLASSES` classes.
    """
    C = len(names)
    with drawing(max(2.6, min(0.3, 10 / C) * C + 0.9)) as (figure, axes):
        for row, column in np.argwhere(np.nan_to_num(percent) > 0):
            width, style = [column - 0.48, column + 0.48], {"facecolor": COLOURS[int(row != column)], "linewidth": 0}
            axes.fill_between(width, row - 0.48, row + 0.48, alpha=0.06 + 0.0044 * percent[row, column], **style)
            if C <= MAX_NUMBERED_CLASSES and percent[row, column] >= 0.5:
                axes.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", fontsize=9)
        step = 1 if C <= 30 else 5
        axes.set_yticks(range(C), [f"{short(name)}  {number}" for number, name in enumerate(names, start=1)])
        axes.set_xticks(range(0, C, step), range(1, C + 1, step))
        if C > 30:
            axes.tick_params(axis="y", labelsize=6)
        axes.set_xlim(-0.5, C - 0.5)
        axes.set_ylim(C - 0.5, -0.5)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.set_xlabel("answered class, by number")
        return to_svg(figure)


def certainty_plot(edges: np.ndarray, correct: np.ndarray, wrong: np.ndarray) -> str:
    """Histograms of certainty in percent of all queries: correct answers filled, wrong answers hatched."""
    with drawing(2.7) as (figure, axes):
        style = {"linewidth": 1.4, "fill": True}
        axes.stairs(correct, edges, facecolor=(COLOURS[0], 0.35), edgecolor=COLOURS[0], label="right answers", **style)
        axes.stairs(wrong, edges, facecolor="none", edgecolor=COLOURS[1], hatch="////", label="wrong answers", **style)
        axes.set_xlabel("certainty (largest posterior)")
        axes.set_ylabel("% of the queries")
        axes.set_xlim(edges[0], edges[-1])
        legend_below(axes)
        return to_svg(figure)


def calibration_plot(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Accuracy against confidence, a line per answer; on the diagonal they are equal."""
    with drawing(3.6) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":", label="calibrated")
        for index, (name, bins) in enumerate(curves.items()):
            points = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
            axes.plot(*points, **series_style(index), markersize=5, label=name)
        lowest = min((b["confidence"] for bins in curves.values() for b in bins), default=0.0)
        axes.set_xlim(max(0.0, lowest - 0.05), 1.02)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        legend_below(axes)
        return to_svg(figure)


def shares_plot(shares: Mapping[str, float]) -> str:
    """Shares that sum to 1 as bars with their percentages."""
    with drawing(_ROW * len(shares) + 0.85) as (figure, axes):
        for row, share in enumerate(shares.values()):
            axes.barh(row, 100 * share, height=0.6, color=COLOURS[0], alpha=0.75)
            axes.text(100 * share + 1.5, row, f"{100 * share:.1f} %", va="center", fontsize=10)
        name_rows(axes, list(shares))
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 115)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("% of the queries")
        return to_svg(figure)


def map_plot(points: np.ndarray, classes: np.ndarray, names: Sequence[str], explained: Sequence[float]) -> str:
    """Videos at points (B, 2), a marker and colour per class (B,); the classes beyond `MAX_MAPPED_CLASSES` are dots."""
    shown = np.unique(classes)
    if len(shown) > MAX_MAPPED_CLASSES:
        shown = shown[np.linspace(0, len(shown) - 1, MAX_MAPPED_CLASSES).round().astype(int)]
    n_lines = -(-len(shown) // 2)
    with drawing(3.4 + 0.19 * n_lines) as (figure, axes):
        others = ~np.isin(classes, shown)
        if others.any():
            axes.plot(*points[others].T, ".", color=INK, alpha=0.55, markersize=3, label="other classes")
        for place, index in enumerate(shown):
            marker, colour = MARKERS[(place // len(COLOURS) + place) % len(MARKERS)], COLOURS[place % len(COLOURS)]
            style = {"color": colour, "markersize": 4.5, "alpha": 0.85, "markeredgewidth": 0}
            axes.plot(*points[classes == index].T, marker, label=short(names[index], 20), **style)
        axes.set_xlabel(f"first direction, {100 * explained[0]:.0f} % of the variance")
        axes.set_ylabel(f"second, {100 * explained[1]:.0f} %")
        axes.set_xticklabels([])
        axes.set_yticklabels([])
        axes.tick_params(length=0)
        legend_below(axes)
        return to_svg(figure)
