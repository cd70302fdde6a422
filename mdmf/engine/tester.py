"""Testing: the model and its baselines answer the same episodes; their numbers and raw answers are written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import nn

from mdmf.config import check_settings
from mdmf.data.episodes import EpisodeRequest
from mdmf.data.features.bank import FeatureBank
from mdmf.device import resolve_device
from mdmf.engine.checkpoint import load_weights
from mdmf.engine.diagnostics import diagnose
from mdmf.engine.evaluator import Evaluation, evaluate
from mdmf.engine.metrics import Accuracy, class_accuracy, episode_accuracy
from mdmf.engine.run_folder import RunFolder, environment
from mdmf.engine.workspace import Workspace
from mdmf.files import file_sha256, json_sha256
from mdmf.models.text_at_test import TextAtTest, combine_with_text
from mdmf.results import Episodes, ModelResult, ProtocolRecord, Result, ResultFiles, read_result, write_test
from mdmf.settings import MethodSettings, Settings

STANDARD_EPISODES = 10_000
TEXT_WEIGHTS = tuple(round(0.1 * tenth, 1) for tenth in range(11))


class Protocol(ProtocolRecord):
    """The episodes of a test: their split, size and number, and the settings that differ from those of training."""

    @classmethod
    def of(
        cls, settings: Settings, *, trained_with: Settings | None = None, checkpoint: Path | None = None
    ) -> Protocol:
        """The protocol of an experiment's settings.

        Args:
            trained_with: settings of the tested run; differences of data or model become part of the name.
            checkpoint: weights that are tested instead of those of the run.
        """
        evaluation, episode, corrupt = settings.evaluation, settings.episode, settings.corrupt
        corruptions = [f"{source}:{text}" for source in settings.sources if (text := corrupt.of(source))]
        corruptions += [f"seed:{corrupt.seed}"] if corruptions and corrupt.seed else []
        has_other_data = trained_with is not None and _data_key(settings) != _data_key(trained_with)
        models = []
        if checkpoint is not None:
            models.append(f"{checkpoint.stem}-{hashlib.sha256(str(checkpoint.resolve()).encode()).hexdigest()[:6]}")
        model_key = _key(settings.model, exclude={"text_weight"})  # text_weight is a field of the protocol
        if trained_with is not None and model_key != _key(trained_with.model, exclude={"text_weight"}):
            models.append(model_key)
        return cls(
            split=evaluation.split,
            n_way=evaluation.n_way or episode.n_way,
            n_shot=evaluation.n_shot or episode.n_shot,
            n_query=evaluation.n_query,
            n_episodes=evaluation.n_episodes,
            seed=evaluation.seed,
            group_disjoint=episode.group_disjoint,
            text_weight=settings.model.text_weight,
            corrupt=" ".join(corruptions),
            other_data=f"{settings.data.name}-{_data_key(settings)}" if has_other_data else "",
            other_model="-".join(models),
        )

    def without_overwriting(self, folder: Path, settings: Settings, checkpoint: Path | None) -> Protocol:
        """This protocol, or one with another name if `folder` has its result for other settings or weights."""
        files = ResultFiles(folder, self.name)
        result = find_result(files, settings)
        weights = None if checkpoint is None or not checkpoint.is_file() else file_sha256(checkpoint)
        if not files.result.is_file() or (result is not None and result.checkpoint_sha256 == weights):
            return self
        key = json_sha256([_result_settings(settings), weights])[:6]
        return self.model_copy(update={"other_data": f"{settings.data.name}-{key}"})

    @property
    def request(self) -> EpisodeRequest:
        """The size and seed of the episodes."""
        return EpisodeRequest(self.n_way, self.n_shot, self.n_query, self.seed)

    @property
    def name(self) -> str:
        """Name of the test in file names: way, shot, and all that differs from the defaults."""
        parts = [f"{self.n_way}way", f"{self.n_shot}shot"]
        parts += [] if self.n_query == 1 else [f"{self.n_query}query"]
        parts += [] if self.n_episodes == STANDARD_EPISODES else [f"{self.n_episodes}episodes"]
        parts += ["groups"] if self.group_disjoint else []
        parts += [f"seed{self.seed}"] if self.seed else []
        parts += [f"text_{self.text_weight}"] if self.text_weight else []
        parts += [self.corrupt.replace(":", "-").replace(" ", "_")] if self.corrupt else []
        parts += [f"on_{self.other_data}"] if self.other_data else []
        parts += [f"model_{self.other_model}"] if self.other_model else []
        return "_".join(([] if self.split == "test" else [self.split]) + parts)


def _data_key(settings: Settings) -> str:
    """Hash of the settings of videos, classes, splits and prompts; settings of how they are read are left out."""
    data = settings.data.model_dump(mode="json", exclude={"n_workers", "decoder"})
    sources = {
        name: source.model_dump(mode="json", exclude={"store", "encoder"}) for name, source in settings.sources.items()
    }
    return json_sha256([data, sources])[:6]


def _key(section: BaseModel, *, exclude: set[str] | None = None) -> str:
    return json_sha256(section.model_dump(mode="json", exclude=exclude))[:6]


def run_test(workspace: Workspace, *, checkpoint: Path | None, folder: Path, protocol: Protocol) -> Result:
    """Test the model of the settings and its baselines; write `test_<protocol>.json` and `…_episodes.npz`.

    Args:
        workspace: data and settings of the experiment.
        checkpoint: weights; None for a model without trained weights.
        folder: folder of the two files.
        protocol: protocol of the settings.

    Returns:
        The written result.

    Raises:
        FileNotFoundError: if the checkpoint does not exist.
        ValueError: if a trained model has no checkpoint, the checkpoint does not fit, or episodes cannot be drawn.
    """
    settings = workspace.settings
    _check_checkpoint(workspace.method, checkpoint)  # before anything is encoded
    check_test(workspace, protocol)
    data = workspace.split(protocol.split, role="test")
    sampler = data.sampler(protocol.request)  # first: whether the episodes can be drawn
    device = resolve_device(settings.training.device)
    model, text_weight = _tested_model(workspace, protocol, checkpoint, device)
    *baselines, name = workspace.methods
    models = {baseline: workspace.model(baseline).to(device) for baseline in baselines} | {name: model}
    bank = data.bank(device)
    evaluation = evaluate(
        models,
        bank,
        sampler.batch(0, protocol.n_episodes),
        batch_episodes=settings.evaluation.batch_episodes,
        precision=settings.evaluation.precision,
        progress=f"testing {protocol.name}" if workspace.progress else None,
    )
    class_names = workspace.index.classes[protocol.split]
    result = Result(
        data=settings.data.name,
        model=name,
        protocol=protocol,
        checkpoint=None if checkpoint is None else str(checkpoint),
        checkpoint_sha256=None if checkpoint is None else file_sha256(checkpoint),
        settings=settings.model_dump(mode="json"),
        text_weight=text_weight,
        notes=workspace.notes(protocol.split),
        missing=_missing_shares(bank, evaluation),
        models={
            model_name: _numbers(evaluation, model_name, class_names, our_reading=method.our_reading)
            for model_name, method in workspace.methods.items()
        },
        environment=environment(settings.training.seed),
    )
    write_test(ResultFiles(folder, protocol.name), result, _episodes(evaluation, workspace.video_ids))
    return result


def _tested_model(
    workspace: Workspace, protocol: Protocol, checkpoint: Path | None, device: torch.device
) -> tuple[nn.Module, float]:
    """The model with its weights and, if the settings ask for it, with text at test; and the weight of the text."""
    model: nn.Module = workspace.model()
    if workspace.method.is_trained and checkpoint is not None:
        load_weights(checkpoint, model)
    model.to(device)
    text_weight = workspace.settings.model.text_weight
    if text_weight == "val":
        text_weight = choose_text_weight(model, workspace, protocol)
    if text_weight:
        model = TextAtTest(model, workspace.text_model().to(device), weight=text_weight)
    return model, text_weight


def _missing_shares(bank: FeatureBank, evaluation: Evaluation) -> dict[str, float]:
    """source -> share of the queries without its features, for the sources that some videos lack."""
    presence = bank.presence(evaluation.episodes.query_rows)
    return {source: float((~present).float().mean()) for source, present in presence.items()}


def check_corruptions(workspace: Workspace) -> None:
    """Check that every corrupted source is used by a tested model.

    Raises:
        ValueError: if one is not.
    """
    for source in workspace.settings.corrupt.by_source:
        if source not in workspace.sources:
            raise ValueError(f"corrupt.{source} is set, but no tested model uses {source}; remove it")


def check_test(workspace: Workspace, protocol: Protocol) -> None:
    """Check corruptions and episodes from settings and index alone, before anything is encoded.

    Raises:
        ValueError: if a corrupted source is not used, or the episodes cannot be drawn.
    """
    check_corruptions(workspace)
    workspace.check_episodes(protocol.split, protocol.request)


def result_of_run(run: RunFolder, settings: Settings, open_workspace: Callable[[Settings], Workspace]) -> Result:
    """The result of a run's best weights: the saved one, if its settings and weights are the same, or a new one."""
    protocol = Protocol.of(settings, trained_with=run.settings())
    result = find_result(ResultFiles(run.folder, protocol.name), settings)
    if result is None or result.checkpoint_sha256 != file_sha256(run.best):
        result = run_test(open_workspace(settings), checkpoint=run.best, folder=run.folder, protocol=protocol)
    return result


def find_result(files: ResultFiles, settings: Settings) -> Result | None:
    """The result of a test with these settings, if its files exist; settings that change no number may differ."""
    try:
        result = read_result(files.result)
        tested = check_settings(result.settings, source=str(files.result))  # may be those of an earlier version
    except (OSError, ValueError):
        return None
    is_same = _result_settings(tested) == _result_settings(settings)
    return result if is_same and files.episodes.is_file() else None


def _result_settings(settings: Settings) -> dict[str, Any]:
    """The settings that can change a number of a test."""
    no_effect = {"data": {"n_workers"}, "evaluation": {"after_training", "batch_episodes"}}
    return settings.model_dump(mode="json", exclude={"training": True, "output": True, **no_effect})


def _check_checkpoint(method: MethodSettings, checkpoint: Path | None) -> None:
    if not method.is_trained:
        return
    if checkpoint is None:
        raise ValueError(
            f"model {method.table_name!r} is trained and needs a checkpoint: give --run or --ckpt, or train it first"
        )
    if not checkpoint.is_file():
        raise FileNotFoundError(f"no checkpoint at {checkpoint}")


def choose_text_weight(model: nn.Module, workspace: Workspace, protocol: Protocol) -> float:
    """The weight of the text at test with the highest accuracy on val; the smallest of equal ones.

    Raises:
        ValueError: if val has too few classes or videos for the protocol's episodes.
    """
    settings = workspace.settings
    data = workspace.split("val", role="validation")
    evaluation = evaluate(
        {"visual": model, "text": workspace.text_model()},
        data.bank(resolve_device(settings.training.device)),
        data.sampler(protocol.request).batch(0, settings.training.validation_episodes),
        batch_episodes=settings.evaluation.batch_episodes,
    )
    return best_text_weight(
        evaluation.answers["visual"].posterior, evaluation.answers["text"].posterior, evaluation.episodes.query_labels
    )


def best_text_weight(visual: np.ndarray, text: np.ndarray, labels: np.ndarray) -> float:
    """The weight with the highest accuracy; posteriors (n, Q, N), labels (n, Q)."""
    visual_logs, text_logs = (torch.from_numpy(np.log(np.maximum(p, 1e-30))) for p in (visual, text))
    accuracies = [
        episode_accuracy(combine_with_text(visual_logs, text_logs, weight).argmax(dim=-1).numpy(), labels).percent
        for weight in TEXT_WEIGHTS
    ]
    return TEXT_WEIGHTS[int(np.argmax(accuracies))]


def _percent(accuracy: Accuracy) -> dict[str, float]:
    return {"accuracy_percent": accuracy.percent, "interval": accuracy.interval}


def _numbers(evaluation: Evaluation, model: str, class_names: tuple[str, ...], *, our_reading: bool) -> ModelResult:
    """All numbers of one model."""
    answers, episodes = evaluation.answers[model], evaluation.episodes
    per_class = class_accuracy(answers.predictions, episodes.query_labels, episodes.class_ids, len(class_names))
    numbers: dict[str, Any] = {
        **({"our_reading": True} if our_reading else {}),
        **_percent(evaluation.accuracy(model)),
        "per_class_percent": dict(zip(class_names, per_class, strict=True)),
        "branches": {branch: _percent(accuracy) for branch, accuracy in evaluation.branch_accuracies(model).items()},
    }
    if answers.branch_posteriors:
        numbers |= diagnose(
            answers.posterior,
            answers.branch_posteriors,
            episodes.query_labels,
            fusion_weight=answers.fusion_weights or None,
            teacher=answers.teacher,
        )
    return ModelResult(**numbers)


def _episodes(evaluation: Evaluation, video_ids: np.ndarray) -> Episodes:
    """Episodes and answers; only the videos that occur are numbered, in the order of their rows."""
    episodes = evaluation.episodes
    rows, place = np.unique(
        np.concatenate([episodes.support_rows.ravel(), episodes.query_rows.ravel()]), return_inverse=True
    )
    n_support = episodes.support_rows.size
    return Episodes(
        class_ids=episodes.class_ids,
        support=place[:n_support].reshape(episodes.support_rows.shape),
        query=place[n_support:].reshape(episodes.query_rows.shape),
        labels=episodes.query_labels,
        video_ids=video_ids[rows],
        answers=evaluation.answers,
    )
