import json
from pathlib import Path

import pytest

from mdmf.config import ConfigError
from mdmf.engine.ablation import AblationFailed, Variant, run_ablation, run_variant, summarize
from mdmf.engine.run_folder import RunFolder

RESULTS = {("full", 0): 70.0, ("full", 1): 74.0, ("less", 0): 65.0, ("less", 1): 71.0}


def variants(folder: Path) -> list[Variant]:
    configs = []
    for name in ("full", "less"):
        path = folder / f"{name}.yaml"
        path.write_text("episode: {n_way: 4}\n")
        configs.append(path)
    return [Variant(config, seed, ("episode.n_shot=2",), folder / "runs") for config in configs for seed in (0, 1)]


def write_result(variant: Variant) -> None:
    accuracy = RESULTS[variant.name, variant.seed]
    branches = {"local": {"accuracy_percent": accuracy - 5}}
    numbers = {"accuracy_percent": accuracy, "branches": branches, "taught_share": {"local": 0.25}}
    RunFolder.create(variant.settings)
    variant.result_file.write_text(json.dumps({"models": {"m2df": numbers}}))


def test_variants_differ_by_seed_and_place_only(tmp_path):
    first, second, *_ = variants(tmp_path)
    assert (first.settings.training.seed, second.settings.training.seed) == (0, 1)
    assert first.settings.episode == second.settings.episode
    assert first.settings.evaluation == second.settings.evaluation  # so their differences are paired
    assert first.result_file == tmp_path / "runs" / "full-seed0" / "test_4way_2shot.json"


def test_mean_spread_and_paired_difference_by_hand(tmp_path):
    made = variants(tmp_path)
    for variant in made:
        write_result(variant)
    rows = summarize(made)["configs"]
    assert rows["full"]["mean"] == {"fused": 72.0, "local alone": 67.0, "taught by local": 25.0}
    assert rows["less"]["mean"]["fused"] == 68.0
    assert rows["less"]["spread"]["fused"] == pytest.approx(18**0.5)
    assert rows["less"]["difference"] == {"mean": -4.0, "spread": pytest.approx(2**0.5)}


def test_what_is_finished_is_not_run_again(tmp_path, monkeypatch):
    variant = variants(tmp_path)[0]
    write_result(variant)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("ran again"))
    run_variant(variant, n_threads=1)


def test_a_run_that_fails_says_why(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("data: {root: nowhere}\n")
    with pytest.raises(AblationFailed, match="nowhere does not exist"):
        run_variant(Variant(path, 0, (), tmp_path / "runs"), n_threads=1)


def test_a_result_of_other_settings_is_never_taken(tmp_path):
    variant = variants(tmp_path)[0]
    write_result(variant)
    variant.config.write_text("episode: {n_way: 4}\ntraining: {n_steps: 7}\n")
    with pytest.raises(ConfigError, match=r"training\.n_steps: the run has 2000, asked for 7"):
        run_variant(variant, n_threads=1)


def test_two_configs_of_one_name_are_refused(tmp_path):
    config = variants(tmp_path)[0].config
    with pytest.raises(ValueError, match="every config needs its own name"):
        run_ablation([config, config], seeds=[0], root=tmp_path)
