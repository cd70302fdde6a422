"""Predictions as text: a table, a time line of the windows of long videos, a CSV.

All read the record that `Predictions.to_dict` gives and that the command writes as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby, pairwise
from typing import Any

from mdmf.recognition.predictions import flat_rows
from mdmf.report.table import Cell, Row, Table, for_terminal, number

NO_ANSWER = "no answer"
_CAUTION = (
    "(probabilities are the model's own and not calibrated: compare them with one another, and try a limit on clips "
    "that you know; `trusted` is the branch with the largest share in the answer, or the surest where shares are fixed)"
)


def predictions_text(result: Mapping[str, Any]) -> str:
    """What is printed: the table, or the time line of windows, and what must be known about it."""
    tables = [prediction_table(result)] if result["window"] is None else timelines(result)
    of_rows = {f"{row['clip']}: {row['note']}": None for row in result["rows"] if row["note"]}
    notes = [f"note: {note}" for note in (*result["notes"], *of_rows)]
    return "\n\n".join(
        part for part in (_title(result), *(table.text() for table in tables), "\n".join(notes), _CAUTION) if part
    )


def _title(result: Mapping[str, Any]) -> str:
    shots = ", ".join(f"{name} ({n_shots})" for name, n_shots in result["support"].items())
    parts = [f"{result['model']}{' of ' + result['run'] if result['run'] else ''}", f"encoder {result['encoder']}"]
    parts += [f"class names with weight {result['text_weight']:g}"] if result["text_weight"] else []
    parts += [f"windows of {result['window']}"] if result["window"] else []
    return f"{'; '.join(parts)}\n{len(result['classes'])} classes, clips of each in brackets: {shots}"


def prediction_table(result: Mapping[str, Any]) -> Table:
    """A row for each clip: the answer, how probable it is, the second best class, and what each branch thinks."""
    branches = result["branches"]
    rows: list[Row] = []
    for row in result["rows"]:
        runner_up = "" if row["second_best"] is None else f"{row['second_best']} {row['second_probability']:.2f}"
        certainty = [number(row["certainty"].get(branch)) for branch in branches]
        rows.append(
            [row["clip"], _answer(row), number(row["probability"]), runner_up, *certainty, row["trusted"] or ""]
        )
    header = ["clip", "answer", "probability", "second best", *(f"{name} certainty" for name in branches), "trusted"]
    return Table("predictions", "", header, rows)


def timelines(result: Mapping[str, Any]) -> list[Table]:
    """For each clip, its stretches of the same answer."""
    header = ["from", "to", "answer", "windows", "mean probability", "lowest"]
    tables = []
    for clip, stretches in groupby(segments(result), key=lambda segment: segment["clip"]):
        rows: list[Row] = [
            [
                _time(segment, "start"),
                _time(segment, "end"),
                _answer(segment),
                number(segment["n_windows"], "d"),
                number(segment["mean_probability"]),
                number(segment["lowest_probability"]),
            ]
            for segment in stretches
        ]
        tables.append(Table(f"timeline_{clip}", for_terminal(clip), header, rows))
    return tables


def segments(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Neighbouring windows with the same answer as one segment, in order.

    If the windows of two neighbouring segments overlap, the border is the middle of the overlap.
    """
    return [segment for _, rows in groupby(result["rows"], key=lambda row: row["clip"]) for segment in _merged(rows)]


def _merged(rows: Iterator[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The segments of one clip."""
    merged: list[dict[str, Any]] = []
    for answer, group in groupby(rows, key=lambda row: row["answer"]):
        windows = list(group)
        probabilities = [row["probability"] for row in windows if row["probability"] is not None]
        merged.append(
            {
                "clip": windows[0]["clip"],
                "start_seconds": windows[0]["start_seconds"],
                "end_seconds": windows[-1]["end_seconds"],
                "first_frame": windows[0]["first_frame"],
                "end_frame": windows[-1]["end_frame"],
                "answer": answer,
                "n_windows": len(windows),
                "mean_probability": sum(probabilities) / len(probabilities) if probabilities else None,
                "lowest_probability": min(probabilities, default=None),
            }
        )
    for earlier, later in pairwise(merged):
        if earlier["end_seconds"] is not None and earlier["end_seconds"] > later["start_seconds"]:
            middle = (earlier["end_seconds"] + later["start_seconds"]) / 2
            earlier["end_seconds"] = later["start_seconds"] = middle
        if earlier["end_frame"] > later["first_frame"]:
            earlier["end_frame"] = later["first_frame"] = (earlier["end_frame"] + later["first_frame"]) // 2
    return merged


def predictions_csv(result: Mapping[str, Any]) -> str:
    """The rows as CSV; a column `certainty <branch>` and `p <class>` for each; empty cells where there is nothing."""
    rows = flat_rows(result)
    cells = [[Cell("" if value is None else str(value), value) for value in row.values()] for row in rows]
    return Table("predictions", "", list(rows[0]), cells).csv()


def _answer(row: Mapping[str, Any]) -> str:
    return NO_ANSWER if row["answer"] is None else str(row["answer"])


def _time(segment: Mapping[str, Any], edge: str) -> str:
    """The time as `1:02.5`, or the frame if the seconds are unknown."""
    seconds: float | None = segment[f"{edge}_seconds"]
    if seconds is not None:
        tenths = round(10 * seconds)
        hours, rest = divmod(tenths, 36_000)
        minutes, tenths = divmod(rest, 600)
        clock = f"{minutes}:{tenths / 10:04.1f}"
        return clock if not hours else f"{hours}:{clock.zfill(7)}"
    frame = segment["first_frame" if edge == "start" else "end_frame"]
    return "" if frame is None else f"frame {frame}"
