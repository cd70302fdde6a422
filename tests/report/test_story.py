"""Story boards say and draw what the evidence holds: each on a record worked out by hand."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest

from mdmf.report.blocks import Board, Html, Section, Table
from mdmf.report.run_files import RunFiles
from mdmf.report.story import story_section

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
    evidence = {"not_applicable": {}, "missing": {}, "boards": record}
    return story_section(RunFiles(Path(), "run", {}, "p", evidence=evidence, evidence_arrays=arrays), "run1")


def panels(section: Section) -> list[str]:
    (board,) = [block for block in section.blocks if isinstance(block, Board)]
    return re.findall(r'<figure class="panel">.*?</figure>', board.markup)


def lines(panel: str) -> dict[tuple[float, float], float]:
    """(x above, x below) -> width of each line."""
    pattern = r'<line x1="([\d.]+)" y1="1" x2="([\d.]+)" y2="1.9" stroke-width="([\d.]+)"'
    return {(float(above), float(below)): float(width) for above, below, width in re.findall(pattern, panel)}


def test_lines_join_the_frames_that_share_the_alignment_and_are_wider_for_more():
    """Query above, support below: frame t's middle is at t - 0.5; each class has its own share."""
    true, answered = panels(story())
    assert list(lines(true)) == [(0.5, 1.5), (1.5, 2.5), (2.5, 2.5)]
    assert list(lines(answered)) == [(1.5, 0.5), (2.5, 1.5), (2.5, 2.5)]
    widths = list(lines(true).values())
    assert widths[0] == widths[1] > widths[2] > 0.02


def test_the_words_for_a_picture_name_the_strongest_frame_of_each_query_frame():
    true, answered = panels(story())
    assert "3 frames of the query q.mp4 over those of jump.mp4. " in true
    assert "Frames aligned most: query 1 with 2, 2 with 3, 3 with 3 of the support." in true
    assert "query 1 with 1, 2 with 1, 3 with 2 of the support." in answered  # the first of equal ones


def test_each_video_has_its_own_picture_once():
    section = story()
    (definitions,) = [block.markup for block in section.blocks if isinstance(block, Html)]
    found = dict(re.findall(r'<image id="run1-strip-(\d)".*?base64,([^"]+)"', definitions))
    assert [base64.b64decode(found[str(place)]) for place in range(3)] == list(PICTURES.values())
    for panel, support in zip(panels(section), (1, 2), strict=True):
        assert re.findall(r'<use href="#run1-strip-(\d)" y="([\d.]+)"', panel) == [
            ("0", "0.00"),
            (str(support), "1.90"),
        ]


def test_the_true_and_the_answered_class_are_drawn_and_all_are_in_the_table():
    section = story()
    (board,) = [block for block in section.blocks if isinstance(block, Board)]
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert (board.title, board.kind) == ("Wrong: jump taken for run", "wrong")
    assert "Episode 7, query 3, q.mp4. The branch local would teach here." in board.markup
    true, answered = panels(section)
    assert "local, against jump (its class), distance 1.50" in true
    assert "local, against run (the answer), distance -2.25" in answered
    assert table.caption == "All distances of story board 1 (2 classes further away are left out)"
    assert [row[0].text for row in table.rows] == ["jump (its class)", "run (the answer)", "walk"]
    assert [row[-1].value for row in table.rows] == [1.5, -2.25, 3.0]


def test_a_right_answer_has_one_panel():
    section = story(answer="jump")
    (board,) = [block for block in section.blocks if isinstance(block, Board)]
    assert (board.title, board.kind, len(panels(section))) == ("Right: jump", "right", 1)


@pytest.mark.parametrize("n_shot", [1, 5])
def test_a_model_that_aligns_nothing_shows_frames_without_lines(n_shot):
    section = story(shares=False, n_shot=n_shot)
    assert len(panels(section)) == 2
    assert not any(lines(panel) for panel in panels(section))
    said = "The first of 5 support videos is shown" in section.blocks[0].text
    assert said == (n_shot == 5)
