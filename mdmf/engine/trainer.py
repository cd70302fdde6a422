"""Episodic training: small tasks drawn from the training classes, and the best weights on val."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mdmf.data.episodes import EpisodeRequest, EpisodeRows, EpisodeSampler
from mdmf.data.features.bank import FeatureBank
from mdmf.device import autocast, resolve_device
from mdmf.engine.checkpoint import FEATURE_SCALE, NOTES, load_state, save_state, save_weights
from mdmf.engine.evaluator import evaluate
from mdmf.engine.metrics import Accuracy
from mdmf.engine.run_folder import RunFolder
from mdmf.engine.tester import Protocol, check_test
from mdmf.engine.workspace import Workspace
from mdmf.models.method import Method
from mdmf.settings import Settings, TrainingSettings
from mdmf.structures import TAUGHT_BY_NONE, TAUGHT_BY_SEVERAL, RunFailed
from mdmf.training_log import TrainingSummary, append_metrics, cut_metrics, write_training

logger = logging.getLogger(__name__)

_STEP_SEED_STRIDE = 1_000_003  # a prime, so that steps of neighbouring seeds never share a random state


class TrainingFailed(RunFailed):
    """The loss or its gradient is not finite."""


@dataclass
class Progress:
    """Progress of a training, saved in the resume state beside the weights and the optimiser.

    Its attributes are the keys of the saved state, so they must not be renamed.
    """

    step: int = 0
    best_accuracy: float = -1.0
    best_step: int = -1
    n_without_better: int = 0


def learning_rate_factor(step: int, settings: TrainingSettings) -> float:
    """Factor on the learning rate in step 0 … n_steps - 1: linear warm-up, then cosine decay to 0, or constant."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    share = (step - settings.warmup_steps) / max(1, settings.n_steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * share))


def distill_ramp(step: int, settings: TrainingSettings) -> float:
    """Factor on λ_kd: rises linearly to 1 over the first share of the steps; a constant λ_kd can starve a branch."""
    n_steps = settings.distill_ramp * settings.n_steps
    return 1.0 if n_steps == 0 else min(1.0, (step + 1) / n_steps)


class Trainer:
    """Trains a model in a run folder, and resumes a run that was killed.

    All random numbers of a step are functions of (seed, step), so the resume state needs no generator states: on one
    machine and device, the weights of a resumed run equal those of an uninterrupted run bit for bit.
    """

    def __init__(
        self,
        model: Method,
        *,
        settings: Settings,
        run: RunFolder,
        train_bank: FeatureBank,
        train_sampler: EpisodeSampler,
        val_bank: FeatureBank,
        val_sampler: EpisodeSampler,
        data_fingerprint: str = "",
        progress: bool = True,
    ) -> None:
        self.data_fingerprint = data_fingerprint
        self.settings, self.training, self.run, self.show_progress = settings, settings.training, run, progress
        self.device = resolve_device(self.training.device)
        torch.backends.cudnn.deterministic = True  # otherwise a resumed run on CUDA could differ
        self.model = model.to(self.device)
        self.train_bank, self.train_sampler = train_bank, train_sampler
        self.val_bank, self.val_sampler = val_bank, val_sampler
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.training.learning_rate, weight_decay=self.training.weight_decay
        )
        self.progress = Progress()
        self.write_scalars = _tensorboard_writer(run) if settings.output.tensorboard else None

    def resume(self) -> None:
        """Continue from the last saved state, or start from the beginning if there is none.

        Raises:
            ValueError: if the data have changed since the state was saved.
            FileNotFoundError: if the best weights of the run are missing.
        """
        if not self.run.state.is_file():
            cut_metrics(self.run.metrics, 0)
            return
        state = load_state(self.run.state, parts=("model", "optimizer", "progress", "data_fingerprint"))
        if state["data_fingerprint"] != self.data_fingerprint:
            raise ValueError(
                f"the videos, their features or the prompts have changed since {self.run.folder} was started; start a "
                "new run without --resume"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        if self.progress.best_step >= 0 and not self.run.best.is_file():
            raise FileNotFoundError(
                f"{self.run.best} is missing; start a new run, or delete {self.run.state} to start this one again"
            )
        cut_metrics(self.run.metrics, self.progress.step)
        logger.info("resuming after step %d of %d", self.progress.step, self.training.n_steps)

    def fit(self) -> Progress:
        """Train to the last step, or until val has not improved for `patience` validations."""
        started, first_step = time.perf_counter(), self.progress.step
        bar = tqdm(
            total=self.training.n_steps,
            initial=first_step,
            desc="training",
            unit="step",
            disable=not self.show_progress,
        )
        with bar:
            while self.progress.step < self.training.n_steps and not self._is_out_of_patience():
                row = self._step()
                seconds = time.perf_counter() - started
                n_episodes = (self.progress.step - first_step) * self.training.episodes_per_step
                row["episodes_per_second"] = round(n_episodes / seconds, 1)
                bar.update()
                bar.set_postfix(self._postfix(row), refresh=False)
                self._after_step(row, bar)
        self._save_state()
        summary = TrainingSummary(
            n_steps=self.progress.step,
            best_step=self.progress.best_step,
            best_val_accuracy_percent=self.progress.best_accuracy,
            stopped_early=self.progress.step < self.training.n_steps,
        )
        write_training(self.run.summary, summary)
        return self.progress

    def _step(self) -> dict[str, Any]:
        """Take one optimiser step; returns its row of metrics."""
        step, E = self.progress.step, self.training.episodes_per_step
        torch.manual_seed(self.training.seed * _STEP_SEED_STRIDE + step)
        rows = self.train_sampler.batch(step * E, E)
        episode = self.train_bank.episode(rows)
        learning_rate = self.training.learning_rate * learning_rate_factor(step, self.training)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

        self.model.train()
        with autocast(self.device, self.training.precision):
            output = self.model(episode)
            loss = self.model.total_loss(output, distill_ramp=distill_ramp(step, self.training))
        self._check_finite(loss, output.losses, rows)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip_norm or math.inf)
        self._check_finite(grad_norm, output.losses, rows)
        self.optimizer.step()
        self.progress.step += 1

        accuracy = (output.logits.argmax(dim=-1) == episode.query_labels).float().mean()
        shares = {} if output.teacher is None else _taught_shares(output.teacher, list(output.branch_logits))
        numbers = {"loss": loss, **output.losses, "accuracy_percent": 100 * accuracy, "grad_norm": grad_norm, **shares}
        return {
            "kind": "train",
            "step": self.progress.step,
            **{name: float(value.detach()) for name, value in numbers.items()},
            "learning_rate": learning_rate,
        }

    def _check_finite(self, value: Tensor, losses: dict[str, Tensor], rows: EpisodeRows) -> None:
        """Check the loss or the gradient norm of a step, and its partial losses.

        Raises:
            TrainingFailed: if one is not finite; the episodes of the step are saved first.
        """
        if torch.isfinite(value) and all(torch.isfinite(loss) for loss in losses.values()):
            return
        path = self.run.folder / "failed_episode.npz"
        parts = {name: float(loss.detach()) for name, loss in losses.items()}
        np.savez(path, step=self.progress.step, **vars(rows), **parts)  # type: ignore[arg-type]
        raise TrainingFailed(
            f"the loss or its gradient is not finite in step {self.progress.step + 1} ({parts}); its episodes are in "
            f"{path}; start again with a lower training.learning_rate, or set training.clip_norm"
        )

    def _after_step(self, row: dict[str, Any], bar: tqdm) -> None:
        """Log, validate and save the state where they are due; log and validate after the last step too."""
        step, is_last = self.progress.step, self.progress.step == self.training.n_steps
        if step % self.training.log_every == 0 or is_last:
            self._record(row)
        if step % self.training.validate_every == 0 or is_last:
            self._validate(bar)
        if step % self.training.save_every == 0 and not is_last:
            self._save_state()

    def _validate(self, bar: tqdm) -> None:
        """Measure the accuracy on val, and save the weights if it is higher than before."""
        accuracy = self._val_accuracy()
        is_better = accuracy.percent > self.progress.best_accuracy
        if is_better:
            self.progress.best_accuracy, self.progress.best_step = accuracy.percent, self.progress.step
            self.progress.n_without_better = 0
            scale = {source: features.store.feature_scale for source, features in self.train_bank.sources.items()}
            notes = json.dumps({"step": self.progress.step, FEATURE_SCALE: scale})
            save_weights(self.run.best, self.model, metadata={NOTES: notes})
        else:
            self.progress.n_without_better += 1
        row = {"accuracy_percent": accuracy.percent, "interval": accuracy.interval, "is_best": is_better}
        self._record({"kind": "val", "step": self.progress.step, **row})
        bar.set_postfix_str(f"val {accuracy}{' (best)' if is_better else ''}")

    def _val_accuracy(self) -> Accuracy:
        evaluation = evaluate(
            {"model": self.model},
            self.val_bank,
            self.val_sampler.batch(0, self.training.validation_episodes),
            batch_episodes=self.settings.evaluation.batch_episodes,
        )
        return evaluation.accuracy("model")

    def _is_out_of_patience(self) -> bool:
        return self.training.patience is not None and self.progress.n_without_better >= self.training.patience

    def _record(self, row: dict[str, Any]) -> None:
        append_metrics(self.run.metrics, row)
        if self.write_scalars is not None:
            self.write_scalars(row)

    def _save_state(self) -> None:
        save_state(
            self.run.state,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": vars(self.progress),
                "data_fingerprint": self.data_fingerprint,
            },
        )

    def _postfix(self, row: dict[str, Any]) -> dict[str, str]:
        return {
            "loss": f"{row['loss']:.3f}",
            "acc": f"{row['accuracy_percent']:.1f}",
            "episodes/s": f"{row['episodes_per_second']:.0f}",
            "best val": f"{self.progress.best_accuracy:.1f}" if self.progress.best_step >= 0 else "-",
        }


def _tensorboard_writer(run: RunFolder) -> Callable[[dict[str, Any]], None]:
    """A function that writes a row of metrics for TensorBoard.

    Raises:
        ImportError: if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError("output.tensorboard needs TensorBoard: pip install 'mdmf[tensorboard]'") from None
    writer = SummaryWriter(str(run.folder / "tensorboard"))

    def write(row: dict[str, Any]) -> None:
        for name, value in row.items():
            if isinstance(value, float):
                writer.add_scalar(f"{row['kind']}/{name}", value, row["step"])

    return write


def make_trainer(workspace: Workspace, open_run: Callable[[], RunFolder], *, progress: bool = True) -> Trainer:
    """A trainer of the model of the settings, on the train and val classes of a workspace.

    Args:
        workspace: data and settings of the experiment.
        open_run: returns the run folder; called last, so that an experiment that fails before leaves no folder behind.
        progress: show a progress bar.

    Raises:
        ValueError: if the model has nothing to train, or the classes are too few or too small for the episodes.
    """
    settings = workspace.settings
    device = resolve_device(settings.training.device)
    _check_before_encoding(workspace)
    train, val = workspace.split("train", role="training"), workspace.split("val", role="validation")
    train_sampler, val_sampler = train.sampler(train_episodes(settings)), val.sampler(val_episodes(settings))
    torch.manual_seed(settings.training.seed)  # after the class text: loading an encoder draws random numbers
    model = workspace.model()
    if not model.has_weights:
        raise ValueError(f"model {settings.model.table_name!r} has nothing to train; test it with mdmf test")
    model.set_training_classes(None if train.class_text is None else train.class_text.to(device))
    return Trainer(
        model,
        settings=settings,
        train_bank=train.bank(device),
        train_sampler=train_sampler,
        val_bank=val.bank(device),
        val_sampler=val_sampler,
        data_fingerprint=workspace.fingerprint,
        progress=progress,
        run=open_run(),
    )


def train_episodes(settings: Settings) -> EpisodeRequest:
    """The episodes of training."""
    episode = settings.episode
    return EpisodeRequest(episode.n_way, episode.n_shot, episode.n_query, settings.training.seed)


def val_episodes(settings: Settings) -> EpisodeRequest:
    """The episodes by which a checkpoint is chosen."""
    episode, evaluation = settings.episode, settings.evaluation
    return EpisodeRequest(episode.n_way, episode.n_shot, evaluation.n_query, evaluation.seed)


def _check_before_encoding(workspace: Workspace) -> None:
    """Raise the errors of prompts and episodes of every split first: encoding may take hours."""
    settings = workspace.settings
    if workspace.needs_text:
        _ = workspace.sentences
    workspace.check_episodes("train", train_episodes(settings))
    workspace.check_episodes("val", val_episodes(settings))
    if settings.evaluation.after_training:
        check_test(workspace, Protocol.of(workspace.settings))


def _taught_shares(teacher: Tensor, branches: Sequence[str]) -> dict[str, Tensor]:
    """Share of the queries with a teacher, and of those that each branch teaches, alone or with the other branch."""
    # With more than two branches, the output does not say which of them teach a query.
    by_all = (teacher == TAUGHT_BY_SEVERAL) & (len(branches) == 2)
    each = {f"taught_by_{name}": ((teacher == i) | by_all).float().mean() for i, name in enumerate(branches)}
    return {"taught_share": (teacher != TAUGHT_BY_NONE).float().mean(), **each}
