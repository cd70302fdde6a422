"""`mdmf compare` from the folders of two runs to its table and files."""

import json

import numpy as np
import pytest
from simulated_answers import draw_episodes
from written_tests import write_test

from mdmf.cli import main


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs with a baseline each, on 30 episodes of 4 classes with 6 videos."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    videos = draw_episodes(rng, n=30, n_classes=4, n_videos=6, n_way=2, n_shot=1, n_query=1)
    for name in ("first", "second"):
        right = {model: rng.random(videos.query.shape) < 0.5 for model in ("otam", "m2df")}
        write_test(tmp_path / name, videos, right, protocol="2way_1shot_30episodes", classes=tuple("abcd"))
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


@pytest.mark.parametrize(
    ("ending", "part"), [("csv", "run,accuracy %"), ("md", "| run "), ("tex", "toprule"), ("html", "<table")]
)
def test_the_printed_tables_also_go_into_a_file(runs, capsys, ending, part):
    file = runs / f"table.{ending}"
    assert main(["compare", "first", "second", "--replicates", "100", "--table", str(file)]) == 0
    assert f"table:  {file}" in capsys.readouterr().out
    assert part in file.read_text()


def test_a_table_of_an_unknown_kind_is_refused_before_the_work(runs, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "first", "second", "--table", "a.xlsx"])
    assert stopped.value.code == 2
    assert "a.xlsx: expected a file name that ends with .csv, .md, .tex, .html" in capsys.readouterr().err


def test_what_a_user_can_mend_is_said(runs, capsys):
    for words, message in [
        (["first"], "a comparison needs at least two"),
        (["first", "third"], "'third' is not a run folder"),
        (["first", "second", "--protocol", "5way"], "has no test '5way'; it has 2way_1shot_30episodes"),
        (["first", "first:amfar"], "has no model 'amfar'"),
        (["first", "second", "evaluation.seed=1"], "compare takes no settings"),
    ]:
        assert main(["compare", *words]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said
