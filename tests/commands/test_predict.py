"""`mdmf predict` as a user calls it, on real files."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mdmf.cli import main

TOOLS = Path(__file__).resolve().parents[2] / "tools"
TINY = ["encoder.library=tiny", "encoder.model=tiny_clip", "encoder.weights=shipped", "encoder.device=cpu"]
CLASSES = ("gather", "left_then_up", "scatter")


@pytest.fixture
def place(shapes_videos, tmp_path, monkeypatch) -> Path:
    """A folder with `actions/<class>/` (1, 2 and 1 clips) and `new clips/`, to work in."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(CLASSES):
        (tmp_path / "actions" / name).mkdir(parents=True)
        (tmp_path / "new clips").mkdir(exist_ok=True)
        *shots, query = sorted((shapes_videos / name).iterdir())
        for shot in shots[: 1 + number % 2]:
            (tmp_path / "actions" / name / f"é {shot.name}").symlink_to(shot)
        (tmp_path / "new clips" / f"{name} new.mp4").symlink_to(query)
    return tmp_path


def call(*arguments: str, query=("new clips",), support="actions") -> int:
    return main(["predict", "--quiet", "--support", support, "--query", *query, *arguments, *TINY])


def failed(capsys, *arguments: str, **folders) -> str:
    capsys.readouterr()
    assert call(*arguments, **folders) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said
    return said


def test_from_folders_to_a_table_a_csv_and_json(place, capsys):
    assert call("--csv", "out/a.csv", "--json", "a.json", "data.name=shapes") == 0
    said = capsys.readouterr().out
    result = json.loads((place / "a.json").read_text())
    assert result["classes"] == list(CLASSES)
    assert result["support"] == {"gather": 1, "left_then_up": 2, "scatter": 1}
    assert result["branches"] == ["otam", "text"]
    assert [Path(row["clip"]).name for row in result["rows"]] == [f"{name} new.mp4" for name in CLASSES]
    with (place / "out/a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    for row, cells in zip(result["rows"], table, strict=True):
        posterior = np.array([row["posterior"][name] for name in CLASSES])
        assert posterior.sum() == pytest.approx(1, abs=1e-5)
        assert row["answer"] == row["best"] == CLASSES[posterior.argmax()]
        assert row["probability"] == posterior.max()
        assert row["trusted"] == max(row["certainty"], key=row["certainty"].get)
        line = next(line for line in said.splitlines() if row["clip"] in line)
        assert f" {row['answer']} | " in line
        assert f" {row['probability']:.2f} | " in line
        assert f" {row['second_best']} {row['second_probability']:.2f} | " in line
        assert (cells["answer"], float(cells["p scatter"])) == (row["answer"], row["posterior"]["scatter"])
    assert "result: out/a.csv" in said
    assert "not calibrated" in said


def test_the_script_says_the_same_and_encodes_nothing_again(place, capsys):
    assert main(["predict", "--support", "actions", "--query", "new clips", "--text", "off", *TINY]) == 0
    first = capsys.readouterr()
    assert "encoding" in first.err
    script = [sys.executable, str(TOOLS / "predict.py"), "--support", "actions", "--query", "new clips"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*script, "--text", "off", *TINY]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout == first.out
    assert "encoding" not in done.stderr


def test_a_time_line_of_a_long_video(place, capsys):
    assert call("--window", "1s", "--stride", "0.5s", "--json", "a.json", "--text", "off") == 0
    said = capsys.readouterr().out
    result = json.loads((place / "a.json").read_text())
    assert result["window"] == "1s every 0.5s"
    for segment in result["segments"]:
        assert segment["end_seconds"] > segment["start_seconds"]
    of_clip = [row for row in result["rows"] if row["clip"].endswith("gather new.mp4")]
    assert [row["start_seconds"] for row in of_clip[:3]] == [0, 0.5, 1]
    assert all(row["end_frame"] - row["first_frame"] == 12 for row in of_clip)  # the world has 12 frames a second
    assert "| from" in said
    assert said.count("new.mp4") == 3
    assert "0:00.0" in said


def test_unknown_below_and_bad_clips(place, capsys):
    (place / "new clips" / "broken.mp4").write_text("no video")
    assert call("--unknown-below", "1.0", "--json", "a.json", "--text", "off") == 0
    rows = json.loads((place / "a.json").read_text())["rows"]
    assert [row["answer"] for row in rows] == [None, *["none of these"] * 3]
    said = capsys.readouterr().out
    assert "1 of 4 clips could not be read" in said
    assert "no answer" in said
    assert call(query=["new clips/broken.mp4"]) == 1


def test_what_is_wrong_is_one_message(place, capsys):
    (place / "empty").mkdir()
    (place / "one/kick").mkdir(parents=True)
    (place / "one/kick/a.mp4").write_text("x")
    assert "holds nothing; expected a folder per action" in failed(capsys, support="empty")
    assert "one class only, 'kick'" in failed(capsys, support="one")
    assert "does not exist" in failed(capsys, query=["nowhere"])
    assert "empty holds no clip" in failed(capsys, query=["empty"])
    assert "leaves out moments" in failed(capsys, "--window", "1s", "--stride", "2s")
    assert "has to be trained" in failed(capsys, "--cfg", "demo")
    assert "is a probability" in failed(capsys, "--unknown-below", "5")
    assert "is given for two outputs" in failed(capsys, "--csv", "a.x", "--json", "./a.x")
    assert "got the folder empty" in failed(capsys, "--csv", "empty")
    with pytest.raises(SystemExit):
        call(query=[""])
    assert "a path is empty" in capsys.readouterr().err
    assert not (place / "stores").exists()  # nothing was encoded before the message


def test_two_real_classes_split_in_half(shared_data, tmp_path, monkeypatch):
    """As somebody tries it first: half of a folder of real clips names the other half."""
    monkeypatch.chdir(tmp_path)
    for name in ("fight", "noFight"):
        for number, path in enumerate(sorted((shared_data / "clips/fight_surv" / name).iterdir())[:6]):
            folder = tmp_path / ("actions" if number % 2 == 0 else "new clips") / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).symlink_to(path)
    assert call("--json", "a.json", f"data.prompts={TOOLS.parent / 'prompts/fight_surv.yaml'}") == 0
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["support"] == {"fight": 3, "noFight": 3}
    assert len(result["rows"]) == 6
    assert result["branches"] == ["otam", "text"]
