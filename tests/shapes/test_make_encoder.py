"""The maker of the demo's encoder still runs: a few steps, and what it writes can be loaded."""

import json

import numpy as np
import pytest

from mdmf.shapes.make_encoder import linear_r2, make_demo_encoder


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
