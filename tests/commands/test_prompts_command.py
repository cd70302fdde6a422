"""`mdmf prompts` from its words to what it prints. (The basename `test_prompts` is taken by the encoders'.)"""

from pathlib import Path

import pytest
from small_videos import SPLIT, write_videos

from mdmf.cli import main

TINY = ["encoder.library=tiny", "encoder.model=tiny_clip", "encoder.weights=shipped", "encoder.device=cpu"]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path / "videos")
    (tmp_path / "split.yaml").write_text("\n".join(f"{split}: {names}" for split, names in SPLIT.items()))
    return tmp_path


def prompts(capsys, *words: str, code: int = 0) -> str:
    assert main(["prompts", *words]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def of(*more: str) -> list[str]:
    return [
        "--cfg",
        "clips",
        "--quiet",
        "data.root=videos",
        "data.class_split=split.yaml",
        "data.n_workers=0",
        *TINY,
        *more,
    ]


def test_show_every_sentence_of_every_class(place, capsys):
    said = prompts(capsys, "show", *of())
    assert "default.yaml" in said
    assert [said.count(f"{split} (2 classes)") for split in SPLIT] == [1, 1, 1]
    assert said.count("a video of ") == 6
    assert "    a video of left then up." in said.splitlines()
    assert not (place / "stores").exists()


def test_show_some_classes_and_the_nearest_to_a_misspelt_one(place, capsys):
    said = prompts(capsys, "show", *of(), "--class", "Left Then Up")
    assert said.count("a video of ") == 1
    said = prompts(capsys, "show", *of(), "--class", "left_then_upp", code=2)
    assert "did you mean 'left_then_up'?" in said


def test_misspelt_classes_in_a_file_get_the_nearest_right_one(place, capsys):
    (place / "mine.yaml").write_text("templates: ['{}']\nclasses: {move_lefft: x}\n")
    said = prompts(capsys, "show", *of("data.prompts=mine.yaml"), code=2)
    assert "'move_lefft' is not a class of the data set (did you mean 'move_left'?)" in said


def test_score_is_on_val_alone(place, capsys):
    lines = ["templates: ['{}', '{} and a circle']", "classes:"]
    lines += [f"  {name}: a {'small' if 'up' in name else 'large'} shape" for names in SPLIT.values() for name in names]
    (place / "mine.yaml").write_text("\n".join(lines))
    said = prompts(capsys, "score", *of("evaluation.split=test", "data.prompts=mine.yaml"))
    assert "zero-shot on val, 4 videos, each out of all 2 classes (chance 50.0 %)" in said
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| ")]
    assert rows[:4] == ["prompts", "all together", "{}", "{} and a circle"]


def test_diff_by_name_and_by_path(place, capsys):
    (place / "a.yaml").write_text("templates: ['see {}.']\nclasses: {kick: kicking}\n")
    (place / "b.yaml").write_text("templates: ['see {}.']\nclasses: {kick: a kick}\n")
    assert prompts(capsys, "diff", "a.yaml", "b.yaml").splitlines()[3:6] == [
        "kick",
        "  - see kicking.",
        "  + see a kick.",
    ]
    assert "no difference (51 classes)" in prompts(capsys, "diff", "hmdb51", "hmdb51")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show"], "needs --cfg"),
        (["score", "a.yaml", "--cfg", "demo"], "data.prompts=a.yaml"),
        (["diff", "a.yaml"], "takes two prompt files"),
        (["diff", "hmdb51", "ucf101", "--cfg", "demo"], "takes two prompt files"),
        (["diff", "hmdb51", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["score", "--cfg", "demo", "--class", "grow"], "--class is an option of show"),
    ],
)
def test_words_that_do_not_go_together(place, capsys, words, message):
    assert message in prompts(capsys, *words, code=2)
