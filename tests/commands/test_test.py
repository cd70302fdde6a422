"""`mdmf test` on runs of one and of two sources."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_commands import BASELINES, FLOW, PLAIN, error_of, result_of, small

from mdmf.cli import main
from mdmf.shapes.world import SHAPES_SPLIT


def test_baselines_need_no_training_and_text_weight_comes_from_val(world, store, place, capsys):
    assert main(["train", "--cfg", "clips", "--quiet", *small(world, "model.name=otam", store=store)]) == 0
    assert "nothing to train" in capsys.readouterr().out
    assert (place / "runs/clips-otam-test/test_5way_1shot_30episodes.json").is_file()
    weights = small(world, "model.name=otam", "model.text_weight=val", store=store)
    assert main(["test", "--cfg", "clips", "--quiet", *weights]) == 0
    result = json.loads((place / "runs/clips-otam-test/test_5way_1shot_30episodes_text_val.json").read_text())
    assert result["text_weight"] in [tenth / 10 for tenth in range(11)]


def test_random_weights_are_said_in_every_result(world, place, capsys):
    arguments = small(world, "encoder.weights=random", "model.name=prototype")
    assert main(["test", "--cfg", "clips", "--quiet", *arguments]) == 0
    assert "THE ENCODER'S WEIGHTS ARE RANDOM" in capsys.readouterr().out
    result = json.loads((place / "runs/clips-prototype-test/test_5way_1shot_30episodes.json").read_text())
    assert any("RANDOM" in note for note in result["notes"])


def test_two_sources_from_videos_to_a_table(trained_on_both):
    result, said = result_of(trained_on_both.folder), trained_on_both.said
    assert list(result["models"]) == [*BASELINES, "amfar"]
    assert set(result["models"]["amfar"]["branches"]) == {"rgb", "flow"}
    assert result["missing"] == {}
    for name, numbers in result["models"].items():
        assert f"{numbers['accuracy_percent']:.2f} ± {numbers['interval']:.2f}" in said
        of_branches = [line for line in said.splitlines() if line.startswith(f"| {name} ")]
        assert len(of_branches) == (2 if numbers["branches"] else 1)  # and a row of what its branches say
    assert "| branches of | decidable |" in said
    assert "rgb alone" in said
    assert "flow alone" in said
    shares = result["models"]["amfar"]["taught_share"]
    assert sum(shares.values()) == pytest.approx(1)
    saved = np.load(trained_on_both.folder / f"{PLAIN}_episodes.npz", allow_pickle=False)
    weights = saved["amfar/rgb/weight"].astype(float) + saved["amfar/flow/weight"]
    np.testing.assert_allclose(weights, 1, atol=2e-3)
    assert set(np.unique(saved["amfar/teacher"])) <= {-1, 0, 1}


def test_features_that_are_missing_or_lost_on_purpose(run, capsys):
    before = (run / f"{PLAIN}.json").read_bytes()
    harm = ["corrupt.flow=missing:0.50", "corrupt.rgb=drop:.5"]
    assert main(["test", "--run", str(run), "--quiet", *harm]) == 0
    said, name = capsys.readouterr().out, f"{PLAIN}_rgb-drop-0.5_flow-missing-0.5"
    assert f"result: {run / name}.json" in said
    assert (run / f"{PLAIN}.json").read_bytes() == before
    result, plain = result_of(run, name), result_of(run)
    assert result["protocol"]["corrupt"] == "rgb:drop:0.5 flow:missing:0.5"
    assert set(result["missing"]) == {"flow"}
    assert 0.2 < result["missing"]["flow"] < 0.8
    for part in (
        "rgb corrupted on purpose: drop:0.5 (seed 0)",
        "flow corrupted on purpose: missing:0.5 (seed 0)",
        f"({100 * result['missing']['flow']:.1f} % of the queries have no flow)",
    ):
        assert part in said
    assert result["models"]["otam"] != plain["models"]["otam"]
    saved, of_plain = (np.load(run / f"{one}_episodes.npz", allow_pickle=False) for one in (name, PLAIN))
    for videos in ("support_videos", "query_videos"):  # the same episodes, so that they may be compared
        asked = (arrays["video_ids"][arrays[videos]] for arrays in (saved, of_plain))
        np.testing.assert_array_equal(*asked)


def test_no_flow_at_all_leaves_rgb(run):
    assert main(["test", "--run", str(run), "--quiet", "corrupt.flow=missing:1"]) == 0
    models, plain = result_of(run, f"{PLAIN}_flow-missing-1")["models"], result_of(run)["models"]
    assert models["amfar"]["accuracy_percent"] == plain["amfar"]["branches"]["rgb"]["accuracy_percent"]
    assert models["late_otam"]["accuracy_percent"] == plain["otam"]["accuracy_percent"]
    assert models["otam"] == plain["otam"]


def test_harm_of_no_strength_gives_the_plain_numbers(run):
    assert main(["test", "--run", str(run), "--quiet", "corrupt.flow=missing:0", "corrupt.rgb=drop:0"]) == 0
    assert result_of(run, f"{PLAIN}_rgb-drop-0_flow-missing-0")["models"] == result_of(run)["models"]


def test_frames_corrupted_for_both(run, trained_on_both, capsys):
    flow_store = Path(trained_on_both.stores[1].split("=")[1])
    before = (run / f"{PLAIN}.json").read_bytes(), (flow_store / "features.npy").read_bytes()
    noise = ["corrupt.rgb=noise:0.1", "corrupt.flow=noise:0.1"]
    assert main(["test", "--run", str(run), "--quiet", *noise]) == 0
    assert "flow corrupted on purpose: noise:0.1" in capsys.readouterr().out
    result = result_of(run, f"{PLAIN}_rgb-noise-0.1_flow-noise-0.1")
    for name in ("otam", "flow_otam"):
        assert result["models"][name]["accuracy_percent"] > 20
        assert result["models"][name] != result_of(run)["models"][name]
    after = (run / f"{PLAIN}.json").read_bytes(), (flow_store / "features.npy").read_bytes()
    assert after == before


def test_frames_corrupted_for_one(run):
    assert main(["test", "--run", str(run), "--quiet", "corrupt.rgb=noise:0.1"]) == 0
    models = result_of(run, f"{PLAIN}_rgb-noise-0.1")["models"]
    assert models["flow_otam"] == result_of(run)["models"]["flow_otam"]


def test_a_folder_of_flows_that_is_not_there(world, store, place, capsys):
    own = ["model.name=flow_otam", "data.flow.method=disk", "data.flow.folder=nowhere"]
    said = error_of(capsys, "test", "--cfg", "clips", *small(world, *own, store=store))
    assert "nowhere" in said
    assert "flow" in said
    own = ["model.name=flow_otam", "data.flow.method=disk"]
    said = error_of(capsys, "test", "--cfg", "clips", *small(world, *own, store=store))
    assert "flow.method 'disk' needs data.flow.folder" in said


@pytest.mark.parametrize("change", ["data.flow.clip=5", "data.flow.drawing=channels", "encoder.flow.weights=random"])
def test_weights_are_not_tested_on_flow_of_another_kind(run, capsys, change):
    said = error_of(capsys, "test", "--run", str(run), change)
    assert "was trained on other features" in said
    assert change.split("=")[0] in said


def test_a_run_on_another_data_set(world, run, place, capsys):
    for name in SHAPES_SPLIT["test"][:5]:
        shutil.copytree(world / name, place / "others" / name)
    split = "class_split: random, split_fractions: [0, 0, 1]"
    (place / "others.yaml").write_text(f"data: {{name: others, root: others, n_workers: 0, {split}}}\n")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    other = ["data.config=others.yaml", "evaluation.baselines=[flow_otam]"]
    assert main(["test", "--run", str(run), "--quiet", *other]) == 0
    said = capsys.readouterr().out
    assert said.strip().startswith("others, test classes; 5-way 1-shot; 30 episodes")
    assert "; other data or settings: others-" in said.splitlines()[1]
    (file,) = run.glob(f"{PLAIN}_on_others-??????.json")
    assert f"result: {file}" in said
    result = json.loads(file.read_text())
    assert set(result["models"]) == {"flow_otam", "amfar"}
    (manifest,) = (place / "stores").glob("others-flow-*/manifest.json")
    flow = json.loads(manifest.read_text())["settings"]["flow"]
    assert (flow["step"], flow["clip"]) == (2, 6)  # as the weights know it
    assert {name: (run / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("weight", ["0.3", "val"])
def test_text_beside_a_model_that_looks_at_flow_alone(world, trained_on_both, place, weight):
    """The text is that of the frames' encoder: their features are needed too."""
    own = [*trained_on_both.stores, *FLOW, "model.name=flow_otam", f"model.text_weight={weight}"]
    own += ["evaluation.baselines=[]"]
    assert main(["test", "--cfg", "clips", "--quiet", *small(world, *own)]) == 0
    folder, name = place / "runs/clips-flow_otam-test", f"{PLAIN}_text_{weight}"
    assert list(result_of(folder, name)["models"]) == ["flow_otam"]
    assert main(["report", "--quiet", str(folder)]) == 0
