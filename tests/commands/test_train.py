"""`mdmf train`, from videos to a table, and again from a run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_commands import FLOW, PLAIN, error_of, result_of, small

from mdmf.cli import main
from mdmf.shapes.world import SHAPES_SPLIT

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def test_from_videos_to_a_table_and_again_from_the_run(world, place):
    """The scripts themselves, as a user calls them."""
    arguments = small(world, "evaluation.baselines=[zero_shot, otam]")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def call(tool: str, *more: str) -> str:
        command = [sys.executable, str(TOOLS / tool), *more, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment, timeout=240)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = call("train.py", "--cfg", "configs/clips.yaml")
    run = place / "runs" / "clips"
    result = json.loads((run / "test_5way_1shot_30episodes.json").read_text())
    assert set(result["models"]) == {"zero_shot", "otam", "m2df"}
    for name, numbers in result["models"].items():
        assert f"| {name}" in said
        assert f"{numbers['accuracy_percent']:.2f} ± {numbers['interval']:.2f}" in said
    for file in ("config.yaml", "environment.json", "metrics.jsonl", "best.safetensors", "last/state.pt"):
        assert (run / file).is_file()
    assert f"run folder: {run.relative_to(place)}" in said

    arguments = ["evaluation.n_episodes=20", "evaluation.n_way=3"]
    again = call("test.py", "--run", str(run))
    assert "3-way 1-shot; 20 episodes" in again
    assert (run / "test_3way_1shot_20episodes_episodes.npz").is_file()


def test_the_saved_answers_give_the_table_again(world, store, place):
    assert main(["train", "--cfg", "clips", "--quiet", *small(world, "evaluation.baselines=[otam]", store=store)]) == 0
    result = json.loads((place / "runs/clips/test_5way_1shot_30episodes.json").read_text())
    saved = np.load(place / "runs/clips/test_5way_1shot_30episodes_episodes.npz", allow_pickle=False)
    labels = saved["query_labels"]
    for name in ("m2df", "otam"):
        per_episode = 100 * (saved[f"{name}/predictions"] == labels).mean(axis=1)
        assert per_episode.mean() == pytest.approx(result["models"][name]["accuracy_percent"])
        interval = 1.96 * per_episode.std(ddof=1) / np.sqrt(len(per_episode))
        assert interval == pytest.approx(result["models"][name]["interval"])
    of_class = {video.split("/")[0] for video in saved["video_ids"]}
    assert of_class <= set(SHAPES_SPLIT["test"])
    asked = saved["video_ids"][saved["query_videos"]]
    true_ids = np.take_along_axis(saved["class_ids"], labels.astype(int), axis=1)
    names = np.array(SHAPES_SPLIT["test"])[true_ids]
    assert all(video.split("/")[0] == name for video, name in zip(asked.flat, names.flat, strict=True))


def test_killed_training_goes_on_with_resume_to_the_same_weights(world, store, place):
    """The real command, killed as soon as its first state is on disk."""
    more = ["training.n_steps=40", "training.log_every=1", "training.n_threads=1", "evaluation.after_training=false"]
    arguments = small(world, *more, store=store)
    assert main(["train", "--cfg", "clips", "--quiet", *arguments, "output.name=whole"]) == 0
    command = [sys.executable, str(TOOLS / "train.py"), "--cfg", "clips", "--quiet", "--resume", *arguments]
    process = subprocess.Popen([*command, "output.name=killed"], cwd=place)
    state = place / "runs/killed/last/state.pt"
    started = time.perf_counter()
    while not state.is_file() and process.poll() is None and time.perf_counter() - started < 120:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (place / "runs/killed/training.json").exists()
    subprocess.run([*command, "output.name=killed"], cwd=place, check=True, timeout=240)
    whole, killed = ((place / f"runs/{name}/best.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    assert not (place / "runs/killed-2").exists()


def test_a_finished_run_is_tested_not_trained_again(world, store, place, capsys):
    arguments = small(world, store=store)
    assert main(["train", "--cfg", "clips", "--quiet", *arguments]) == 0
    weights = (place / "runs/clips/best.safetensors").stat().st_mtime_ns
    assert main(["train", "--cfg", "clips", "--quiet", "--resume", *arguments]) == 0
    assert "has finished training already" in capsys.readouterr().out
    shutil.rmtree(place / "runs/clips/last")
    assert (place / "runs/clips/best.safetensors").stat().st_mtime_ns == weights
    assert main(["train", "--cfg", "clips", "--quiet", *arguments, "evaluation.after_training=false"]) == 0
    assert (place / "runs/clips-2/best.safetensors").is_file()
    said = capsys.readouterr().out
    assert "note: runs/clips is finished and stays as it is" in said
    assert "training in runs/clips-2" in said
    shutil.rmtree(place / "runs/clips-2/last")
    (place / "runs/clips-2/training.json").unlink()
    assert main(["train", "--cfg", "clips", "--quiet", "--resume", *arguments, "evaluation.after_training=false"]) == 0
    assert "runs/clips-2 was stopped before it saved a state: training begins again" in capsys.readouterr().out


def test_resume_with_other_settings_is_refused(world, store, place, capsys):
    assert main(["train", "--cfg", "clips", "--quiet", *small(world, store=store)]) == 0
    said = error_of(capsys, "train", "--cfg", "clips", "--resume", *small(world, "training.seed=1", store=store))
    assert "training.seed: the run has 0, asked for 1" in said


def test_flow_from_disk_which_some_videos_lack(world, store, flows, place, capsys):
    """They are answered from rgb, also by a model that learned from both."""
    shutil.copytree(flows, place / "flows")
    lacking = [f"{SHAPES_SPLIT['test'][0]}/000.mp4", f"{SHAPES_SPLIT['test'][1]}/001.mp4"]
    for video_id in lacking:
        (place / "flows" / video_id).with_suffix(".npy").unlink()
    disk = ["data.flow.method=disk", f"data.flow.folder={place / 'flows'}", "model.name=amfir"]
    own = [*disk, "evaluation.baselines=[flow_otam]", f"data.flow_store={place / 'disk'}"]
    assert main(["train", "--cfg", "clips", "--quiet", *small(world, *own, store=store)]) == 0
    said, result = capsys.readouterr().out, result_of(place / "runs/clips")
    assert "(2 of 20 videos have no flow: " in said
    assert f"({100 * result['missing']['flow']:.1f} % of the queries have no flow)" in said
    saved = np.load(place / f"runs/clips/{PLAIN}_episodes.npz", allow_pickle=False)
    lacks = np.isin(saved["video_ids"][saved["query_videos"]], lacking)
    assert 0 < lacks.mean() == pytest.approx(result["missing"]["flow"])
    np.testing.assert_allclose(saved["amfir/flow/posterior"][lacks], 0.2, atol=1e-3)
    assert not saved["amfir/flow/weight"][lacks].any()
    fused, rgb = saved["amfir/posterior"][lacks], saved["amfir/rgb/posterior"][lacks]
    np.testing.assert_allclose(fused.astype(float), rgb.astype(float), atol=2e-3)
    support_lacks = np.isin(saved["video_ids"][saved["support_videos"]], lacking).any(axis=(1, 2))
    answered = ~lacks & ~support_lacks[:, None]
    assert saved["amfir/flow/weight"][answered].all()
    assert result["models"]["flow_otam"]["accuracy_percent"] > 50
    said = error_of(capsys, "test", "--run", "runs/clips", "corrupt.flow=noise:0.1")
    assert "flow of method 'disk' is not made from frames" in said


def test_a_model_of_frames_beside_baselines_of_flow(world, trained_on_both, place, capsys):
    """Its training is the same, and a resume may add them."""
    arguments = small(world, *trained_on_both.stores, *FLOW)
    assert main(["train", "--cfg", "clips", "--quiet", *arguments, "output.name=alone"]) == 0
    beside = [*arguments, "evaluation.baselines=[flow_otam]"]
    assert main(["train", "--cfg", "clips", "--quiet", *beside, "output.name=beside"]) == 0
    first, second = ((place / f"runs/{name}/best.safetensors").read_bytes() for name in ("alone", "beside"))
    assert first == second
    (place / "runs/alone/training.json").unlink()
    assert main(["train", "--cfg", "clips", "--quiet", "--resume", *beside, "output.name=alone"]) == 0
    assert set(result_of(place / "runs/alone")["models"]) == {"flow_otam", "m2df"}
