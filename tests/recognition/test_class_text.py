from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mdmf.config import check_settings
from mdmf.recognition.class_text import choose_text, names_without_words, sentences_of
from mdmf.resources import resource_folder


class Encoder:
    """Gives every sentence a feature of its own, and counts."""

    logit_scale = 7.0

    def __init__(self) -> None:
        self.n_calls = 0

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        self.n_calls += 1
        if any("secret" in text for text in texts):
            raise ValueError("cannot read 'secret'")
        return torch.stack([torch.tensor([len(text), text.count("e") + 1, 1.0]) for text in texts])


def test_names_that_do_not_say_what_happens():
    silent = ["class_01", "A", "x2", "007", "Class 3", "clip_b", "other", "no", "蹴る"]
    assert names_without_words([*silent, "ride_bike", "BodyWeightSquats", "noFight", "run", "class of yoga"]) == silent


def test_sentences_of_own_classes(tmp_path):
    prompts = tmp_path / "p.yaml"
    prompts.write_text('templates: ["one {}", "two {}"]\nclasses: {ride_bike: riding a bike, wave: [a hand goes up]}\n')
    said = sentences_of(["wave", "Ride Bike", "fall_down"], prompts=prompts, is_for_these=False)
    assert list(said.items()) == [
        ("wave", ["a hand goes up"]),
        ("Ride Bike", ["one riding a bike", "two riding a bike"]),
        ("fall_down", ["one fall down", "two fall down"]),
    ]
    with pytest.raises(ValueError, match=r"lacks 1 classes.*'fall_down'"):
        sentences_of(["wave", "fall_down"], prompts=prompts, is_for_these=True)
    assert sentences_of(["wave"], prompts=prompts, is_for_these=True) == {"wave": ["a hand goes up"]}


def test_a_file_without_templates_leaves_unknown_classes_to_the_default_ones(tmp_path):
    prompts = tmp_path / "p.yaml"
    prompts.write_text("classes: {wave: [a hand goes up]}\n")
    said = sentences_of(["fall_down"], prompts=prompts, is_for_these=False)
    default = sentences_of(["fall_down"], prompts=resource_folder("prompts") / "default.yaml", is_for_these=False)
    assert said == default
    assert said["fall_down"][0] == "a video of fall down."


def choose(tmp_path: Path, names, *, option="auto", for_these=False, prompts=None, identity=None, **model):
    values = {"model": {"name": "otam", "text_weight": 0.5} | model, "data": {"prompts": prompts}}
    settings = check_settings(values, source="test")
    return choose_text(
        names,
        settings,
        reads_text=settings.model.reads_text,
        option=option,
        prompts_are_for_these=for_these,
        folder=tmp_path / "text",
        store=SimpleNamespace(identity=identity or (lambda _: {"model": "m"}), encoder=lambda _: Encoder()),
    )


def test_when_words_join_in(tmp_path):
    words, numbers = ["kick", "jump"], ["class_1", "class_2"]
    assert choose(tmp_path, words).weight == 0.5
    assert list(choose(tmp_path, words).features.features) == words
    assert choose(tmp_path, words, option="off").weight == 0
    assert choose(tmp_path, words, text_weight=0).features is None
    silent = choose(tmp_path, numbers)
    assert (silent.features, silent.weight) == (None, 0)
    assert "does not say what happens" in silent.notes[0]
    assert choose(tmp_path, numbers, option="on").weight == 0.5
    half = choose(tmp_path, ["kick", "class_2"])
    assert half.weight == 0
    with pytest.raises(ValueError, match=r"model\.text_weight=0\.5"):
        choose(tmp_path, words, option="on", text_weight=0)


def test_what_the_encoder_cannot_read(tmp_path):
    names = ["secret", "jump"]
    unread = choose(tmp_path, names)
    assert unread.weight == 0
    assert "cannot read 'secret'" in unread.notes[0]
    for needed in ({"option": "on"}, {"name": "zero_shot"}):
        with pytest.raises(ValueError, match="cannot read 'secret'; give sentences"):
            choose(tmp_path, names, **needed)


def test_a_model_that_reads_the_names_gets_them_whatever_they_say(tmp_path):
    chosen = choose(tmp_path, ["class_1", "class_2"], name="zero_shot", option="off")
    assert list(chosen.features.features) == ["class_1", "class_2"]
    assert chosen.weight == 0
    assert "goes by class names too" in chosen.notes[0]


def test_a_damaged_store_is_not_taken_for_names_that_cannot_be_read(tmp_path):
    """In `auto` the words would leave the answer, for a cache that is broken."""

    def damaged(_):
        raise ValueError("manifest.json is damaged")

    with pytest.raises(ValueError, match="is damaged"):
        choose(tmp_path, ["kick", "jump"], identity=damaged)
