import json
import math
import random
import re
import signal
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import start_process
from small_world import small_settings, small_trainer

from mdmf.engine.checkpoint import load_state, read_weights
from mdmf.engine.run_folder import RunFolder
from mdmf.engine.trainer import TrainingFailed, _taught_shares, distill_ramp, learning_rate_factor
from mdmf.mutual.condition import TAUGHT_BY_NONE, TAUGHT_BY_SEVERAL
from mdmf.settings import TrainingSettings


def train(folder: Path, **training):
    settings = small_settings(folder, **training)
    run = RunFolder.create(settings)
    small_trainer(settings, run).fit()
    return run


def same_weights(a: RunFolder, b: RunFolder) -> bool:
    first, second = load_state(a.state), load_state(b.state)
    best = [read_weights(run.best) for run in (a, b)]
    return (
        all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())
        and all(torch.equal(value, best[1][name]) for name, value in best[0].items())
        and first["progress"] == second["progress"]
    )


def metric_rows(run: RunFolder) -> list[dict]:
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "episodes_per_second"} for row in rows]


def test_learning_rate_by_hand():
    settings = TrainingSettings(n_steps=110, warmup_steps=10)
    factors = [learning_rate_factor(step, settings) for step in (0, 4, 9, 10, 60, 109)]
    expected = [0.1, 0.5, 1.0, 1.0, 0.5, 0.5 * (1 + math.cos(math.pi * 0.99))]
    assert factors == pytest.approx(expected)
    assert learning_rate_factor(109, TrainingSettings(n_steps=110, schedule="constant")) == 1.0


def test_distillation_rises_over_the_first_share_of_the_steps():
    settings = TrainingSettings(n_steps=100, distill_ramp=0.5)
    assert [distill_ramp(step, settings) for step in (0, 24, 49, 99)] == [0.02, 0.5, 1.0, 1.0]
    assert distill_ramp(0, TrainingSettings(distill_ramp=0)) == 1.0


def test_training_learns_and_writes_what_it_promises(tmp_path):
    run = train(tmp_path, n_steps=60, learning_rate=1e-2, warmup_steps=5, validate_every=20)
    rows = metric_rows(run)
    losses = [row["cross_entropy_loss"] for row in rows if row["kind"] == "train"]
    assert len(losses) == 60
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])
    validations = [row for row in rows if row["kind"] == "val"]
    assert [row["step"] for row in validations] == [20, 40, 60]
    summary = json.loads(run.summary.read_text())
    assert summary["best_val_accuracy_percent"] == max(row["accuracy_percent"] for row in validations)
    assert summary["best_step"] == next(row["step"] for row in reversed(validations) if row["is_best"])
    assert run.finished


def test_same_seed_same_weights_other_seed_other_weights(tmp_path):
    runs = [train(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert same_weights(runs[0], runs[1])
    assert metric_rows(runs[0]) == metric_rows(runs[1])
    assert not same_weights(runs[0], runs[2])


@pytest.mark.parametrize("stop_at", [3, 4, 7, 11])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, stop_at):
    """The run dies after a step; what was done since the last saved state is done again."""
    whole = train(tmp_path / "whole")
    settings = small_settings(tmp_path / "cut")
    run = RunFolder.create(settings)
    dying = small_trainer(settings, run)
    record = dying._after_step

    def die(row, bar):
        record(row, bar)
        if row["step"] == stop_at:
            raise KeyboardInterrupt

    dying._after_step = die
    with pytest.raises(KeyboardInterrupt):
        dying.fit()
    again = small_trainer(settings, RunFolder.open(run.folder))
    again.resume()
    assert again.progress.step == stop_at - stop_at % 4
    again.fit()
    assert same_weights(whole, run)
    assert metric_rows(whole) == metric_rows(run)


def test_resume_on_other_data_is_refused(tmp_path):
    run = train(tmp_path)
    again = small_trainer(small_settings(tmp_path), run)
    again.data_fingerprint = "other videos or prompts"
    with pytest.raises(ValueError, match=r"have changed since .*small was started"):
        again.resume()


def test_early_stop_after_patience_runs_out(tmp_path):
    run = train(tmp_path, n_steps=200, learning_rate=1e-12, validate_every=2, patience=2)
    summary = json.loads(run.summary.read_text())
    assert summary["stopped_early"]
    assert summary["n_steps"] < 20
    assert len([row for row in metric_rows(run) if row["kind"] == "val"]) == summary["n_steps"] // 2


def test_not_a_number_stops_the_run_with_the_episode_written_out(tmp_path):
    settings = small_settings(tmp_path)
    run = RunFolder.create(settings)
    trainer = small_trainer(settings, run)
    gather = trainer.train_bank.episode

    def poisoned(rows):
        episode = gather(rows)
        if trainer.progress.step == 6:
            episode = replace(episode, query={"rgb": episode.query["rgb"] * float("nan")})
        return episode

    trainer.train_bank.episode = poisoned
    with pytest.raises(TrainingFailed, match=r"not finite in step 7 .*failed_episode\.npz"):
        trainer.fit()
    evidence = np.load(run.folder / "failed_episode.npz")
    assert evidence["step"] == 6
    assert np.array_equal(evidence["query_rows"], trainer.train_sampler.batch(12, 2).query_rows)
    assert not run.finished
    state = load_state(run.state)
    assert state["progress"]["step"] == 4
    assert all(torch.isfinite(value).all() for value in state["model"].values())


def test_gradients_are_clipped(tmp_path):
    first = metric_rows(train(tmp_path / "a", clip_norm=None, n_steps=2))
    assert first[0]["grad_norm"] > 1e-3
    weights = [train(tmp_path / name, clip_norm=norm, n_steps=2) for name, norm in (("b", None), ("c", 1e-9))]
    assert not same_weights(*weights)


def test_tensorboard_files_hold_the_curves(tmp_path):
    pytest.importorskip("tensorboard")
    settings = small_settings(tmp_path)
    settings = settings.model_copy(update={"output": settings.output.model_copy(update={"tensorboard": True})})
    run = RunFolder.create(settings)
    small_trainer(settings, run).fit()
    assert list((run.folder / "tensorboard").glob("events*"))


def train_or_resume(folder: Path) -> None:
    """A training that begins or goes on in `folder`; it runs in a process of its own."""
    torch.set_num_threads(1)
    settings = small_settings(folder, n_steps=80, save_every=7, validate_every=10)
    run = RunFolder.to_resume(settings) or RunFolder.create(settings)
    trainer = small_trainer(settings, run)
    trainer.resume()
    trainer.fit()


def exit_code(process: BaseProcess) -> int | None:
    process.join(timeout=300)
    return process.exitcode


def kill_when_step_is_reached(folder: Path, step: int, delay: float) -> int | None:
    """Start (or resume) a training, and kill it a moment after it has logged a step; returns its exit code."""
    process, metrics = start_process(train_or_resume, folder), folder / "small" / "metrics.jsonl"
    while process.is_alive():
        lines = metrics.read_text().splitlines() if metrics.is_file() else []
        reached = max((int(number) for line in lines[-2:] for number in re.findall(r'"step": (\d+),', line)), default=0)
        if reached >= step:  # a busy machine may log several steps between two looks
            time.sleep(delay)
            process.kill()
            break
        time.sleep(0.002)
    return exit_code(process)


@pytest.mark.slow
def test_killed_at_random_moments_ends_as_if_nothing_had_happened(tmp_path, short_form):
    """Ten kills (two in the short form), each at a random step and a random moment within it."""
    assert exit_code(start_process(train_or_resume, tmp_path / "whole")) == 0
    moments = random.Random(0)
    steps = sorted(moments.sample(range(5, 65), 2 if short_form else 10))
    codes = [kill_when_step_is_reached(tmp_path / "killed", step, 0.03 * moments.random()) for step in steps]
    assert codes == [-signal.SIGKILL] * len(steps)
    assert exit_code(start_process(train_or_resume, tmp_path / "killed")) == 0
    whole, killed = (RunFolder.open(tmp_path / name / "small") for name in ("whole", "killed"))
    assert same_weights(whole, killed)
    assert metric_rows(whole) == metric_rows(killed)


def test_who_teaches_is_counted_by_branch():
    """Of eight queries the first branch teaches two, the second one, both one more, and on four nobody does."""
    none, both = TAUGHT_BY_NONE, TAUGHT_BY_SEVERAL
    shares = _taught_shares(torch.tensor([[0, 0, 1, both], [none, none, none, none]]), ["local", "global"])
    assert {name: float(share) for name, share in shares.items()} == {
        "taught_share": 0.5,
        "taught_by_local": 0.375,
        "taught_by_global": 0.25,
    }


def test_of_three_branches_several_teachers_are_not_told_apart():
    teacher = torch.tensor([[0, 2, TAUGHT_BY_SEVERAL, TAUGHT_BY_NONE]])
    shares = _taught_shares(teacher, ["rgb", "flow", "depth"])
    assert {name: float(share) for name, share in shares.items()} == {
        "taught_share": 0.75,
        "taught_by_rgb": 0.25,
        "taught_by_flow": 0.0,
        "taught_by_depth": 0.25,
    }
