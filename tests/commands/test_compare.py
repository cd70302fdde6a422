"""`mdmf compare` from the folders of two runs to its table and files."""

import json

import numpy as np
import pytest
from result_values import result_values

from mdmf.cli import main


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs with a baseline each, on 30 episodes of 4 classes with 6 videos."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    classes = rng.random((30, 4)).argsort(axis=1)[:, :2]
    videos = rng.random((30, 2, 6)).argsort(axis=2)[:, :, :2] + 6 * classes[..., None]
    asked = {"class_ids": classes, "support_videos": videos[..., :1], "query_videos": videos[..., 1]}
    asked |= {"query_labels": np.tile([0, 1], (30, 1)), "video_ids": np.array([f"{n}.mp4" for n in range(24)])}
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        answers = {f"{model}/predictions": rng.integers(0, 2, (30, 2)) for model in ("otam", "m2df")}
        np.savez(folder / "test_2way_1shot_30episodes_episodes.npz", **asked, **answers)
        protocol = {"split": "test", "n_way": 2, "n_shot": 1, "n_query": 1, "n_episodes": 30, "seed": 0}
        result = result_values(
            {model: {"per_class_percent": dict.fromkeys("abcd", 50.0)} for model in ("otam", "m2df")},
            settings={"model": {"name": "m2df"}, "evaluation": {"baselines": ["otam"]}},
            protocol=protocol | {"group_disjoint": False},
            checkpoint_sha256=name,
        )
        (folder / "test_2way_1shot_30episodes.json").write_text(json.dumps(result))
    return tmp_path


def test_from_run_folders_to_table_and_files(runs, capsys):
    assert main(["compare", "first", "second", "second:otam"]) == 0
    said = capsys.readouterr().out
    (written,) = (runs / "runs" / "compare").glob("*.json")
    assert f"result: {written.relative_to(runs)}" in said
    assert written.with_suffix(".csv").is_file()
    result = json.loads(written.read_text())
    assert [row["label"] for row in result["others"]] == ["second:m2df", "second:otam"]
    for row in result["others"]:
        assert f"{row['difference']:+.2f} ± {row['interval']:.2f}" in said
        assert f"[{row['videos_low']:+.2f}, {row['videos_high']:+.2f}]" in said


def test_options(runs, capsys):
    words = ["--model", "otam", "--protocol", "2way_1shot_30episodes", "--replicates", "100", "--seed", "5"]
    assert main(["compare", "first", "second:m2df", *words, "--json", "a.json", "--csv", "b.csv"]) == 0
    result = json.loads((runs / "a.json").read_text())
    assert (result["reference"]["label"], result["others"][0]["label"]) == ("first:otam", "second:m2df")
    assert (result["n_replicates"], result["seed"]) == (100, 5)
    assert (runs / "b.csv").read_text().startswith("run,reference,class,")
    assert not (runs / "runs").exists()


def test_what_a_user_can_mend_is_said(runs, capsys):
    for words, message in [
        (["first"], "a comparison needs two"),
        (["first", "third"], "'third' is no run folder"),
        (["first", "second", "--protocol", "5way"], "has no test '5way'; it has 2way_1shot_30episodes"),
        (["first", "first:amfar"], "it has no model 'amfar'"),
        (["first", "second", "evaluation.seed=1"], "compare takes no settings"),
    ]:
        assert main(["compare", *words]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said
