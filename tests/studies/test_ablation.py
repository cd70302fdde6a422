from pathlib import Path

import numpy as np
import pytest
from result_values import result_values

from mdmf.config import ConfigError
from mdmf.engine.run_folder import RunFolder
from mdmf.results import Answers, Episodes, Result, write_test
from mdmf.studies.ablation import AblationFailed, Variant, ablation_table, run_ablation, run_variant, summarize

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
        path.write_text("episode: {n_way: 2}\n")
        configs.append(path)
    return [Variant(config, seed, ("episode.n_shot=2",), folder / "runs") for config in configs for seed in (0, 1)]


def write_result(variant: Variant, *, turned: bool = False, first_name: int = 0) -> None:
    right = np.array(RIGHT[variant.name, variant.seed], dtype=bool)
    accuracy = 100 * right.mean()
    branches = {"local": {"accuracy_percent": accuracy - 5, "interval": 1.0}}
    numbers = {"accuracy_percent": accuracy, "branches": branches, "taught_share": {"local": 0.25}}
    numbers["per_class_percent"] = {"kick": 50.0, "run": 50.0}
    if variant.name == "full":
        report = {"n_disagree": 3, "n_decidable": 2, "by_trust_percent": 62.5, "by_trust_interval": 1.0}
        report |= {"teacher_percent": None, "teacher_interval": None, "n_taught": None}
        numbers |= {"reliability": report, "calibration_error": {"fused": 0.125}}
    RunFolder.create(variant.settings)
    values = result_values({"m2df": numbers}, settings=variant.settings.model_dump(mode="json"))
    values["protocol"] |= {"n_way": 2, "n_shot": 2, "n_episodes": 4}
    labels = np.array([[0, 1], [1, 0], [0, 1], [1, 0]])
    predictions = np.where(right, labels, 1 - labels)
    posterior = np.eye(2)[predictions]
    query = np.arange(16, 24).reshape(4, 2)
    episodes = Episodes(
        class_ids=np.tile([0, 1], (4, 1)),
        support=np.arange(16).reshape(4, 2, 2),
        query=query[::-1] if turned else query,
        labels=labels,
        video_ids=np.array([f"class/{number}.mp4" for number in range(first_name, first_name + 24)]),
        answers={"m2df": Answers(posterior, predictions, {"local": posterior})},
    )
    write_test(variant.files, Result.model_validate(values), episodes)


def test_variants_differ_by_seed_and_place_only(tmp_path):
    first, second, *_ = variants(tmp_path)
    assert (first.settings.training.seed, second.settings.training.seed) == (0, 1)
    assert first.settings.episode == second.settings.episode
    assert first.settings.evaluation == second.settings.evaluation  # so their differences are paired
    assert first.files.result == tmp_path / "runs" / "full-seed0" / "test_2way_2shot.json"


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


@pytest.mark.parametrize("changes", [{"turned": True}, {"first_name": 1}])
def test_runs_of_other_episodes_cannot_be_paired(tmp_path, changes):
    """As where a config looks at flow, which some videos lack, and another does not."""
    *same, last = variants(tmp_path)
    for variant in same:
        write_result(variant)
    write_result(last, **changes)
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
    variant.config.write_text("episode: {n_way: 2}\ntraining: {n_steps: 7}\n")
    with pytest.raises(ConfigError, match=r"training\.n_steps: the run has 2000, asked for 7"):
        run_variant(variant, n_threads=1)


def test_two_configs_of_one_name_are_refused(tmp_path):
    config = variants(tmp_path)[0].config
    with pytest.raises(ValueError, match="names of configs and seeds must differ"):
        run_ablation([config, config], seeds=[0], root=tmp_path)


def ablation_row(mean: float, difference: float, spread: float | None = 0.25, **more: float) -> dict:
    return {
        "mean": {"fused": mean, **more},
        "spread": {"fused": spread and 2 * spread, **dict.fromkeys(more)},
        "our_reading": False,
        "difference": {"mean": difference, "spread": spread, "interval": 0.125},
    }


def test_the_table_has_means_spreads_and_differences():
    configs = {
        "full": ablation_row(70, 0, **{"rgb alone": 1.0}),
        "no_selector": ablation_row(66, -4, **{"local alone": 2.0}) | {"our_reading": True},
    }
    table = ablation_table({"configs": configs, "seeds": [0, 1, 2]})
    assert table.header == ("config", "fused", "against full", "rgb alone", "local alone")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["full", "70.00 ± 0.50", "", "1.00", "–"],
        ["no_selector (our reading)", "66.00 ± 0.50", "-4.00 ± 0.25 [±0.12]", "–", "2.00"],
    ]
    assert "over seeds 0, 1, 2" in table.notes[0]
    assert table.csv().splitlines() == [
        'config,fused,"fused, spread",against full,"against full, interval","against full, spread",'
        "rgb alone,local alone",
        "full,70,0.5,,,,1.0,",
        "no_selector (our reading),66,0.5,-4,0.125,0.25,,2.0",
    ]


@pytest.mark.parametrize(("difference", "cell"), [(1.5, "+1.50 [±0.12]"), (-1.5, "-1.50 [±0.12]")])
def test_one_seed_has_no_spread_but_an_interval_in_the_table(difference, cell):
    configs = {"full": ablation_row(70, 0, None), "other": ablation_row(70, difference, None)}
    row = ablation_table({"configs": configs, "seeds": [0]}).rows[1]
    assert [one.text for one in row] == ["other", "70.00", cell]
