import copy
import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from result_values import result_values

from mdmf.config import check_settings
from mdmf.data.episodes import EpisodeSampler
from mdmf.engine import tester
from mdmf.engine.run_folder import RunFolder
from mdmf.files import file_sha256, write_json
from mdmf.results import Result
from mdmf.studies import sweep
from mdmf.studies.sweep import run_sweep

N_VIDEOS = (7, 4, 7, 9)  # of each class that the index lists


class FakeWorkspace:
    """Four classes, of which one video of the last cannot be read; counts how often it is opened."""

    opened = 0

    def __init__(self, settings, **_):
        type(self).opened += 1
        self.settings, self.sources, self.stores = settings, ("rgb",), SimpleNamespace(readers={})

    @property
    def index(self):
        return "there"

    def split(self, split, *, role):
        return SimpleNamespace(sampler=lambda request: self.sampler(split, request, n_lost=1))

    def sampler(self, split, request, *, n_lost):
        counts = np.array(N_VIDEOS) - [0, 0, 0, n_lost]
        class_ids = np.repeat(np.arange(4), counts)
        return EpisodeSampler(class_ids, class_names=["a", "b", "c", "d"], split=split, **asdict(request))

    def check_episodes(self, split, request):
        self.sampler(split, request, n_lost=0)

    def with_episodes_of(self, settings):
        other = copy.copy(self)
        other.settings = settings
        return other


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of 3-way 1-shot; a test of it costs an accuracy that says what was asked."""
    tested = []

    def run_test(workspace, *, checkpoint, folder, protocol):
        assert workspace.settings.evaluation.n_way in (None, protocol.n_way)
        tested.append((protocol.n_way, protocol.n_shot))
        numbers = {"accuracy_percent": 10.0 * protocol.n_way + protocol.n_shot, "interval": 0.5}
        result = result_values(
            {"otam": numbers, "m2df": numbers | {"accuracy_percent": 99.0}},
            settings=workspace.settings.model_dump(mode="json"),
            checkpoint_sha256=file_sha256(checkpoint),
        )
        write_json(folder / f"test_{protocol.name}.json", result)
        (folder / f"test_{protocol.name}_episodes.npz").touch()
        return Result.model_validate(result)

    monkeypatch.setattr(tester, "run_test", run_test)
    monkeypatch.setattr(sweep, "Workspace", FakeWorkspace)
    monkeypatch.setattr(FakeWorkspace, "opened", 0)
    values = {"episode": {"n_way": 3, "n_query": 2}, "evaluation": {"baselines": ["otam"]}}
    values |= {"output": {"root": str(tmp_path / "runs"), "name": "small"}}
    made = RunFolder.create(check_settings(values, source="test"))
    made.best.write_bytes(b"weights")
    made.summary.write_text("{}")
    return made, tested


def ask(run, tmp_path, *overrides, ways=(3, 2), shots=(1, 2), n_query=1):
    return run_sweep(
        run.folder, ways=ways, shots=shots, n_query=n_query, out=tmp_path / "out", overrides=overrides, progress=False
    )


def test_every_way_with_every_shot_in_one_workspace(run, tmp_path):
    made, tested = run
    result = ask(made, tmp_path)
    assert tested == [(2, 1), (2, 2), (3, 1), (3, 2)]
    assert FakeWorkspace.opened == 1
    assert result["models"]["otam"]["2"] == {
        "1": {"accuracy_percent": 21.0, "interval": 0.5},
        "2": {"accuracy_percent": 22.0, "interval": 0.5},
    }
    assert set(result["models"]) == {"otam", "m2df"}
    assert (result["ways"], result["shots"], result["impossible"]) == ([2, 3], [1, 2], [])
    assert {path.name for path in made.folder.glob("test_*.json")} == {
        *("test_2way_1shot.json", "test_2way_2shot.json", "test_3way_1shot.json", "test_3way_2shot.json")
    }
    (written,) = (tmp_path / "out").glob("sweep_small_*.json")
    assert result["file"] == str(written)
    assert json.loads(written.read_text()) == result


def test_what_is_there_is_not_tested_again_unless_the_weights_changed(run, tmp_path):
    made, tested = run
    ask(made, tmp_path)
    ask(made, tmp_path, ways=(2, 3, 4))
    assert tested[4:] == [(4, 1), (4, 2)]
    made.best.write_bytes(b"other weights")
    ask(made, tmp_path, ways=(2,))
    assert tested[6:] == [(2, 1), (2, 2)]
    ask(made, tmp_path, "evaluation.n_episodes=50", ways=(2,), shots=(1,))
    ask(made, tmp_path, ways=(2,), shots=(1,), n_query=2)
    assert tested[8:] == [(2, 1), (2, 1)]


def test_the_runs_own_test_is_found(run, tmp_path):
    """Its settings name no way: the sweep must not name it either where it is the run's own."""
    made, tested = run
    write_json(
        made.folder / "test_3way_1shot.json",
        result_values(
            {"m2df": {}},
            settings=made.settings().model_dump(mode="json"),
            checkpoint_sha256=file_sha256(made.best),
        ),
    )
    (made.folder / "test_3way_1shot_episodes.npz").touch()
    assert ask(made, tmp_path, ways=(3,), shots=(1,))["models"]["m2df"]["3"]["1"]["accuracy_percent"] == 50
    assert not tested
    (made.folder / "test_3way_1shot_episodes.npz").unlink()  # compare and report would miss them
    ask(made, tmp_path, ways=(3,), shots=(1,))
    assert tested == [(3, 1)]


def test_what_the_data_cannot_give_is_left_out_with_its_reason(run, tmp_path):
    """Class b has 4 videos."""
    made, tested = run
    result = ask(made, tmp_path, ways=(2, 5), shots=(3, 4))
    assert tested == [(2, 3)]
    assert [(one["n_way"], one["n_shot"]) for one in result["impossible"]] == [(2, 4), (5, 3), (5, 4)]
    reasons = [one["reason"] for one in result["impossible"]]
    assert reasons[0] == "class 'b' of split 'test' has 4 usable videos, needs n_shot + n_query = 5"
    assert reasons[1] == "split 'test' has 4 classes, needs n_way = 5; lower n_way (episode.n_way)"


def test_a_video_that_cannot_be_read_makes_a_shot_impossible(run, tmp_path, monkeypatch):
    """Every class lists 9 videos, of which d has 8 that can be read: only the features know."""
    monkeypatch.setattr("test_sweep.N_VIDEOS", (9, 9, 9, 9))
    made, tested = run
    (one,) = ask(made, tmp_path, ways=(2,), shots=(7, 8))["impossible"]
    assert one["reason"] == "class 'd' of split 'test' has 8 usable videos, needs n_shot + n_query = 9"
    assert tested == [(2, 7)]


def test_an_error_where_nothing_is_possible(run, tmp_path):
    made, tested = run
    with pytest.raises(ValueError, match="too small for all of these episodes") as caught:
        ask(made, tmp_path, ways=(5,), shots=(1, 9))
    assert "  5-way 9-shot: split 'test' has 4 classes" in str(caught.value)
    with pytest.raises(ValueError, match=r"2-way 9-shot: class 'a' .* n_query = 10, and others likewise"):
        ask(made, tmp_path, ways=(2,), shots=(9,))
    assert not tested
    assert not (tmp_path / "out").exists()


def test_other_errors_are_not_taken_for_impossible_episodes(run, tmp_path, monkeypatch):
    class NoData(FakeWorkspace):
        @property
        def index(self):
            raise ValueError("data.root is not set")

    monkeypatch.setattr(sweep, "Workspace", NoData)
    with pytest.raises(ValueError, match=r"^data\.root is not set"):
        ask(run[0], tmp_path)


def test_refuses_an_unfinished_run_and_sizes_set_twice(run, tmp_path):
    made, tested = run
    for name in ("n_way", "n_shot", "n_query"):
        with pytest.raises(ValueError, match=f"evaluation.{name} is set by --ways, --shots and --queries"):
            ask(made, tmp_path, f"evaluation.{name}=2")
    made.summary.unlink()
    with pytest.raises(ValueError, match="has not finished training"):
        ask(made, tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        run_sweep(tmp_path, ways=[2], shots=[1], n_query=1, out=tmp_path)
    assert not tested
