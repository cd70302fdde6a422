import json

import numpy as np
import pytest
from written_run import CLASSES, PROTOCOL, write_run

from mdmf.report.run_files import choose_protocol, find_results, read_run
from mdmf.training_log import Metrics


def test_everything_of_a_run_is_read(tmp_path):
    run = read_run(write_run(tmp_path / "run"))
    assert (run.label, run.files.protocol, run.model) == ("run", PROTOCOL, "m2df")
    assert run.classes == CLASSES
    assert run.branches == ["local", "global"]
    assert (len(run.metrics.train), len(run.metrics.val)) == (30, 3)  # the half-written last line is left out
    assert run.environment == {"python": "3.12"}
    assert run.evidence_arrays["selector/chosen"].shape == (40, 3)


def test_a_test_alone_has_no_training_and_its_own_environment(tmp_path):
    run = read_run(write_run(tmp_path / "run", training=False, evidence=False))
    assert (run.metrics, run.training) == (Metrics(), None)
    assert run.environment["python"] == "3.11"
    assert set(run.evidence.missing) == {"calibration", "selector", "embeddings", "boards"}


@pytest.mark.parametrize("changed", [f"test_{PROTOCOL}.json", f"evidence_{PROTOCOL}.npz"])
def test_evidence_of_another_result_is_not_shown(tmp_path, changed):
    folder = write_run(tmp_path / "run")
    path = folder / changed
    path.write_bytes(path.read_bytes() + b" ")
    run = read_run(folder)
    assert run.evidence.missing["boards"] == "the evidence is of another test result"
    assert run.evidence_arrays == {}


def test_the_plainest_protocol_is_chosen(tmp_path):
    folder = write_run(tmp_path / "run")
    plain = json.loads((folder / f"test_{PROTOCOL}.json").read_text())

    def add(name: str, **protocol) -> None:
        (folder / f"test_{name}.json").write_text(json.dumps(plain | {"protocol": plain["protocol"] | protocol}))

    add("a_noisy", corrupt="rgb:noise:0.2")
    add("a_val", split="val")
    add("5shot", n_shot=5, n_episodes=10_000)
    assert choose_protocol(folder, find_results(folder)) == "5shot"  # more episodes
    (folder / "config.yaml").write_text("episode: {n_way: 3, n_shot: 1}\n")
    assert choose_protocol(folder, find_results(folder)) == PROTOCOL  # as the run is set
    assert choose_protocol(folder, find_results(folder), "a_val") == "a_val"
    with pytest.raises(ValueError, match="has no test '9shot'; it has 3way_1shot_40episodes, 5shot, a_noisy, a_val"):
        choose_protocol(folder, find_results(folder), "9shot")


def test_episodes_of_something_else_are_not_shown_and_the_reason_is_kept(tmp_path):
    folder = write_run(tmp_path / "run")
    path = folder / f"test_{PROTOCOL}_episodes.npz"
    arrays = dict(np.load(path))
    np.savez(path, **(arrays | {"class_ids": arrays["class_ids"][:, :2]}))
    run = read_run(folder)
    assert run.episodes is None
    assert "expected class_ids (40, 3) of integers, got (40, 2) of int32" in run.episodes_problem
    path.unlink()
    assert "No such file" in read_run(folder).episodes_problem


def test_what_is_no_result_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere has no test result"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "test_a.json").write_text('{"models": {}}')
    with pytest.raises(ValueError, match=r"test_a.json is not the result of a test \(data: Field required\)"):
        read_run(tmp_path)
