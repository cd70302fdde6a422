"""Story boards say and draw what the evidence holds: each on a record worked out by hand."""

import base64
from pathlib import Path

import numpy as np
import pytest

from mdmf.report.content import Board, Panel, Section, Strips
from mdmf.report.run_files import RunFiles
from mdmf.report.story import story_section
from mdmf.report.table import Table
from mdmf.results import Evidence, ResultFiles

PICTURES = {"q.mp4": b"picture of q", "jump.mp4": b"of jump", "run.mp4": b"picture of run"}
# Query frame 1 lies on frame 2 of the support, 2 on 3, 3 on 3 with half of the weight; all else is next to nothing.
SHARE = np.array([[0.0, 1.0, 0.01], [0.0, 0.0, 1.0], [0.0, 0.0, 0.5]])


def board_row(name: str, distance: float) -> dict:
    return {
        **{"class": name, "video": f"{name}.mp4", "posterior": 0.5},
        **{"distances": {"local": distance}, "branch_posteriors": {"local": 0.25}},
    }


def story(*, answer: str = "run", shares: bool = True, n_shot: int = 1) -> Section:
    """A query of the class jump against jump (true), run and walk."""
    rows = [board_row("jump", 1.5), board_row("run", -2.25), board_row("walk", 3.0)]
    board = {"kind": "worst", "episode": 7, "query": 2, "n_way": 5, "query_video": "q.mp4", "teacher": "local"}
    board |= {"true_class": "jump", "answer": answer, "rows": rows}
    record = {"boards": [board], "strips": list(PICTURES), "n_shot": n_shot, "n_frames": 3, "frame_problems": {}}
    arrays = {"frames/jpeg": np.frombuffer(b"".join(PICTURES.values()), np.uint8)}
    arrays |= {"frames/ends": np.cumsum([len(content) for content in PICTURES.values()])}
    if shares:
        arrays["boards/0/local/share"] = np.stack([SHARE, SHARE.T, np.ones((3, 3))]).astype(np.float16)
    run = RunFiles(ResultFiles(Path(), "p"), "run", {}, evidence=Evidence(boards=record), evidence_arrays=arrays)
    return story_section(run, "run1")


def only(section: Section, kind: type):
    (block,) = [block for block in section.blocks if isinstance(block, kind)]
    return block


def panels(section: Section) -> tuple[Panel, ...]:
    return only(section, Board).panels


def frames(panel: Panel) -> list[tuple[int, int]]:
    """(frame of the query, frame of the support) that each line joins."""
    return [(line.query, line.support) for line in panel.lines]


def test_lines_join_the_frames_that_share_the_alignment_with_their_weight():
    """Frames count from 0; each class has its own share."""
    true, answered = panels(story())
    assert frames(true) == [(0, 1), (1, 2), (2, 2)]
    assert [line.weight for line in true.lines] == [1, 1, 0.5]
    assert frames(answered) == [(1, 0), (2, 1), (2, 2)]


def test_the_words_for_a_picture_name_the_strongest_frame_of_each_query_frame():
    true, answered = panels(story())
    assert "3 frames of the query q.mp4 over those of jump.mp4. " in true.description
    assert "Frames aligned most: query 1 with 2, 2 with 3, 3 with 3 of the support." in true.description
    assert "query 1 with 1, 2 with 1, 3 with 2 of the support." in answered.description  # the first of equal ones


def test_each_video_has_its_own_picture_once():
    section = story()
    pictures = only(section, Strips).pictures
    ids = [f"run1-strip-{place}" for place in range(3)]
    assert {name: base64.b64decode(picture) for name, picture in pictures.items()} == dict(
        zip(ids, PICTURES.values(), strict=True)
    )
    assert [(panel.query, panel.support) for panel in panels(section)] == [(ids[0], ids[1]), (ids[0], ids[2])]


def test_the_true_and_the_answered_class_are_drawn_and_all_are_in_the_table():
    section = story()
    board, table = only(section, Board), only(section, Table)
    assert (board.title, board.is_right) == ("Wrong: jump taken for run", False)
    assert board.where == "Episode 7, query 3, q.mp4. The branch local would teach here."
    assert [panel.heading for panel in board.panels] == [
        "local, against jump (its class), distance 1.50",
        "local, against run (the answer), distance -2.25",
    ]
    assert table.caption == "All distances of story board 1 (2 classes further away are left out)"
    assert [row[0].text for row in table.rows] == ["jump (its class)", "run (the answer)", "walk"]
    assert [row[-1].value for row in table.rows] == [1.5, -2.25, 3.0]


def test_a_right_answer_has_one_panel():
    section = story(answer="jump")
    board = only(section, Board)
    assert (board.title, board.is_right, len(board.panels)) == ("Right: jump", True, 1)


@pytest.mark.parametrize("n_shot", [1, 5])
def test_a_model_that_aligns_nothing_shows_frames_without_lines(n_shot):
    section = story(shares=False, n_shot=n_shot)
    assert len(panels(section)) == 2
    assert [panel.lines for panel in panels(section)] == [None, None]
    assert ("The first of 5 support videos is shown" in section.blocks[0]) == (n_shot == 5)
