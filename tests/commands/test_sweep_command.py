"""`mdmf sweep` on a run of a tiny world, from its weights to tables and files."""

import csv
import json

import pytest

from mdmf.cli import main

SMALL = [
    *("training.n_steps=2", "training.episodes_per_step=1", "training.validate_every=2", "training.save_every=2"),
    *("training.validation_episodes=2", "training.device=cpu", "episode.n_query=1", "data.n_workers=0"),
    *("evaluation.n_episodes=10", "evaluation.after_training=false", "evaluation.baselines=[otam]"),
    *("model.hidden_size=16", "encoder.library=tiny", "encoder.model=tiny_clip", "encoder.weights=shipped"),
    *("encoder.device=cpu", "data.name=shapes", "data.class_split=shapes"),
]


@pytest.fixture(scope="module")
def run(shapes_world, tmp_path_factory):
    """A run on two videos of each class."""
    root = tmp_path_factory.mktemp("sweep")
    paths = [f"data.root={shapes_world}", f"sources.rgb.store={root / 'store'}", f"output.root={root / 'runs'}"]
    assert main(["train", "--cfg", "clips", "--quiet", *SMALL, *paths]) == 0
    return root / "runs" / "clips"


def test_tables_and_files_of_a_sweep(run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    words = ["sweep", "--run", str(run), "--shots", "1,2", "--ways", "10, 3,20", "--out", str(tmp_path), "--quiet"]
    assert main(words) == 0
    said = capsys.readouterr().out
    (file,) = tmp_path.glob("*.json")
    result = json.loads(file.read_text())
    assert set(result["models"]) == {"m2df", "otam"}
    for way in (3, 10):
        tested = json.loads((run / f"test_{way}way_1shot_10episodes.json").read_text())
        assert tested["settings"]["evaluation"]["n_way"] == way
        for model, numbers in result["models"].items():
            assert numbers[str(way)]["1"]["accuracy_percent"] == tested["models"][model]["accuracy_percent"]
            assert f"{numbers[str(way)]['1']['accuracy_percent']:.2f} ± " in said
    assert "(- 20-way 1-shot, 20-way 2-shot: split 'test' has 10 classes, needs n_way = 20; lower n_way" in said
    assert "(- 3-way 2-shot, 10-way 2-shot: class " in said
    for suffix in (".json", ".csv", ".svg"):
        assert f"result: {file.with_suffix(suffix)}" in said
    assert len(list(csv.DictReader(file.with_suffix(".csv").open()))) == 2 * 3 * 2


def test_no_plot_and_what_is_wrong(run, tmp_path, capsys):
    base = ["sweep", "--run", str(run), "--out", str(tmp_path), "--quiet", "--no-plot"]
    assert main([*base, "--shots", "1", "--ways", "4", "evaluation.baselines=[]"]) == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".csv"}
    capsys.readouterr()
    assert main([*base, "--shots", "2", "--ways", "3"]) == 2
    assert "too small for all of these episodes" in capsys.readouterr().err
    assert main([*base, "--shots", "1", "--ways", "3", "evaluation.n_way=3"]) == 2
    assert "is set by --ways" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*base, "--shots", "1,x", "--ways", "3"])
    assert "expected a number of at least 1, got 'x'" in capsys.readouterr().err
