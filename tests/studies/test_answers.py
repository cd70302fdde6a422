from dataclasses import replace

import numpy as np
import pytest
from simulated_answers import draw_episodes
from written_tests import write_test

from mdmf.studies.answers import SavedAnswers, answers_of, check_same_episodes, protocols_of, read_saved_test

SIZES = {"n": 12, "n_classes": 3, "n_videos": 5, "n_way": 2, "n_shot": 1, "n_query": 1}


def draw(seed: int = 0, **sizes):
    return draw_episodes(np.random.default_rng(seed), **(SIZES | sizes))


ASKED = draw()
RIGHT = np.random.default_rng(1).random(ASKED.query.shape) < 0.5
NAMES = [f"{number}.mp4" for number in range(15)]


@pytest.fixture
def run(tmp_path):
    return write_test(tmp_path / "run", ASKED, {"otam": ~RIGHT, "m2df": RIGHT}, video_ids=NAMES)


def read_answers(folder, protocol: str, model: str | None = None) -> SavedAnswers:
    return answers_of(read_saved_test(folder, protocol), model)


def refused(tmp_path, run, asked, **written) -> str:
    """What is said of a run that was asked something else than `run`."""
    right = {"m2df": np.ones(asked.query.shape, bool)}
    written = {"video_ids": NAMES} | written
    other = write_test(tmp_path / "other", asked, right, **written)
    with pytest.raises(ValueError, match="other:m2df was tested on other episodes than run:m2df") as caught:
        check_same_episodes(read_answers(run, "2way_1shot"), read_answers(other, "2way_1shot"))
    return str(caught.value)


def test_the_runs_own_model_or_another_one(run):
    own, other = read_answers(run, "2way_1shot"), read_answers(run, "2way_1shot", "otam")
    assert (own.label, own.model, other.label) == ("run:m2df", "m2df", "run:otam")
    np.testing.assert_array_equal(own.is_correct, RIGHT)
    np.testing.assert_array_equal(other.is_correct, ~RIGHT)
    np.testing.assert_array_equal(own.test.episodes.support, ASKED.support)


def test_the_same_episodes_may_be_numbered_otherwise(tmp_path, run):
    """Another table of videos and another order of classes: what counts are names."""
    new = np.random.default_rng(2).permutation(15)
    turned = replace(ASKED, class_ids=2 - ASKED.class_ids, support=new[ASKED.support], query=new[ASKED.query])
    names = [NAMES[place] for place in np.argsort(new)]
    other = write_test(tmp_path / "b", turned, {"m2df": RIGHT}, video_ids=names, classes=("jump", "clap", "wave"))
    check_same_episodes(read_answers(run, "2way_1shot"), read_answers(other, "2way_1shot"))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n": 11}, "episodes: 11 instead of 12"),
        ({"n_way": 3}, "way: 3 instead of 2"),
        ({"n_shot": 2}, "shot: 2 instead of 1"),
        ({"n_query": 2}, "queries in an episode: 4 instead of 2"),
    ],
)
def test_another_number_is_named(tmp_path, run, sizes, message):
    assert message in refused(tmp_path, run, draw(**sizes))


def test_the_first_other_video_class_and_label_are_named(tmp_path, run):
    for field in ("support", "query"):
        videos = getattr(ASKED, field).copy()
        here = NAMES[videos[7].ravel()[1]]
        videos[7].reshape(-1)[1], videos[9] = 0, 1
        said = refused(tmp_path, run, replace(ASKED, **{field: videos}))
        assert f"{field} video 1 of episode 7 is '0.mp4' instead of {here!r}" in said
    labels = ASKED.labels.copy()
    labels[3] = labels[3][::-1]
    assert "label 0 of episode 3 is '1' instead of '0'" in refused(tmp_path, run, replace(ASKED, labels=labels))
    said = refused(tmp_path, run, ASKED, classes=("wave", "clap", "run"))
    assert "is 'run' instead of 'jump'" in said


def test_says_how_to_make_them_equal(tmp_path, run):
    (run / "config.yaml").write_text("")
    said = refused(tmp_path, run, draw(n=11), seed=3)
    lines = said.splitlines()
    command = (
        "evaluation.split=test evaluation.n_way=2 evaluation.n_shot=1 evaluation.n_query=1 evaluation.n_episodes=12 "
        "evaluation.seed=0 episode.group_disjoint=false 'evaluation.baselines=[otam]'"
    )
    assert lines[-2] == f"  mdmf test --run {run} {command}"
    assert lines[-1] == f"  mdmf test --cfg <its config> {command}"  # of a test without a run


def test_says_what_is_there_in_the_place_of_what_was_asked(tmp_path, run):
    write_test(run, ASKED, {"m2df": RIGHT}, protocol="5way_5shot")
    assert protocols_of(run) == ["2way_1shot", "5way_5shot"]
    with pytest.raises(FileNotFoundError, match="has no test '5way_1shot'; it has 2way_1shot, 5way_5shot"):
        read_answers(run, "5way_1shot")
    with pytest.raises(ValueError, match=r"test_2way_1shot.json has no model 'amfar'; it has otam, m2df"):
        read_answers(run, "2way_1shot", "amfar")
    (run / "test_5way_5shot_episodes.npz").unlink()
    assert protocols_of(run) == ["2way_1shot"]
    with pytest.raises(FileNotFoundError, match="has no test"):
        protocols_of(tmp_path)
