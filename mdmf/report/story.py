"""Section of the story boards: frames of a query above those of a class, and lines for their alignment."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np

from mdmf.report.branch_sections import reason_missing
from mdmf.report.content import Block, Board, Line, Panel, Section, Strips
from mdmf.report.run_files import RunFiles
from mdmf.report.table import Cell, Row, Table, number
from mdmf.results import BoardRow, StoryBoard, StoryBoards

_MIN_WEIGHT = 0.08  # of the strongest line; weaker ones are not drawn


def story_section(run: RunFiles, prefix: str) -> Section:
    """The best and the worst answers; `prefix` makes ids unique in the page."""
    key, title, boards = "stories", "Story boards", run.evidence.boards
    reason = reason_missing(run, "boards")
    if reason is not None or boards is None:
        return Section(key, title, (reason or "Missing: no story boards were gathered.",))
    pictures = _pictures(run, boards)
    ids = {video: f"{prefix}-strip-{place}" for place, video in enumerate(pictures)}
    strips = Strips({ids[video]: picture for video, picture in pictures.items()}, boards.n_frames)
    blocks: list[Block] = [_introduction(boards), strips]
    for index, board in enumerate(boards.boards):
        blocks += [_board(run, index, board, ids, boards.n_frames), _table(index, board)]
    blocks += [f"Missing: the frames of {video}: {problem}." for video, problem in boards.frame_problems.items()]
    return Section(key, title, tuple(blocks))


def _introduction(boards: StoryBoards) -> str:
    shots = boards.n_shot
    of_shots = "" if shots == 1 else f" The first of {shots} support videos is shown; lines go to the mean of all."
    return (
        "The surest right answers and the surest wrong ones, at most one of a class. Above are the frames of the "
        "query, below those of a support video. A line joins frames that were laid on each other: the wider, the more "
        f"of the alignment passes there. A smaller distance is nearer, and it may be negative.{of_shots}"
    )


def _pictures(run: RunFiles, boards: StoryBoards) -> dict[str, str]:
    """video id -> JPEG of its frames side by side, in base64."""
    content, ends = run.evidence_arrays.get("frames/jpeg"), run.evidence_arrays.get("frames/ends")
    if content is None or ends is None:
        return {}
    starts = [0, *ends.tolist()][:-1]
    return {
        video: base64.b64encode(content[start:end].tobytes()).decode()
        for video, start, end in zip(boards.strips, starts, ends.tolist(), strict=True)
    }


def _board(run: RunFiles, index: int, board: StoryBoard, ids: Mapping[str, str], n_frames: int) -> Board:
    """Panels of the true and the answered class, for each branch that aligns frames."""
    is_correct = board.answer == board.true_class
    title = f"Right: {board.true_class}" if is_correct else f"Wrong: {board.true_class} taken for {board.answer}"
    teacher = "" if board.teacher is None else f" The branch {board.teacher} would teach here."
    where = f"Episode {board.episode}, query {board.query + 1}, {board.query_video}.{teacher}"
    shown = [(place, row) for place, row in enumerate(board.rows) if row.class_name in (board.true_class, board.answer)]
    panels = [
        _panel(board, row, branch, share[place], ids, n_frames)
        for place, row in shown
        for branch in row.distances
        if (share := run.evidence_arrays.get(f"boards/{index}/{branch}/share")) is not None
    ] or [_panel(board, row, "", None, ids, n_frames) for _, row in shown]
    return Board(title, is_correct, where, tuple(panels), n_frames)


def _panel(
    board: StoryBoard, row: BoardRow, branch: str, share: np.ndarray | None, ids: Mapping[str, str], n_frames: int
) -> Panel:
    """Query above, support video below, lines between; `share` (T, S) is None for a model without an alignment."""
    heading = f"against {row.class_name} " + ("(its class)" if row.class_name == board.true_class else "(the answer)")
    lines, alignment, colour = None, "", 1
    if share is not None:
        heading = f"{branch}, {heading}, distance {row.distances[branch]:.2f}"
        lines, alignment = _lines(share.astype(np.float64))
        colour = list(row.distances).index(branch) % 5 + 1
    description = f"{n_frames} frames of the query {board.query_video} over those of {row.video}. {alignment}"
    return Panel(heading, description, ids.get(board.query_video), ids.get(row.video), lines, colour)


def _lines(share: np.ndarray) -> tuple[tuple[Line, ...], str]:
    """Lines between query and support frames of shares (T, S), and a sentence with the strongest ones."""
    weight = share.clip(min=0) / max(share.max(), 1e-9)
    lines = tuple(Line(int(t), int(s), float(weight[t, s])) for t, s in np.argwhere(weight >= _MIN_WEIGHT))
    strongest = ", ".join(f"{t} with {s}" for t, s in enumerate(share.argmax(axis=1) + 1, start=1))
    return lines, f"Frames aligned most: query {strongest} of the support."


def _table(index: int, board: StoryBoard) -> Table:
    """Table of the posteriors and distances of every class of the board."""
    branches, distances = list(board.rows[0].branch_posteriors), list(board.rows[0].distances)
    header = ("class", "posterior, %", *(f"{name}, %" for name in branches), *(f"distance, {n}" for n in distances))
    rows: list[Row] = []
    for row in board.rows:
        marks = [" (its class)"] if row.class_name == board.true_class else []
        marks += [" (the answer)"] if row.class_name == board.answer else []
        posteriors = [row.posterior, *(row.branch_posteriors[name] for name in branches)]
        cells = [Cell(f"{100 * posterior:.1f}", posterior) for posterior in posteriors]
        rows.append([row.class_name + "".join(marks), *cells, *(number(row.distances[name]) for name in distances)])
    n_left = board.n_way - len(rows)
    left = f" ({n_left} classes further away are left out)" if n_left else ""
    caption = f"All distances of story board {index + 1}{left}"
    return Table(f"story_{index + 1}", caption, header, rows, folded=True)
