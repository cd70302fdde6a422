"""Story boards as markup: frames of a query over those of a class, and lines for how they were aligned."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mdmf.report.blocks import Block, Board, Cell, Html, Section, Table, Text
from mdmf.report.branch_sections import absent
from mdmf.report.run_files import RunFiles

_MIN_WEIGHT = 0.08  # of the strongest line; weaker ones are not drawn
_GAP = 0.9  # height of the lines, in frames
Strips = Mapping[str, str]  # video id -> id of its picture in the page


def story_section(run: RunFiles, prefix: str) -> Section:
    """The queries that were answered best and worst; `prefix` makes ids unique in the page."""
    key, title = "stories", "Story boards"
    reason = absent(run, "boards")
    if reason is not None:
        return Section(key, title, (reason,))
    record = run.evidence["boards"]
    pictures = _pictures(run, record["strips"])
    strips = {video: f"{prefix}-strip-{index}" for index, video in enumerate(pictures)}
    blocks: list[Block] = [Text(_introduction(record)), Html(_definitions(pictures, strips, record["n_frames"]))]
    for index, board in enumerate(record["boards"]):
        blocks += _board(run, index, board, strips, record["n_frames"])
    for video, problem in record["frame_problems"].items():
        blocks.append(Text(f"Missing: the frames of {video}: {problem}."))
    return Section(key, title, tuple(blocks))


def _introduction(record: Mapping[str, Any]) -> str:
    shots = record["n_shot"]
    of_shots = "" if shots == 1 else f" The first of {shots} support videos is shown; lines go to the mean of all."
    return (
        "The surest right answers and the surest wrong ones, at most one of a class. Above are the frames of the "
        "query, below those of a support video. A line joins frames that were laid on each other: the wider, the more "
        f"of the alignment passes there. A smaller distance is nearer, and it may be negative.{of_shots}"
    )


def _pictures(run: RunFiles, strips: Sequence[str]) -> dict[str, bytes]:
    """video id -> JPEG of its frames side by side."""
    content, ends = run.evidence_arrays.get("frames/jpeg"), run.evidence_arrays.get("frames/ends")
    if content is None or ends is None:
        return {}
    starts = [0, *ends.tolist()][:-1]
    return {
        video: content[start:end].tobytes() for video, start, end in zip(strips, starts, ends.tolist(), strict=True)
    }


def _definitions(pictures: Mapping[str, bytes], strips: Strips, n_frames: int) -> str:
    """Each picture once in the page; the boards refer to it."""
    images = "".join(
        f'<image id="{strips[video]}" width="{n_frames}" height="1" preserveAspectRatio="none" '
        f'href="data:image/jpeg;base64,{base64.b64encode(content).decode()}"/>'
        for video, content in pictures.items()
    )
    return f'<svg class="definitions" aria-hidden="true" focusable="false"><defs>{images}</defs></svg>'


def _board(run: RunFiles, index: int, board: Mapping[str, Any], strips: Strips, n_frames: int) -> list[Block]:
    is_right = board["answer"] == board["true_class"]
    title = f"Right: {board['true_class']}" if is_right else f"Wrong: {board['true_class']} taken for {board['answer']}"
    teacher = "" if board["teacher"] is None else f" The branch {board['teacher']} would teach here."
    where = f"Episode {board['episode']}, query {board['query'] + 1}, {board['query_video']}.{teacher}"
    panels = []
    for place, row in enumerate(board["rows"]):
        if row["class"] in (board["true_class"], board["answer"]):
            for number, branch in enumerate(row["distances"]):
                share = run.evidence_arrays.get(f"boards/{index}/{branch}/share")
                if share is not None:
                    panels.append(_panel(board, row, branch, number, share[place].astype(np.float64), strips, n_frames))
    if not panels:
        shown = [row for row in board["rows"] if row["class"] in (board["true_class"], board["answer"])]
        panels = [_panel(board, row, "", 0, None, strips, n_frames) for row in shown]
    kind = "right" if is_right else "wrong"
    inside = f'<p class="note">{escape(where)}</p><div class="panels">{"".join(panels)}</div>'
    return [Board(title, kind, inside), _table(index, board)]


def _panel(
    board: Mapping[str, Any],
    row: Mapping[str, Any],
    branch: str,
    number: int,
    share: np.ndarray | None,
    strips: Strips,
    n_frames: int,
) -> str:
    """Query above, support below, lines between; `share` (T, S) or None for a model that aligns nothing."""
    is_true = row["class"] == board["true_class"]
    heading = f"against {row['class']}" + (" (its class)" if is_true else " (the answer)")
    heading = f"{branch}, {heading}, distance {row['distances'][branch]:.2f}" if branch else heading
    lines, said = ("", "") if share is None else _lines(share)
    gap = _GAP if share is not None else 0.15
    alternative = f"{n_frames} frames of the query {board['query_video']} over those of {row['video']}. {said}"
    top, bottom = _strip(strips, board["query_video"], 0, n_frames), _strip(strips, row["video"], 1 + gap, n_frames)
    return (
        f'<figure class="panel"><figcaption>{escape(heading)}</figcaption>'
        f'<svg class="story" role="img" viewBox="0 0 {n_frames} {2 + gap:.2f}" aria-label="{escape(alternative)}">'
        f'{top}<g class="lines c{number % 5 + 1}">{lines}</g>{bottom}</svg></figure>'
    )


def _strip(strips: Strips, video: str, top: float, n_frames: int) -> str:
    if video not in strips:
        return f'<rect class="lost" x="0.02" y="{top + 0.02:.2f}" width="{n_frames - 0.04:.2f}" height="0.96"/>'
    marks = "".join(
        f'<line class="edge" x1="{x}" x2="{x}" y1="{top:.2f}" y2="{top + 1:.2f}"/>' for x in range(1, n_frames)
    )
    return f'<use href="#{strips[video]}" y="{top:.2f}"/>{marks}'


def _lines(share: np.ndarray) -> tuple[str, str]:
    """Lines from query frames to support frames, and the strongest of each query frame in words."""
    weight = share.clip(min=0) / max(share.max(), 1e-9)
    lines = [
        f'<line x1="{t + 0.5}" y1="1" x2="{s + 0.5}" y2="{1 + _GAP}" stroke-width="{0.02 + 0.09 * weight[t, s]:.3f}" '
        f'stroke-opacity="{0.08 + 0.92 * weight[t, s] ** 2:.2f}"/>'
        for t, s in np.argwhere(weight >= _MIN_WEIGHT)
    ]
    strongest = ", ".join(f"{t} with {s}" for t, s in enumerate(share.argmax(axis=1) + 1, start=1))
    return "".join(lines), f"Frames aligned most: query {strongest} of the support."


def _table(index: int, board: Mapping[str, Any]) -> Table:
    """Every class that is shown: what was said of it."""
    branches = list(board["rows"][0]["branch_posteriors"])
    distances = list(board["rows"][0]["distances"])
    header = ("class", "posterior, %", *(f"{name}, %" for name in branches), *(f"distance, {n}" for n in distances))
    rows = []
    for row in board["rows"]:
        marks = [" (its class)"] if row["class"] == board["true_class"] else []
        marks += [" (the answer)"] if row["class"] == board["answer"] else []
        posteriors = [row["posterior"], *(row["branch_posteriors"][name] for name in branches)]
        cells = [Cell(f"{100 * value:.1f}", value) for value in posteriors]
        cells += [Cell(f"{row['distances'][name]:.2f}", row["distances"][name]) for name in distances]
        rows.append((Cell(row["class"] + "".join(marks)), *cells))
    n_left = board["n_way"] - len(rows)
    left = f" ({n_left} classes further away are left out)" if n_left else ""
    return Table(
        f"story_{index + 1}", f"All distances of story board {index + 1}{left}", header, tuple(rows), folded=True
    )
