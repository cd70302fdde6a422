"""The included tiny encoder: a short training writes its files, and those of the project fit together."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file

from mdmf.encoders.tiny_tokenizer import WordTokenizer
from mdmf.resources import resource_folder
from mdmf.shapes.encoder_training import build_tiny_clip
from mdmf.shapes.make_encoder import linear_r2, make_demo_encoder
from mdmf.yaml_text import read_yaml


@pytest.mark.slow
def test_a_short_training_writes_weights_and_their_record(tmp_path):
    record = make_demo_encoder(tmp_path, n_steps=2, seed=3, n_measured=40)
    assert (record["n_steps"], record["seed"]) == (2, 3)
    assert set(record["reached"]["linear_r2"]) == {"x", "y", "log_radius"}
    assert (tmp_path / "tiny_clip.safetensors").stat().st_size > 100_000
    assert json.loads((tmp_path / "tiny_clip.json").read_text())["mdmf"]["training"]["seed"] == 3


def test_a_linear_reading_of_a_linear_target_is_exact_and_of_noise_is_nothing():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 5))
    assert linear_r2(features, features @ [1.0, -2, 0, 3, 0.5] + 7) > 0.999
    assert linear_r2(features, rng.normal(size=400)) < 0.1


@pytest.fixture(scope="module")
def shipped() -> dict:
    return json.loads((resource_folder("tiny") / "tiny_clip.json").read_text(encoding="utf-8"))


def test_shipped_weights_fit_the_configuration_and_are_small(shipped: dict) -> None:
    path = resource_folder("tiny") / "tiny_clip.safetensors"
    assert path.stat().st_size <= 10_000_000
    model = build_tiny_clip(shipped)
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()}, strict=True)


def test_shipped_configuration_tells_how_it_was_made_and_how_good_it_is(shipped: dict) -> None:
    training = shipped["mdmf"]["training"]
    assert {"seed", "n_steps", "batch_size", "reached"} <= training.keys()
    reached = training["reached"]
    assert reached["linear_r2"]["x"] > 0.85
    assert reached["linear_r2"]["y"] > 0.85
    assert reached["caption_accuracy"]["number"] > 0.7


def test_shipped_prompts_use_words_it_knows_only(shipped: dict) -> None:
    tokenizer = WordTokenizer(shipped["mdmf"]["words"], context_length=shipped["text_cfg"]["context_length"])
    assert tokenizer.vocab_size == shipped["text_cfg"]["vocab_size"]
    classes = read_yaml(resource_folder("prompts") / "shapes.yaml")["classes"]
    for sentences in classes.values():
        tokenizer([sentences] if isinstance(sentences, str) else sentences)
