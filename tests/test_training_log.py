import json

import pytest

from mdmf.training_log import (
    Metrics,
    TrainingSummary,
    TrainRow,
    ValRow,
    append_metrics,
    cut_metrics,
    read_environment,
    read_metrics,
    read_training,
    write_training,
)

TRAIN = {"kind": "train", "step": 1, "loss": 0.5, "distill_loss": 0.25, "learning_rate": 0.125}
VAL = {"kind": "val", "step": 2, "accuracy_percent": 50.0, "interval": 1.5, "is_best": True}


def test_rows_of_metrics_read_back_in_order(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == Metrics()
    for row in (TRAIN, VAL, TRAIN | {"step": 3}):
        append_metrics(path, row)
    metrics = read_metrics(path)
    assert metrics == Metrics([TrainRow(**TRAIN), TrainRow(**TRAIN | {"step": 3})], [ValRow(**VAL)])
    assert metrics.train[0].numbers == {"loss": 0.5, "distill_loss": 0.25, "learning_rate": 0.125}
    with pytest.raises(ValueError, match="Out of range float"):
        append_metrics(path, {"loss": float("nan")})


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "train", "st',
        "",
        "[1]",
        json.dumps({"kind": "other", "step": 1, "loss": 1.0}),
        json.dumps(TRAIN | {"step": -1}),
        json.dumps(TRAIN | {"step": "1"}),
        json.dumps({"kind": "train", "step": 1}),
        json.dumps(TRAIN | {"distill_loss": "a lot"}),
        json.dumps({key: value for key, value in VAL.items() if key != "is_best"}),
    ],
)
def test_half_written_and_foreign_lines_are_left_out(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f"{json.dumps(TRAIN)}\n{line}")
    assert read_metrics(path) == Metrics([TrainRow(**TRAIN)])


def test_metrics_after_the_resumed_step_and_half_lines_are_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    cut_metrics(path, 2)
    assert not path.exists()
    for step in (1, 2, 3):
        append_metrics(path, {"kind": "train", "step": step})
    with path.open("a") as file:
        file.write('{"kind": "tr')
    cut_metrics(path, 2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_the_summary_of_a_training_reads_back(tmp_path):
    path = tmp_path / "training.json"
    assert read_training(path) is None
    summary = TrainingSummary(n_steps=30, best_step=20, best_val_accuracy_percent=62.5, stopped_early=False)
    write_training(path, summary)
    assert read_training(path) == summary
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"training.json is not the summary of a training \(n_steps: Field required\)"):
        read_training(path)


def test_the_environment_is_any_dictionary(tmp_path):
    path = tmp_path / "environment.json"
    assert read_environment(path) == {}
    path.write_text('{"python": "3.12", "packages": {"numpy": "2"}, "cuda": null}')
    assert read_environment(path) == {"python": "3.12", "packages": {"numpy": "2"}, "cuda": None}
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"environment.json is not a record of versions and hardware"):
        read_environment(path)
