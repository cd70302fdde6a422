"""The commands from videos to a table, and what they say of bad input."""

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

from mdmf.cli import main
from mdmf.data.shapes import SHAPES_SPLIT, write_shapes_world

TOOLS = Path(__file__).resolve().parents[1] / "tools"
SMALL = [
    *("training.n_steps=6", "training.episodes_per_step=2", "training.validate_every=3", "training.save_every=2"),
    *("training.validation_episodes=10", "training.device=cpu", "episode.n_query=1", "data.n_workers=0"),
    *("evaluation.n_episodes=30", "evaluation.batch_episodes=7", "model.hidden_size=32"),
    *("encoder.library=tiny", "encoder.model=tiny_clip", "encoder.weights=shipped", "encoder.device=cpu"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Two videos of each class of the embedded world, in the layout of anybody's folder of clips."""
    root = tmp_path_factory.mktemp("world") / "videos"
    write_shapes_world(root, n_videos_per_class=2, n_workers=1, progress=False)
    (root / "world.json").unlink()
    return root


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(root: Path, *more: str, store: Path | None = None) -> list[str]:
    own_store = [] if store is None else [f"data.store={store}"]
    return [f"data.root={root}", "data.name=shapes", "data.class_split=shapes", *SMALL, *own_store, *more]


@pytest.fixture(scope="module")
def store(world, tmp_path_factory) -> Path:
    """The features of the small world, made once."""
    folder = tmp_path_factory.mktemp("features") / "store"
    assert main(["extract", "--cfg", "clips", "--quiet", *small(world, store=folder)]) == 0
    return folder


def error_of(capsys, command: str, *arguments: str) -> str:
    """What a command that must fail says; it fails with code 2 and one message."""
    capsys.readouterr()
    assert main([command, "--quiet", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said
    return said


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
    assert "3-way 1-shot, 20 episodes" in again
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
    assert (place / "runs/clips/best.safetensors").stat().st_mtime_ns == weights
    assert main(["train", "--cfg", "clips", "--quiet", *arguments, "evaluation.after_training=false"]) == 0
    assert (place / "runs/clips-2/best.safetensors").is_file()


def test_resume_with_other_settings_is_refused(world, store, place, capsys):
    assert main(["train", "--cfg", "clips", "--quiet", *small(world, store=store)]) == 0
    said = error_of(capsys, "train", "--cfg", "clips", "--resume", *small(world, "training.seed=1", store=store))
    assert "training.seed: the run has 0, asked for 1" in said


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


class TestBadInput:
    """Each answer names the thing and says what to do; nothing is lost."""

    def test_missing_folder(self, place, capsys):
        said = error_of(capsys, "train", "--cfg", "clips", "data.root=nowhere", *SMALL)
        assert "nowhere does not exist; check the setting data.root" in said
        assert "data.root is not set" in error_of(capsys, "train", "--cfg", "clips")

    def test_misspelt_setting_and_config(self, place, capsys):
        assert "did you mean episode.n_shot?" in error_of(capsys, "train", "--cfg", "clips", "episode.n_shots=1")
        assert "shipped configs are" in error_of(capsys, "train", "--cfg", "clips_")

    def test_empty_class_and_too_few_videos(self, world, place, capsys):
        (place / "videos").mkdir()
        for name in SHAPES_SPLIT["test"]:
            shutil.copytree(world / name, place / "videos" / name)
        shutil.rmtree(place / "videos" / "gather")
        (place / "videos" / "gather").mkdir()
        (place / "videos" / "scatter" / "000.mp4").unlink()
        all_test = ["data.class_split=random", "data.split_fractions=[0,0,1]", "model.name=otam"]
        said = error_of(capsys, "test", "--cfg", "clips", *small(place / "videos", *all_test))
        assert "class 'scatter' of split 'test' has 1 usable videos, needs n_shot + n_query = 2" in said
        assert "lower n_shot or n_query, or drop the class" in said

    def test_bad_videos_are_marked_with_their_reason_and_counted(self, world, place, capsys):
        shutil.copytree(world, place / "videos")
        good = (place / "videos/grow/000.mp4").read_bytes()
        (place / "videos/grow/text.mp4").write_text("this is no video")
        (place / "videos/grow/cut.mp4").write_bytes(good[: len(good) // 2])
        (place / "videos/grow/empty.mp4").write_bytes(b"")
        assert main(["extract", "--cfg", "clips", "--quiet", *small(place / "videos")]) == 0
        said = capsys.readouterr().out
        assert "3 bad" in said
        for name in ("text", "cut", "empty"):
            assert f"bad: grow/{name}.mp4: " in said

    def test_short_videos_follow_the_named_policy(self, world, place, capsys):
        more = ["frames.n_frames=64", "model.name=prototype"]
        assert main(["test", "--cfg", "clips", "--quiet", *small(world, *more)]) == 0
        said = error_of(capsys, "test", "--cfg", "clips", *small(world, *more, "frames.short_videos=refuse"))
        assert "64" in said

    def test_prompts_that_miss_a_class(self, world, store, place, capsys):
        (place / "mine.yaml").write_text("templates: ['{}']\nclasses: {gathr: three shapes}\n")
        said = error_of(capsys, "train", "--cfg", "clips", *small(world, "data.prompts=mine.yaml", store=store))
        assert "gathr" in said
        assert "gather" in said

    def test_class_in_two_splits(self, world, place, capsys):
        (place / "split.yaml").write_text("train: [grow, shrink]\nval: [grow]\ntest: [gather]\n")
        said = error_of(capsys, "train", "--cfg", "clips", *small(world, "data.class_split=split.yaml"))
        assert "grow" in said
        assert "train" in said
        assert "val" in said

    def test_checkpoint_of_another_shape(self, world, store, place, capsys):
        assert main(["train", "--cfg", "clips", "--quiet", *small(world, store=store)]) == 0
        said = error_of(capsys, "test", "--run", "runs/clips", "model.hidden_size=16")
        assert "does not fit this model" in said
        assert "(32, 128), the model's is (16, 128)" in said
        said = error_of(capsys, "test", "--run", "runs/none")
        assert "is not a run folder" in said
        said = error_of(capsys, "test", "--cfg", "clips", *small(world, store=store))
        assert "needs a checkpoint" in said

    def test_store_made_with_other_settings_is_refused_and_kept(self, world, store, place, capsys):
        before = (store / "features.npy").read_bytes()
        said = error_of(capsys, "train", "--cfg", "clips", *small(world, "frames.n_frames=4", store=store))
        assert "n_frames: the store has 8, asked for 4" in said
        assert (store / "features.npy").read_bytes() == before

    def test_encoder_weights_that_cannot_be_had(self, world, place, capsys):
        started = time.perf_counter()
        online = ["encoder.library=open_clip", "encoder.model=ViT-B-32", "encoder.weights=openai"]
        said = error_of(capsys, "extract", "--cfg", "clips", *small(world, *online))
        assert "ViT-B-32" in said
        assert "openai" in said
        assert time.perf_counter() - started < 30

    def test_damaged_files_are_named(self, world, store, place, capsys):
        arguments = small(world, store=store)
        assert main(["train", "--cfg", "clips", "--quiet", *arguments, "evaluation.after_training=false"]) == 0
        (place / "runs/clips/training.json").unlink()
        state = place / "runs/clips/last/state.pt"
        for content in (b"", b"garbage", state.read_bytes()[:-50]):
            state.write_bytes(content)
            said = error_of(capsys, "train", "--cfg", "clips", "--resume", *arguments)
            assert "last/state.pt is not a training state of mdmf" in said
            assert "delete it to begin the run again" in said
        copy = place / "store"
        shutil.copytree(store, copy)
        for cached in (copy / "text").iterdir():
            cached.write_bytes(b"cut")
        assert main(["test", "--cfg", "clips", "--quiet", *small(world, "model.name=otam", store=copy)]) == 0
        for name, content in (("videos.csv", b""), ("features.npy", b"x"), ("manifest.json", b'{"format": 1}')):
            (copy / name).write_bytes(content)
            said = error_of(capsys, "test", "--cfg", "clips", *small(world, "model.name=otam", store=copy))
            assert str(copy) in said
            assert "delete" in said
            shutil.copy(store / name, copy / name)

    def test_a_dangling_link_is_a_bad_video_not_the_end(self, world, place, capsys):
        shutil.copytree(world, place / "videos")
        (place / "videos/grow/link.mp4").symlink_to(place / "nowhere.mp4")
        assert main(["extract", "--cfg", "clips", "--quiet", *small(place / "videos")]) == 0
        assert "bad: grow/link.mp4: " in capsys.readouterr().out

    def test_output_that_cannot_be_written_is_said_before_any_work(self, world, place, capsys):
        (place / "taken").touch()
        said = error_of(capsys, "train", "--cfg", "clips", *small(world, "output.root=taken"))
        assert "output.root=taken cannot be made a folder" in said
        assert not (place / "stores").exists()

    def test_weights_are_not_tested_on_other_features(self, world, store, place, capsys):
        assert main(["train", "--cfg", "clips", "--quiet", *small(world, store=store)]) == 0
        said = error_of(capsys, "test", "--run", "runs/clips", "encoder.weights=random")
        assert "was trained on other features" in said

    @pytest.mark.parametrize("word", ["n_steps=5", "training.n-steps", "badword", "--runs"])
    def test_a_word_that_means_nothing(self, place, capsys, word):
        said = error_of(capsys, "train", "--cfg", "clips", word)
        assert f"cannot read {word!r}" in said
        assert ("training.n_steps=…" in said) == ("steps" in word)

    def test_too_many_ways(self, world, store, place, capsys):
        said = error_of(capsys, "train", "--cfg", "clips", *small(world, "episode.n_way=30", store=store))
        assert "has 24 classes, needs n_way = 30; lower n_way" in said

    def test_groups_that_are_not_known(self, world, store, place, capsys):
        said = error_of(capsys, "train", "--cfg", "clips", *small(world, "episode.group_disjoint=true", store=store))
        assert "needs the source recording of every video" in said

    def test_own_code_only_when_allowed(self, world, place, capsys):
        own = ["encoder.library=module", "encoder.model=my_code:make"]
        assert "--allow-code" in error_of(capsys, "extract", "--cfg", "clips", *small(world, *own))
