"""Predictions as text: a table, a time line of the windows of long videos, a CSV.

All read the record that `Predictions.to_dict` gives and that the command writes as JSON.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from itertools import groupby, pairwise
from typing import Any

from mdmf.report.tables import text_table

NO_ANSWER = "no answer"
_CAUTION = (
    "(probabilities are the model's own and not calibrated: compare them with one another, and try a limit on clips "
    "that you know; `trusted` is the branch with the largest share in the answer, or the surest where shares are fixed)"
)


def predictions_text(result: Mapping[str, Any]) -> str:
    """What is printed: the table, or the time line of windows, and what must be known about it."""
    body = prediction_table(result) if result["window"] is None else timeline(result)
    of_rows = {f"{row['clip']}: {row['note']}": None for row in result["rows"] if row["note"]}
    notes = [f"note: {note}" for note in (*result["notes"], *of_rows)]
    return "\n\n".join(part for part in (_title(result), body, "\n".join(notes), _CAUTION) if part)


def _title(result: Mapping[str, Any]) -> str:
    shots = ", ".join(f"{name} ({n_shots})" for name, n_shots in result["support"].items())
    parts = [f"{result['model']}{' of ' + result['run'] if result['run'] else ''}", f"encoder {result['encoder']}"]
    parts += [f"class names with weight {result['text_weight']:g}"] if result["text_weight"] else []
    parts += [f"windows of {result['window']}"] if result["window"] else []
    return f"{'; '.join(parts)}\n{len(result['classes'])} classes, clips of each in brackets: {shots}"


def prediction_table(result: Mapping[str, Any]) -> str:
    """A row for each clip: the answer, how probable it is, the second best class, and what each branch thinks."""
    branches = result["branches"]
    lines = []
    for row in result["rows"]:
        certainty = [_share(row["certainty"].get(branch)) for branch in branches]
        runner_up = "" if row["second_best"] is None else f"{row['second_best']} {_share(row['second_probability'])}"
        cells = [_answer(row), _share(row["probability"]), runner_up, *certainty, row["trusted"] or ""]
        lines.append([_one_line(cell) for cell in (row["clip"], *cells)])
    header = ["clip", "answer", "probability", "second best", *(f"{name} certainty" for name in branches), "trusted"]
    return text_table(header, lines)


def timeline(result: Mapping[str, Any]) -> str:
    """For each clip, its stretches of the same answer."""
    parts = []
    for clip, stretches in groupby(segments(result), key=lambda segment: segment["clip"]):
        lines = [
            [
                _time(segment, "start"),
                _time(segment, "end"),
                _one_line(_answer(segment)),
                str(segment["n_windows"]),
                _share(segment["mean_probability"]),
                _share(segment["lowest_probability"]),
            ]
            for segment in stretches
        ]
        table = text_table(["from", "to", "answer", "windows", "mean probability", "lowest"], lines)
        parts.append(f"{_one_line(clip)}\n\n{table}")
    return "\n\n".join(parts)


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
    plain = [key for key in result["rows"][0] if key not in ("certainty", "posterior", "note")]
    header = [
        *plain,
        *(f"certainty {branch}" for branch in result["branches"]),
        *(f"p {name}" for name in result["classes"]),
        "note",
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    for row in result["rows"]:
        certainty = [row["certainty"].get(branch) for branch in result["branches"]]
        posterior = [row["posterior"][name] for name in result["classes"]]
        writer.writerow([*(row[key] for key in plain), *certainty, *posterior, row["note"]])
    return text.getvalue()


def _answer(row: Mapping[str, Any]) -> str:
    return NO_ANSWER if row["answer"] is None else str(row["answer"])


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _one_line(text: str) -> str:
    """A cell of a table: a name may hold line breaks and `|`."""
    return "".join(character if character.isprintable() else "?" for character in text).replace("|", "\\|")


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
