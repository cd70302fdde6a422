"""`mdmf report` on real, tiny runs: from a run folder to a page, also when videos, features or weights have gone."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from mdmf.cli import main
from mdmf.shapes.world import SHAPES_SPLIT

pytest.importorskip("matplotlib")
undrawn = pytest.mark.usefixtures("undrawn")
SMALL = [
    *("data.name=shapes", "data.class_split=shapes", "data.n_workers=0", "episode.n_way=3", "episode.n_query=1"),
    *("encoder.library=tiny", "encoder.model=tiny_clip", "encoder.weights=shipped", "encoder.device=cpu"),
    *("training.n_steps=4", "training.episodes_per_step=2", "training.validate_every=2", "training.log_every=1"),
    *("training.validation_episodes=10", "training.device=cpu", "evaluation.n_episodes=30"),
]
HEAD = "model.hidden_size=32"
NAME = "3way_1shot_30episodes"


@pytest.fixture(scope="module")
def world(shapes_videos, tmp_path_factory) -> Path:
    """A place with three videos of each of ten classes, and runs of three kinds of model."""
    place = tmp_path_factory.mktemp("world")
    for split, n_classes in (("train", 4), ("val", 3), ("test", 3)):
        for name in SHAPES_SPLIT[split][:n_classes]:
            shutil.copytree(shapes_videos / name, place / "videos" / name)
    common = [
        f"data.root={place / 'videos'}",
        f"sources.rgb.store={place / 'rgb'}",
        f"sources.flow.store={place / 'flow'}",
    ]
    common += [*SMALL, f"output.root={place / 'runs'}"]
    for name, more in (
        ("m2df", ["model.name=m2df", HEAD, "evaluation.baselines=[zero_shot, otam]"]),
        (
            "amfar",
            ["model.name=amfar", HEAD, "sources.flow.step=2", "sources.flow.clip=6", "evaluation.baselines=[otam]"],
        ),
    ):
        assert main(["train", "--cfg", "clips", "--quiet", *common, *more, f"output.name={name}"]) == 0
    otam = ["model.name=otam", "output.name=plain", "evaluation.baselines=[prototype]", "episode.n_shot=2"]
    assert main(["test", "--cfg", "clips", "--quiet", *common, *otam]) == 0
    return place


@pytest.fixture
def runs(world, tmp_path) -> Path:
    return Path(shutil.copytree(world / "runs", tmp_path / "runs"))


def report(capsys, *words: object) -> str:
    capsys.readouterr()
    assert main(["report", "--quiet", *map(str, words)]) == 0
    return capsys.readouterr().out


def _weights_of_its_own(folder: Path) -> None:
    """The copy of a run looks for its weights in no other place."""
    result = json.loads((folder / f"test_{NAME}.json").read_text())
    result["checkpoint"] = str(folder / "best.safetensors")
    (folder / f"test_{NAME}.json").write_text(json.dumps(result))


def evidence(folder: Path, name: str = NAME) -> dict:
    return json.loads((folder / f"evidence_{name}.json").read_text())


def test_a_page_of_a_trained_run_has_every_section_filled(runs, capsys):
    folder, csv = runs / "m2df", runs / "csv"
    said = report(capsys, folder, "--baseline", "zero_shot", "--markdown", runs / "t.md", "--csv", csv)
    assert said.splitlines()[0] == f"report: {folder / 'report.html'}"
    page = (folder / "report.html").read_text()
    assert "Missing" not in page
    assert "Does not apply" not in page
    assert "Gain over zero_shot" in page
    assert page.count("data:image/jpeg;base64,") == len(evidence(folder)["boards"]["strips"]) > 0
    assert len(page) < 5_000_000
    assert (runs / "t.md").read_text().startswith("# Report")
    assert (csv / "classes.csv").is_file()


def test_models_of_other_kinds_get_a_sensible_page(runs, capsys):
    amfar, plain = runs / "amfar", runs / "plain-otam-test"
    said = report(capsys, amfar, plain, "--out", runs / "both.html")
    assert "note" not in said
    page = (runs / "both.html").read_text()
    for part in ("Comparison", "Certainty, rgb", "Certainty, flow", "Before: mean frame features, flow"):
        assert part in page
    for reason in (
        "amfar gives no prompt to a query",
        "otam gives no prompt to a query",
        "This folder holds no training",
    ):
        assert f"{reason}" in page
    assert "After: mean tokens, flow" in page
    assert "After does not apply: otam compares the features as they are." in page
    assert "The first of 2 support videos is shown" in page
    assert "Missing" not in page


@undrawn
def test_two_runs_of_one_name_are_told_apart(runs, capsys):
    shutil.copytree(runs / "m2df", runs / "copy" / "m2df")
    report(capsys, runs / "m2df", runs / "copy" / "m2df", "--out", runs / "two.html")
    page = (runs / "two.html").read_text()
    assert ">runs/m2df</" in page
    assert ">copy/m2df</" in page


@undrawn
def test_the_page_is_made_again_without_videos_features_or_weights(world, runs, capsys, tmp_path):
    """What was gathered once stays; without it, each section says what is not there."""
    folder = runs / "m2df"
    report(capsys, folder)
    page = (folder / "report.html").read_text()
    result = json.loads((folder / f"test_{NAME}.json").read_text())
    result["settings"]["data"]["root"] = str(tmp_path / "gone")
    (folder / f"test_{NAME}.json").write_text(json.dumps(result))
    said = report(capsys, folder)
    assert f"note: m2df: no boards: there is no folder of videos {tmp_path / 'gone'} " in said
    bare = (folder / "report.html").read_text()
    for part in ("Prompts chosen", "Story boards", "Features in two dimensions"):
        assert part in bare
    assert bare.count("Missing: there is no folder of videos") == 3
    assert "Calibration" in bare  # of the test's own answers
    assert len(bare) < len(page)


@undrawn
def test_gathered_evidence_outlives_the_weights(runs, capsys):
    folder = runs / "m2df"
    _weights_of_its_own(folder)
    report(capsys, folder)
    first = (folder / "report.html").read_text()
    (folder / "best.safetensors").unlink()
    report(capsys, folder)
    assert (folder / "report.html").read_text() == first
    (folder / f"evidence_{NAME}.npz").unlink()
    said = report(capsys, folder)
    assert "the tested weights" in said
    assert "are missing or have changed" in said


@undrawn
def test_other_weights_are_not_shown_as_those_that_were_tested(runs, capsys):
    folder = runs / "m2df"
    path = folder / "best.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    _weights_of_its_own(folder)
    assert "the tested weights" in report(capsys, folder)


@undrawn
@pytest.mark.parametrize("lost", ["rgb", "rgb/text"])
def test_nothing_is_encoded_for_a_report(world, runs, capsys, lost, monkeypatch):
    """Features or texts that are gone are not made again."""
    hidden = world / "hidden"
    (world / lost).rename(hidden)
    try:
        before = {path.name for path in world.iterdir()}
        said = report(capsys, runs / "m2df")
        assert {path.name for path in world.iterdir()} == before
    finally:
        hidden.rename(world / lost)
    assert "note: m2df: no selector: " in said
    assert ("no feature store in" in said) == (lost == "rgb")
    assert ("a report does not compute them" in said) == (lost == "rgb/text")


@undrawn
def test_changed_videos_are_noticed(world, runs, capsys):
    folder = runs / "m2df"
    path = folder / f"test_{NAME}_episodes.npz"
    arrays = dict(np.load(path))
    arrays["query_videos"] = arrays["query_videos"][::-1]
    np.savez_compressed(path, **arrays)
    assert "the videos or their splits have changed since the test" in report(capsys, folder)


@undrawn
def test_answers_that_are_not_the_tests_are_not_drawn(runs, capsys):
    folder = runs / "m2df"
    path = folder / f"test_{NAME}_episodes.npz"
    arrays = dict(np.load(path))
    arrays["m2df/posterior"] = np.roll(arrays["m2df/posterior"], 1, axis=-1)
    np.savez_compressed(path, **arrays)
    said = report(capsys, folder)
    assert "no boards: the answers of the model differ from those of the test" in said
    assert "no selector" not in said


OWN = """
from mdmf.models.registry import register
from mdmf.models.zoo.m2df import M2dfSettings, make_m2df

@register("own_m2df", M2dfSettings, citation="mine", reads_text=True)
def make(settings, features):
    return make_m2df(settings, features)
"""


@undrawn
def test_a_method_of_ones_own_is_shown_after_consent(runs, capsys, write_module):
    """CLIP-M2DF under another name: without consent nothing of the user's is imported, and the note says what to do."""
    folder, name = runs / "m2df", write_module("own_of_report", OWN)
    path = folder / f"test_{NAME}.json"
    result = json.loads(path.read_text())
    options = {key: result["settings"]["model"][key] for key in ("hidden_size", "n_heads")}
    result |= {"model": name}
    result["settings"]["model"] = {"name": "module", "module": name, "options": options}
    result["models"][name] = result["models"].pop("m2df")
    path.write_text(json.dumps(result))
    episodes = folder / f"test_{NAME}_episodes.npz"
    arrays = {key.replace("m2df/", f"{name}/"): array for key, array in np.load(episodes).items()}
    np.savez_compressed(episodes, **arrays)
    assert "needs your consent" in report(capsys, folder)
    assert "own_of_report" not in sys.modules
    assert "note" not in report(capsys, folder, "--allow-code")
    assert {"selector", "embeddings", "boards"} <= evidence(folder).keys()


OWN_DISTANCE = """
from mdmf.models.registry import register
from mdmf.models.zoo.nearest import NearestSettings, make_nearest

@register("own_otam", NearestSettings, citation="mine", kind="training-free")
def make(settings, features):
    return make_nearest(settings.model_copy(update={"name": "otam"}), features)
"""


def test_a_method_of_ones_own_that_is_not_trained_is_tested_and_shown(world, capsys, tmp_path, write_module):
    words = [f"data.root={world / 'videos'}", f"data.store={world / 'rgb'}", *SMALL, f"output.root={tmp_path}"]
    words += ["model.name=module", f"model.module={write_module('own_distance', OWN_DISTANCE)}"]
    assert main(["test", "--cfg", "clips", "--quiet", "--allow-code", *words, "evaluation.baselines=[otam]"]) == 0
    folder = tmp_path / "clips-own_distance-test"
    models = json.loads((folder / f"test_{NAME}.json").read_text())["models"]
    assert models["own_distance"]["accuracy_percent"] == models["otam"]["accuracy_percent"]
    assert "note" not in report(capsys, folder, "--allow-code")
    assert evidence(folder)["boards"]["strips"]


@undrawn
def test_bad_words_are_answered(runs, capsys):
    def error(*words: object) -> str:
        capsys.readouterr()
        assert main(["report", "--quiet", *map(str, words)]) == 2
        return capsys.readouterr().err

    assert "has no test result" in error(runs / "nowhere")
    assert f"has no test '5way'; it has {NAME}" in error(runs / "m2df", "--protocol", "5way")
    assert "has no baseline 'bi_mhm'" in error(runs / "m2df", "--baseline", "bi_mhm")
    assert "a run is given twice" in error(runs / "m2df", runs / "m2df" / ".." / "m2df")
    assert "takes no settings" in error(runs / "m2df", "episode.n_shot=1")


@undrawn
def test_a_video_that_cannot_be_read_costs_its_frames_alone_and_the_rest_is_kept(world, runs, capsys):
    """What was gathered before the videos went is better than nothing, also where it lacks a part."""
    folder, videos, hidden = runs / "m2df", world / "videos", world / "elsewhere"
    report(capsys, folder)
    strips = evidence(folder)["boards"]["strips"]
    (folder / f"evidence_{NAME}.json").unlink()
    content = (videos / strips[0]).read_bytes()
    try:
        (videos / strips[0]).write_bytes(b"no video")
        report(capsys, folder)
        first = (folder / "report.html").read_text()
        videos.rename(hidden)
        report(capsys, folder)
        assert (folder / "report.html").read_text() == first
    finally:
        hidden.rename(videos)
        (videos / strips[0]).write_bytes(content)
    assert f"Missing: the frames of {strips[0]}: " in first
    assert evidence(folder)["boards"]["strips"] == strips[1:]
    assert 'class="lost"' in first
    report(capsys, folder)  # the video is back
    assert evidence(folder)["boards"]["frame_problems"] == {}
    assert 'class="lost"' not in (folder / "report.html").read_text()
