"""The commands from videos to a table, and what they say of bad input."""

import contextlib
import io
import json
import os
import runpy
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from processes import start_process

from mdmf.cli import main
from mdmf.shapes.world import SHAPES_SPLIT

TOOLS = Path(__file__).resolve().parents[1] / "tools"
SMALL = [
    *("training.n_steps=6", "training.episodes_per_step=2", "training.validate_every=3", "training.save_every=2"),
    *("training.validation_episodes=10", "training.device=cpu", "episode.n_query=1", "data.n_workers=0"),
    *("evaluation.n_episodes=30", "evaluation.batch_episodes=7"),
    *("encoder.library=tiny", "encoder.model=tiny_clip", "encoder.weights=shipped", "encoder.device=cpu"),
]


@pytest.fixture(scope="module")
def world(shapes_world) -> Path:
    """Videos of twenty classes, two of each."""
    return shapes_world


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(root: Path, *more: str, store: Path | None = None) -> list[str]:
    """Words of a command; a method that is trained has a small head."""
    own_store = [] if store is None else [f"sources.rgb.store={store}"]
    names = [word.removeprefix("model.name=") for word in more if word.startswith("model.name=")]
    head = ["model.hidden_size=32"] if set(names) <= {"amfar", "amfir"} else []
    return [f"data.root={root}", "data.name=shapes", "data.class_split=shapes", *SMALL, *head, *own_store, *more]


@pytest.fixture(scope="module")
def store(world, tmp_path_factory) -> Path:
    """The features of the small world, made once."""
    folder = tmp_path_factory.mktemp("features") / "store"
    assert main(["extract", "--cfg", "clips", "--quiet", *small(world, store=folder)]) == 0
    return folder


@dataclass(frozen=True)
class TrainedOnBoth:
    """A run of rgb and flow in `folder`, where its features are, and what its command printed."""

    folder: Path
    stores: list[str]
    said: str


FLOW = ["sources.flow.step=2", "sources.flow.clip=6"]
BASELINES = ["zero_shot", "otam", "flow_otam", "late_otam"]


@pytest.fixture(scope="module")
def trained_on_both(world, store, tmp_path_factory) -> TrainedOnBoth:
    """AMFAR on the small world, from its videos to its table."""
    root = tmp_path_factory.mktemp("both")
    stores = [f"sources.rgb.store={store}", f"sources.flow.store={root / 'flow'}"]
    own = [*stores, *FLOW, "model.name=amfar", f"evaluation.baselines=[{', '.join(BASELINES)}]", f"output.root={root}"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["train", "--cfg", "clips", "--quiet", *small(world, *own)]) == 0
    return TrainedOnBoth(root / "clips", stores, said.getvalue())


@pytest.fixture
def run(trained_on_both, place) -> Path:
    """That run, to be tested by one test alone."""
    return Path(shutil.copytree(trained_on_both.folder, place / "run"))


@pytest.fixture(scope="module")
def flows(world, tmp_path_factory) -> Path:
    """Flow of another program's making, an array a video: a class moves in a direction of its own."""
    root = tmp_path_factory.mktemp("disk") / "flows"
    for number, folder in enumerate(sorted(path for path in world.iterdir() if path.is_dir())):
        (root / folder.name).mkdir(parents=True)
        angle = 2 * np.pi * number / 20
        for video in folder.iterdir():
            flow = np.zeros((27, 12, 12, 2), dtype=np.float32)
            flow[:, 2:8, 3:9] = 4 * np.array([np.cos(angle), np.sin(angle)])
            np.save(root / folder.name / f"{video.stem}.npy", flow)
    return root


def error_of(capsys, command: str, *arguments: str) -> str:
    """What a command that must fail says; it fails with code 2 and one message."""
    capsys.readouterr()
    assert main([command, "--quiet", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said
    return said


def run_script(name: str, words: Sequence[str], place: Path) -> None:
    """A script of tools/, as if it were started in `place`; what it prints is in `place`/printed.txt."""
    os.chdir(place)
    sys.argv = [name, *words]
    with Path("printed.txt").open("w") as printed, contextlib.redirect_stdout(printed):
        runpy.run_path(str(TOOLS / name), run_name="__main__")


def test_from_videos_to_a_table_and_again_from_the_run(world, place, monkeypatch):
    """The scripts themselves, as a user calls them; the second one in another process, which finds the features."""
    monkeypatch.setattr(sys, "argv", sys.argv)
    words = ["--cfg", "configs/clips.yaml", *small(world, "evaluation.baselines=[zero_shot, otam]")]
    with pytest.raises(SystemExit, match="0"):
        run_script("train.py", words, place)
    said = (place / "printed.txt").read_text()
    run = place / "runs" / "clips"
    result = json.loads((run / "test_5way_1shot_30episodes.json").read_text())
    assert set(result["models"]) == {"zero_shot", "otam", "m2df"}
    for name, numbers in result["models"].items():
        assert f"| {name}" in said
        assert f"{numbers['accuracy_percent']:.2f} ± {numbers['interval']:.2f}" in said
    for file in ("config.yaml", "environment.json", "metrics.jsonl", "best.safetensors", "last/state.pt"):
        assert (run / file).is_file()
    assert f"run folder: {run.relative_to(place)}" in said

    stores = {path: path.stat().st_mtime_ns for path in (place / "stores").iterdir()}
    words = ["--run", str(run), "evaluation.n_episodes=20", "evaluation.n_way=3"]
    process = start_process(run_script, "test.py", words, place)
    process.join(timeout=240)
    assert process.exitcode == 0
    assert "3-way 1-shot; 20 episodes" in (place / "printed.txt").read_text()
    assert {path: path.stat().st_mtime_ns for path in (place / "stores").iterdir()} == stores
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
    more = ["training.n_steps=24", "training.log_every=1", "training.n_threads=1", "evaluation.after_training=false"]
    arguments = small(world, *more, store=store)
    assert main(["train", "--cfg", "clips", "--quiet", *arguments, "output.name=whole"]) == 0
    resumed = ["--cfg", "clips", "--quiet", "--resume", *arguments, "output.name=killed"]
    process = start_process(run_script, "train.py", resumed, place)
    state = place / "runs/killed/last/state.pt"
    while not state.is_file() and process.is_alive():
        time.sleep(0.005)
    process.kill()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    assert not (place / "runs/killed/training.json").exists()
    assert main(["train", *resumed]) == 0
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


PLAIN = "test_5way_1shot_30episodes"


def result_of(folder: Path, name: str = PLAIN) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


class TestTwoSources:
    def test_from_videos_to_a_table(self, trained_on_both):
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

    def test_features_that_are_missing_or_lost_on_purpose(self, run, capsys):
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

    def test_no_flow_at_all_leaves_rgb(self, run):
        assert main(["test", "--run", str(run), "--quiet", "corrupt.flow=missing:1"]) == 0
        models, plain = result_of(run, f"{PLAIN}_flow-missing-1")["models"], result_of(run)["models"]
        assert models["amfar"]["accuracy_percent"] == plain["amfar"]["branches"]["rgb"]["accuracy_percent"]
        assert models["late_otam"]["accuracy_percent"] == plain["otam"]["accuracy_percent"]
        assert models["otam"] == plain["otam"]

    def test_harm_of_no_strength_gives_the_plain_numbers(self, run):
        assert main(["test", "--run", str(run), "--quiet", "corrupt.flow=missing:0", "corrupt.rgb=drop:0"]) == 0
        assert result_of(run, f"{PLAIN}_rgb-drop-0_flow-missing-0")["models"] == result_of(run)["models"]

    def test_frames_corrupted_for_both(self, run, trained_on_both, capsys):
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

    def test_frames_corrupted_for_one(self, run):
        assert main(["test", "--run", str(run), "--quiet", "corrupt.rgb=noise:0.1"]) == 0
        models = result_of(run, f"{PLAIN}_rgb-noise-0.1")["models"]
        assert models["flow_otam"] == result_of(run)["models"]["flow_otam"]

    def test_flow_from_disk_which_some_videos_lack(self, world, store, flows, place, capsys):
        """They are answered from rgb, also by a model that learned from both."""
        shutil.copytree(flows, place / "flows")
        lacking = [f"{SHAPES_SPLIT['test'][0]}/000.mp4", f"{SHAPES_SPLIT['test'][1]}/001.mp4"]
        for video_id in lacking:
            (place / "flows" / video_id).with_suffix(".npy").unlink()
        disk = ["sources.flow.method=disk", f"sources.flow.folder={place / 'flows'}", "model.name=amfir"]
        own = [*disk, "evaluation.baselines=[flow_otam]", f"sources.flow.store={place / 'disk'}"]
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
        assert "source 'flow' is not made from frames" in said

    def test_a_folder_of_flows_that_is_not_there(self, world, store, place, capsys):
        own = ["model.name=flow_otam", "sources.flow.method=disk", "sources.flow.folder=nowhere"]
        said = error_of(capsys, "test", "--cfg", "clips", *small(world, *own, store=store))
        assert "nowhere" in said
        assert "flow" in said
        own = ["model.name=flow_otam", "sources.flow.method=disk"]
        said = error_of(capsys, "test", "--cfg", "clips", *small(world, *own, store=store))
        assert "method 'disk' needs folder" in said

    @pytest.mark.parametrize(
        "change", ["sources.flow.clip=5", "sources.flow.drawing=channels", "sources.flow.encoder.weights=random"]
    )
    def test_weights_are_not_tested_on_flow_of_another_kind(self, run, capsys, change):
        said = error_of(capsys, "test", "--run", str(run), change)
        assert "was trained on other features" in said
        assert change.split("=")[0] in said

    def test_a_run_on_another_data_set(self, world, run, place, capsys):
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

    def test_extract_says_where_both_stores_are(self, world, trained_on_both, place, capsys):
        arguments = small(world, *trained_on_both.stores, *FLOW, "model.name=amfar")
        assert main(["extract", "--cfg", "clips", "--quiet", *arguments]) == 0
        said = capsys.readouterr().out
        assert "40 were there already" in said
        for source, where in zip(("rgb", "flow"), trained_on_both.stores, strict=True):
            assert f"feature store of {source}: {where.split('=')[1]}" in said

    @pytest.mark.parametrize("weight", ["0.3", "val"])
    def test_text_beside_a_model_that_looks_at_flow_alone(self, world, trained_on_both, place, weight):
        """The text is that of the frames' encoder: their features are needed too."""
        own = [*trained_on_both.stores, *FLOW, "model.name=flow_otam", f"model.text_weight={weight}"]
        own += ["evaluation.baselines=[]"]
        assert main(["test", "--cfg", "clips", "--quiet", *small(world, *own)]) == 0
        folder, name = place / "runs/clips-flow_otam-test", f"{PLAIN}_text_{weight}"
        assert list(result_of(folder, name)["models"]) == ["flow_otam"]
        assert main(["report", "--quiet", str(folder)]) == 0

    def test_a_model_of_frames_beside_baselines_of_flow(self, world, trained_on_both, place, capsys):
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

    def test_a_setting_of_another_model_is_refused(self, world, place, capsys):
        said = error_of(capsys, "train", "--cfg", "clips", *small(world, "model.strategy=mutual"))
        assert "model.strategy: unknown setting" in said
        said = error_of(capsys, "test", "--cfg", "clips", *small(world, "model.name=otam", "model.hidden_size=32"))
        assert "model.hidden_size: unknown setting" in said


@pytest.fixture
def few(world, place) -> list[str]:
    """Words that read five classes from `place`/videos, all of them as test classes."""
    for name in SHAPES_SPLIT["test"][:5]:
        shutil.copytree(world / name, place / "videos" / name)
    all_test = ["data.class_split=random", "data.split_fractions=[0,0,1]", "model.name=prototype"]
    return small(place / "videos", *all_test)


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

    def test_bad_videos_are_marked_with_their_reason_and_counted(self, few, place, capsys):
        good = (place / "videos/gather/000.mp4").read_bytes()
        (place / "videos/gather/text.mp4").write_text("this is no video")
        (place / "videos/gather/cut.mp4").write_bytes(good[: len(good) // 2])
        (place / "videos/gather/empty.mp4").write_bytes(b"")
        assert main(["extract", "--cfg", "clips", "--quiet", *few]) == 0
        said = capsys.readouterr().out
        assert "3 bad" in said
        for name in ("text", "cut", "empty"):
            assert f"bad: gather/{name}.mp4: " in said

    def test_short_videos_follow_the_named_policy(self, few, capsys):
        long = [*few, "frames.n_frames=64"]
        assert main(["test", "--cfg", "clips", "--quiet", *long]) == 0
        said = error_of(capsys, "test", "--cfg", "clips", *long, "frames.short_videos=refuse")
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

    def test_a_dangling_link_is_a_bad_video_not_the_end(self, few, place, capsys):
        (place / "videos/gather/link.mp4").symlink_to(place / "nowhere.mp4")
        assert main(["extract", "--cfg", "clips", "--quiet", *few]) == 0
        assert "bad: gather/link.mp4: " in capsys.readouterr().out

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
        assert "has 5 classes, needs n_way = 30; lower n_way (episode.n_way)" in said

    def test_groups_that_are_not_known(self, world, store, place, capsys):
        new = place / "new_store"
        said = error_of(capsys, "train", "--cfg", "clips", *small(world, "episode.group_disjoint=true", store=new))
        assert "needs the source recording of every video" in said
        assert not new.exists()  # it is said before anything is encoded

    def test_own_code_only_when_allowed(self, world, place, capsys):
        own = ["encoder.library=module", "encoder.model=my_code:make"]
        assert "--allow-code" in error_of(capsys, "extract", "--cfg", "clips", *small(world, *own))
