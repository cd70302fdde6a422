import csv
import json

import numpy as np
import pytest
from simulated_answers import draw_episodes
from written_tests import CLASSES, write_test

from mdmf.results import EpisodeVideos
from mdmf.studies.comparison import ModelOfRun, compare, comparison_tables, read_all, write_comparison

ASKED = draw_episodes(np.random.default_rng(0), n=40, n_classes=3, n_videos=5, n_way=2, n_shot=1, n_query=1)
RNG = np.random.default_rng(1)
REFERENCE, BETTER = RNG.random(ASKED.query.shape) < 0.4, RNG.random(ASKED.query.shape) < 0.7


@pytest.fixture
def run(tmp_path):
    return write_test(tmp_path / "run", ASKED, {"otam": REFERENCE, "m2df": BETTER})


def by_hand(tmp_path):
    """Three episodes of two queries: the other is right in 4 of 6, the reference in 3."""
    classes = np.array([[0, 1], [1, 0], [0, 1]])
    videos = 3 * classes + np.arange(3)[:, None]
    asked = EpisodeVideos(classes, ((videos + 1) % 3 + 3 * classes)[..., None], videos, np.tile([0, 1], (3, 1)))
    reference = np.array([[True, False], [True, True], [False, False]])
    other = np.array([[True, True], [False, True], [False, True]])
    folder = write_test(tmp_path / "hand", asked, {"otam": reference, "m2df": other})
    return compare(read_all([ModelOfRun(folder, "otam"), ModelOfRun(folder, "m2df")]))


def test_two_models_of_one_run_by_hand(tmp_path):
    """Differences of the episodes: +50, -50, +50; of class wave: 0, 0, 0; of class clap: +100, -100, +100."""
    result = by_hand(tmp_path)
    (row,) = result["others"]
    assert (result["reference"]["label"], row["label"]) == ("hand:otam", "hand:m2df")
    assert (row["accuracy_percent"], row["reference_percent"]) == (pytest.approx(400 / 6), 50)
    assert row["difference"] == pytest.approx(100 / 6)
    assert row["interval"] == pytest.approx(1.96 * np.std([50, -50, 50], ddof=1) / np.sqrt(3))
    assert row["episodes"] == {"win": 2, "tie": 0, "loss": 1}
    assert row["queries"] == {"win": 2, "both_right": 2, "both_wrong": 1, "loss": 1}
    assert list(row["classes"]) == ["wave", "clap"]  # jump was never asked
    wave, clap = row["classes"].values()
    assert (wave["difference"], wave["interval"], wave["n_queries"]) == (0, 0, 3)
    assert clap["difference"] == pytest.approx(100 / 3)
    assert clap["interval"] == pytest.approx(1.96 * np.std([100, -100, 100], ddof=1) / np.sqrt(3))
    assert (result["n_episodes"], result["n_videos"], result["n_classes"]) == (3, 6, 2)


def test_class_differences_add_up_to_the_whole(run):
    (row,) = compare(read_all([ModelOfRun(run, "otam"), ModelOfRun(run)]))["others"]
    n_queries = sum(of["n_queries"] for of in row["classes"].values())
    assert n_queries == row["n_queries"] == 80
    assert sum(of["difference"] * of["n_queries"] for of in row["classes"].values()) == pytest.approx(
        row["difference"] * n_queries
    )
    assert row["difference"] == pytest.approx(100 * (BETTER.mean() - REFERENCE.mean()))
    queries = row["queries"]
    assert row["difference"] == pytest.approx(100 * (queries["win"] - queries["loss"]) / 80)


def test_swapping_reference_and_run_swaps_wins_and_losses(run):
    (one,) = compare(read_all([ModelOfRun(run, "otam"), ModelOfRun(run)]))["others"]
    (other,) = compare(read_all([ModelOfRun(run), ModelOfRun(run, "otam")]))["others"]
    assert other["difference"] == -one["difference"]
    assert other["interval"] == pytest.approx(one["interval"])
    for what in ("episodes", "queries"):
        assert (other[what]["win"], other[what]["loss"]) == (one[what]["loss"], one[what]["win"])


def test_what_is_named():
    with pytest.raises(FileNotFoundError, match="'nowhere' is not a run folder; expected RUN, or RUN:MODEL"):
        ModelOfRun.parse("nowhere")
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        ModelOfRun.parse("nowhere:otam")


def test_a_run_a_model_of_it_and_a_folder_with_a_colon(tmp_path, run):
    assert ModelOfRun.parse(str(run)) == ModelOfRun(run)
    assert ModelOfRun.parse(str(run), model="otam") == ModelOfRun(run, "otam")
    assert ModelOfRun.parse(f"{run}:otam", model="m2df") == ModelOfRun(run, "otam")
    colon = tmp_path / "a:otam"
    colon.mkdir()
    assert ModelOfRun.parse(str(colon)) == ModelOfRun(colon)
    assert ModelOfRun.parse(f"{colon}:m2df") == ModelOfRun(colon, "m2df")
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        ModelOfRun.parse(f"{run}:")


def test_which_test_is_meant(tmp_path, run):
    other = write_test(tmp_path / "other", ASKED, {"m2df": BETTER}, protocol="2way_1shot_text_0.3")
    both = [ModelOfRun(run), ModelOfRun(other)]
    assert [one.test.protocol for one in read_all(both)] == [
        "2way_1shot",
        "2way_1shot_text_0.3",
    ]  # the only one of each
    write_test(run, ASKED, {"m2df": REFERENCE}, protocol="2way_1shot_text_0.3")
    assert [one.test.protocol for one in read_all(both)] == ["2way_1shot_text_0.3"] * 2  # the only common one
    write_test(other, ASKED, {"m2df": BETTER})
    with pytest.raises(ValueError, match="the folders have several tests") as caught:
        read_all(both)
    assert f"{run}: 2way_1shot, 2way_1shot_text_0.3" in str(caught.value)
    assert [one.test.protocol for one in read_all(both, ["2way_1shot"])] == ["2way_1shot"] * 2
    two = read_all([ModelOfRun(run), ModelOfRun(run)], ["2way_1shot", "2way_1shot_text_0.3"])
    assert [one.label for one in two] == [f"{run}:m2df (2way_1shot)", f"{run}:m2df (2way_1shot_text_0.3)"]
    with pytest.raises(ValueError, match="one for each of the 2 runs, got 3"):
        read_all(both, ["a", "b", "c"])


def test_labels_are_as_long_as_they_must_be(tmp_path, run):
    same_name = write_test(tmp_path / "elsewhere" / "run", ASKED, {"m2df": BETTER})
    assert [one.label for one in read_all([ModelOfRun(run), ModelOfRun(same_name)])] == [
        f"{run}:m2df",
        f"{same_name}:m2df",
    ]


def test_refuses_one_alone_one_twice_and_other_episodes(tmp_path, run):
    with pytest.raises(ValueError, match="a comparison needs at least two"):
        read_all([ModelOfRun(run)])
    with pytest.raises(ValueError, match="run:m2df is given twice"):
        read_all([ModelOfRun(run), ModelOfRun(run / ".." / "run", "m2df")])
    query = ASKED.query.copy()
    query[5] = ASKED.support[5, :, 0]
    moved = EpisodeVideos(ASKED.class_ids, ASKED.support, query, ASKED.labels)
    other = write_test(tmp_path / "other", moved, {"m2df": BETTER})
    with pytest.raises(ValueError, match="query video 0 of episode 5 is"):
        read_all([ModelOfRun(run), ModelOfRun(run, "otam"), ModelOfRun(other)])


def test_table_csv_and_json_say_the_same(run, tmp_path):
    result = compare(read_all([ModelOfRun(run, "otam"), ModelOfRun(run)]), n_replicates=200, seed=1)
    files = write_comparison(result, out=tmp_path / "out")
    assert [file.suffix for file in files] == [".json", ".csv"]
    assert {file.parent for file in files} == {tmp_path / "out"}
    assert json.loads(files[0].read_text()) == result
    lines = list(csv.DictReader(files[1].read_text().splitlines()))
    assert [line["class"] for line in lines] == ["", *CLASSES]
    table = "\n".join(table.text() for table in comparison_tables(result))
    (row,) = result["others"]
    for line, of in zip(lines, [row, *row["classes"].values()], strict=True):
        assert (line["run"], line["reference"]) == ("run:m2df", "run:otam")
        for key in ("accuracy_percent", "difference", "interval", "videos_low", "videos_high"):
            assert float(line[key]) == of[key]
        assert f"{of['difference']:+.2f} ± {of['interval']:.2f}" in table
        assert f"[{of['videos_low']:+.2f}, {of['videos_high']:+.2f}]" in table
    named = write_comparison(result, out=tmp_path, json_file=tmp_path / "a.json", csv_file=tmp_path / "b" / "c.csv")
    assert named == [tmp_path / "a.json", tmp_path / "b" / "c.csv"]
    assert all(file.is_file() for file in named)


def test_where_videos_are_too_few_the_table_says_so(tmp_path):
    asked = draw_episodes(np.random.default_rng(0), n=8, n_classes=3, n_videos=2, n_way=2, n_shot=1, n_query=1)
    folder = write_test(tmp_path / "run", asked, {"otam": asked.query > 2, "m2df": asked.query > 1})
    result = compare(read_all([ModelOfRun(folder, "otam"), ModelOfRun(folder)]))
    assert result["others"][0]["videos_low"] is None
    assert (
        "(no interval over videos: it needs at least shots + 2 videos of every class)"
        in comparison_tables(result)[-1].text()
    )
    assert json.loads(write_comparison(result, out=tmp_path)[0].read_text())["others"][0]["videos_high"] is None
