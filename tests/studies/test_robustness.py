import json

import pytest
from result_values import result_values

from mdmf.config import check_settings
from mdmf.engine import tester
from mdmf.engine.run_folder import RunFolder
from mdmf.files import file_sha256, write_json
from mdmf.results import Result
from mdmf.studies.robustness import robustness_table, run_robustness


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two seeds of a two-modality run and one of rgb alone; a test costs an accuracy that says what was asked."""
    tested = []

    def run_test(workspace, *, checkpoint, folder, protocol):
        settings = workspace.settings
        assert settings.evaluation.baselines == ()
        strength = float(settings.corrupt.flow.partition(":")[2] or 0)
        tested.append((folder.name, strength))
        accuracy = 80.0 + settings.training.seed - 10 * strength
        result = result_values(
            {"amfar": {"accuracy_percent": accuracy}},
            settings=settings.model_dump(mode="json"),
            checkpoint_sha256=file_sha256(checkpoint),
        )
        write_json(folder / f"test_{protocol.name}.json", result)
        (folder / f"test_{protocol.name}_episodes.npz").touch()
        return Result.model_validate(result)

    monkeypatch.setattr(tester, "run_test", run_test)
    folders = []
    for name, seed, model in [
        ("both-seed0", 0, {}),
        ("both-seed1", 1, {}),
        ("rgb-seed0", 0, {"sources": ["rgb"]}),
    ]:
        values = {"model": {"name": "amfar", **model}, "training": {"seed": seed}}
        values |= {"output": {"root": str(tmp_path / "runs"), "name": name}, "evaluation": {"baselines": ["otam"]}}
        run = RunFolder.create(check_settings(values, source="test"))
        run.best.write_bytes(name.encode())
        run.summary.write_text("{}")
        folders.append(run.folder)
    return folders, tested


def ask(folders, tmp_path, *overrides, strengths=(0.0, 0.5)):
    return run_robustness(
        folders, source="flow", kind="missing", strengths=strengths, out=tmp_path, overrides=overrides, progress=False
    )


def test_mean_and_spread_over_the_seeds_of_each_config(runs, tmp_path):
    folders, _ = runs
    result = ask(folders, tmp_path)
    assert result["rows"]["both"]["strengths"]["0.0"] == {"mean": 80.5, "spread": pytest.approx(0.5**0.5), "n_runs": 2}
    assert result["rows"]["both"]["strengths"]["0.5"]["mean"] == 75.5
    assert result["rows"]["rgb"]["strengths"]["0.5"] == {"mean": 80.0, "spread": None, "n_runs": 1}
    (written,) = tmp_path.glob("flow_missing_5way_1shot_*.json")
    assert result["file"] == str(written)
    assert json.loads(written.read_text()) == result
    assert "75.50 ± 0.71" in robustness_table(result).text()


def test_what_is_there_is_not_tested_again_unless_the_weights_changed(runs, tmp_path):
    folders, tested = runs
    ask(folders, tmp_path)
    assert len(tested) == 5  # flow is no matter of the run of rgb alone: its two strengths are one test
    ask(folders, tmp_path, strengths=(0.0, 0.5, 1.0))
    assert tested[5:] == [("both-seed0", 1.0), ("both-seed1", 1.0)]
    (folders[0] / "best.safetensors").write_bytes(b"trained on")
    ask(folders, tmp_path)
    assert tested[7:] == [("both-seed0", 0.0), ("both-seed0", 0.5)]


def test_a_changed_model_is_another_test(runs, tmp_path):
    folders, tested = runs
    ask(folders[:1], tmp_path)
    ask(folders[:1], tmp_path, "model.fusion=sum")
    assert len(tested) == 4


def test_refuses_an_unfinished_run_and_an_impossible_strength(runs, tmp_path):
    folders, tested = runs
    unfinished = (folders[1] / "training.json").rename(folders[1] / "moved")
    with pytest.raises(ValueError, match="both-seed1 has not finished training"):
        ask(folders, tmp_path)
    unfinished.rename(folders[1] / "training.json")
    with pytest.raises(ValueError, match="is a share, at most 1"):
        ask(folders[:1], tmp_path, strengths=(0.5, 2.0))
    with pytest.raises(ValueError, match="a run is given twice"):
        ask([folders[0], folders[0]], tmp_path)
    with pytest.raises(ValueError, match="is set by --kind and --strengths"):
        ask(folders[:1], tmp_path, "corrupt.flow=drop:0.5")
    assert not tested


def test_runs_of_other_episodes_or_models_do_not_go_into_one_table(runs, tmp_path):
    folders, _ = runs
    for name, changes, message in [
        ("both-seed2", {"episode": {"n_way": 3}}, "is tested on other episodes"),
        ("both-seed2", {"model": {"name": "amfir"}}, "runs named both have different models"),
    ]:
        values = {"model": {"name": "amfar"}, "output": {"root": str(tmp_path / message[:5]), "name": name}, **changes}
        other = RunFolder.create(check_settings(values, source="test"))
        other.summary.write_text("{}")
        with pytest.raises(ValueError, match=message):
            ask([folders[0], other.folder], tmp_path)


def test_our_reading_of_a_method_is_marked():
    row = {"our_reading": True, "strengths": {"0.0": {"mean": 1.0, "spread": None}}}
    result = {"kind": "drop", "source": "rgb", "strengths": [0.0], "rows": {"x": row}}
    assert "| x (our reading) | 1.00 |" in robustness_table(result).text()
