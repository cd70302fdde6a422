import csv
import io

import pytest

from mdmf.recognition.rendering import prediction_table, predictions_csv, predictions_text, segments, timelines


def row(clip: str, answer: str | None, probability: float | None, **more) -> dict:
    certainty = {"otam": probability, "text": 0.5 if answer else None}
    posterior = {"kick": probability, "ri|de": None if probability is None else 1 - probability}
    return {
        "clip": clip,
        **more,
        "answer": answer,
        "best": answer,
        "probability": probability,
        "second_best": "ri|de" if answer else None,
        "second_probability": posterior["ri|de"],
        "certainty": certainty,
        "trusted": "otam" if answer else None,
        "posterior": posterior,
        "note": "" if answer else "not answered: it is cut",
    }


def result(rows: list[dict], *, window: str | None = None) -> dict:
    return {
        "classes": ["kick", "ri|de"],
        "branches": ["otam", "text"],
        "unknown_below": None,
        "model": "otam",
        "run": None,
        "encoder": "tiny tiny_clip shipped",
        "text_weight": 0.5,
        "window": window,
        "support": {"kick": 2, "ri|de": 1},
        "notes": ["mind this"],
        "rows": rows,
    }


def window(answer: str | None, start: float, end: float, *, clip: str = "a.mp4", probability: float = 0.75) -> dict:
    return row(
        clip, answer, probability if answer else None,
        first_frame=round(start * 10), end_frame=round(end * 10), start_seconds=start, end_seconds=end,
    )  # fmt: skip


def test_the_table_by_hand():
    lines = prediction_table(result([row("a.mp4", "kick", 0.876), row("b\n|c.mp4", None, None)])).text().splitlines()
    cells = [[cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")] for line in lines]
    header = ["clip", "answer", "probability", "second best", "otam certainty", "text certainty", "trusted"]
    assert cells[0] == header
    assert cells[2] == ["a.mp4", "kick", "0.88", "ri/de 0.12", "0.88", "0.50", "otam"]
    assert cells[3] == ["b?/c.mp4", "no answer", "–", "", "–", "–", ""]
    assert len({len(line) for line in lines}) == 1


def test_all_that_must_be_known_is_printed():
    text = predictions_text(result([row("a.mp4", "kick", 0.876), row("b.mp4", None, None)]))
    for part in (
        "otam; encoder tiny tiny_clip shipped; class names with weight 0.5",
        "2 classes, clips of each in brackets: kick (2), ri|de (1)",
        "note: mind this",
        "note: b.mp4: not answered: it is cut",
        "not calibrated",
    ):
        assert part in text


def test_neighbours_with_one_answer_are_one_stretch_and_overlaps_are_halved():
    rows = [
        window("kick", 0, 2, probability=0.9),
        window("kick", 1, 3, probability=0.6),
        window("none of these", 2, 4),
        window("kick", 3, 5),
        window("kick", 0, 2, clip="b.mp4"),
    ]
    found = segments(result(rows, window="2s"))
    assert [(one["clip"], one["answer"], one["start_seconds"], one["end_seconds"]) for one in found] == [
        ("a.mp4", "kick", 0, 2.5),
        ("a.mp4", "none of these", 2.5, 3.5),
        ("a.mp4", "kick", 3.5, 5),
        ("b.mp4", "kick", 0, 2),
    ]
    assert [(one["first_frame"], one["end_frame"]) for one in found][:3] == [(0, 25), (25, 35), (35, 50)]
    assert [one["n_windows"] for one in found] == [2, 1, 1, 1]
    assert found[0]["mean_probability"] == pytest.approx(0.75)
    assert found[0]["lowest_probability"] == 0.6


def test_windows_that_only_touch_keep_their_border():
    found = segments(result([window("kick", 0, 2), window("ri|de", 2, 4)], window="2s"))
    assert [(one["start_seconds"], one["end_seconds"]) for one in found] == [(0, 2), (2, 4)]


def test_the_rows_themselves_stay_as_they_are():
    rows = [window("kick", 0, 2), window("ri|de", 1, 3)]
    segments(result(rows, window="2s"))
    assert rows[0]["end_seconds"] == 2


def timeline_text(rows: list[dict]) -> str:
    return "\n\n".join(table.text() for table in timelines(result(rows, window="2s")))


def test_the_time_line_by_hand():
    rows = [window("kick", 0, 61.04), window("ri|de", 61.04, 3725.5)]
    unread = {"first_frame": None, "end_frame": None, "start_seconds": None, "end_seconds": None}
    rows.append(row("b.mp4", None, None, **unread))
    rows.append(row("c", "kick", 0.5, first_frame=0, end_frame=48, start_seconds=None, end_seconds=None))
    lines = [line for line in timeline_text(rows).splitlines() if line.strip("|-: ")]
    cells = [[cell.strip() for cell in line.strip("|").replace("\\|", "/").split("|")] for line in lines]
    assert [cell for cell in cells if len(cell) == 1] == [["a.mp4"], ["b.mp4"], ["c"]]
    assert ["0:00.0", "1:01.0", "kick", "1", "0.75", "0.75"] in cells
    assert ["1:01.0", "1:02:05.5", "ri/de", "1", "0.75", "0.75"] in cells
    assert ["", "", "no answer", "1", "–", "–"] in cells
    assert ["frame 0", "frame 48", "kick", "1", "0.50", "0.50"] in cells


def test_times_are_rounded_not_cut_and_a_minute_is_never_sixty_seconds():
    line = timeline_text([window("kick", 1.97, 59.96)]).splitlines()[-1]
    assert [cell.strip() for cell in line.strip("|").split("|")][:2] == ["0:02.0", "1:00.0"]


def test_the_csv_has_every_number_and_reads_back():
    read = list(
        csv.DictReader(io.StringIO(predictions_csv(result([row('a,"b".mp4', "kick", 0.875), row("c", None, None)]))))
    )
    assert read[0]["clip"] == 'a,"b".mp4'
    assert (read[0]["p kick"], read[0]["p ri|de"], read[0]["certainty text"]) == ("0.875", "0.125", "0.5")
    assert (read[1]["answer"], read[1]["p kick"], read[1]["note"]) == ("", "", "not answered: it is cut")
    with_times = csv.DictReader(io.StringIO(predictions_csv(result([window("kick", 0, 2)], window="2s"))))
    assert next(with_times)["end_seconds"] == "2"
