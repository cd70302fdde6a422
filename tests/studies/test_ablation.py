import json
from pathlib import Path

import numpy as np
import pytest
from result_values import result_values

from mdmf.config import ConfigError
from mdmf.engine.run_folder import RunFolder
from mdmf.studies.ablation import AblationFailed, Variant, run_ablation, run_variant, summarize

# (right or wrong) of the two queries of each of four episodes; accuracies 75, 50, 50 and 37.5 %
RIGHT = {
    ("full", 0): [[1, 1], [1, 1], [1, 0], [1, 0]],
    ("full", 1): [[1, 1], [0, 0], [1, 0], [0, 1]],
    ("less", 0): [[1, 0], [1, 1], [0, 0], [0, 1]],
    ("less", 1): [[1, 0], [0, 0], [0, 1], [1, 0]],
}


def variants(folder: Path) -> list[Variant]:
    configs = []
    for name in ("full", "less"):
        path = folder / f"{name}.yaml"
        path.write_text("episode: {n_way: 4}\n")
        configs.append(path)
    return [Variant(config, seed, ("episode.n_shot=2",), folder / "runs") for config in configs for seed in (0, 1)]


def write_result(variant: Variant, changes: dict | None = None) -> None:
    right = np.array(RIGHT[variant.name, variant.seed], dtype=bool)
    accuracy = 100 * right.mean()
    branches = {"local": {"accuracy_percent": accuracy - 5, "interval": 1.0}}
    numbers = {"accuracy_percent": accuracy, "branches": branches, "taught_share": {"local": 0.25}}
    if variant.name == "full":
        report = {"by_trust_percent": 62.5, "teacher_percent": None}
        numbers |= {"reliability": report, "calibration_error": {"fused": 0.125}}
    RunFolder.create(variant.settings)
    result = result_values({"m2df": numbers}, settings=variant.settings.model_dump(mode="json"))
    variant.result_file.write_text(json.dumps(result))
    labels = np.array([[0, 1], [1, 0], [2, 3], [3, 2]])
    arrays = {
        **{
            "video_ids": np.array([f"class/{n}.mp4" for n in range(8)]),
            "support_videos": np.arange(4).reshape(4, 1, 1),
        },
        **{"query_videos": np.arange(8).reshape(4, 2)[::-1], "query_labels": labels.astype(np.int16)},
        **{"m2df/predictions": np.where(right, labels, 3 - labels)},
        **(changes or {}),
    }
    np.savez(variant.result_file.with_name(f"{variant.result_file.stem}_episodes.npz"), **arrays)


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
    result = summarize(made)
    rows = result["configs"]
    assert result["seeds"] == [0, 1]
    assert rows["full"]["by_seed"] == {"0": 75.0, "1": 50.0}
    assert rows["full"]["mean"] == {
        **{"fused": 62.5, "local alone": 57.5, "taught by local": 25.0},
        **{"trusted is right": 62.5, "ECE fused": 12.5},  # the teacher's share is not known
    }
    assert rows["full"]["difference"] == {"mean": 0.0, "spread": 0.0, "interval": 0.0}
    assert rows["less"]["mean"] == {"fused": 43.75, "local alone": 38.75, "taught by local": 25.0}
    assert rows["less"]["spread"]["fused"] == pytest.approx(6.25 * 2**0.5)
    # Episode by episode: seed 0 loses 50, 0, 50, 0 (25 on average), seed 1 50, 0, 0, 0 (12.5). The average over the
    # seeds is 50, 0, 25, 0: mean 18.75, squares of what is left 31.25², 18.75², 6.25², 18.75², variance 1718.75 / 3.
    assert rows["less"]["difference"] == {
        "mean": -18.75,
        "spread": pytest.approx(12.5 / 2**0.5),
        "interval": pytest.approx(1.96 * (1718.75 / 3 / 4) ** 0.5),
    }


def test_one_seed_has_an_interval_and_no_spread(tmp_path):
    made = [variant for variant in variants(tmp_path) if variant.seed == 0]
    for variant in made:
        write_result(variant)
    row = summarize(made)["configs"]["less"]
    assert row["spread"]["fused"] is None
    # Seed 0 loses 50, 0, 50, 0 points: mean 25, every square of what is left 25².
    interval = pytest.approx(1.96 * (4 * 625 / 3 / 4) ** 0.5)
    assert row["difference"] == {"mean": -25.0, "spread": None, "interval": interval}


@pytest.mark.parametrize(
    "changes",
    [{"query_videos": np.arange(8).reshape(4, 2)}, {"video_ids": np.array([f"class/{n}.mp4" for n in range(1, 9)])}],
)
def test_runs_of_other_episodes_cannot_be_paired(tmp_path, changes):
    """As where a config looks at flow, which some videos lack, and another does not."""
    *same, last = variants(tmp_path)
    for variant in same:
        write_result(variant)
    write_result(last, changes)
    with pytest.raises(ValueError, match="less-seed1 was tested on other episodes than full-seed0"):
        summarize([*same, last])


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
