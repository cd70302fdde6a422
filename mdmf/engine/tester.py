"""The test command: the model and the baselines answer the same episodes; numbers and raw answers are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import nn

from mdmf.config import check_settings
from mdmf.data.episodes import EpisodeSampler
from mdmf.data.features.bank import FeatureBank
from mdmf.device import resolve_device
from mdmf.engine.checkpoint import load_weights
from mdmf.engine.diagnostics import diagnose
from mdmf.engine.evaluator import Evaluation, evaluate
from mdmf.engine.metrics import Accuracy, class_accuracy, episode_accuracy
from mdmf.engine.run_folder import environment
from mdmf.engine.workspace import Workspace
from mdmf.files import file_sha256, json_sha256
from mdmf.models.text_at_test import TextAtTest, combine_with_text
from mdmf.results import Episodes, ModelResult, ProtocolRecord, Result, ResultFiles, read_result, write_test
from mdmf.settings import MethodSettings, Settings

STANDARD_EPISODES = 10_000
TEXT_WEIGHTS = tuple(round(0.1 * tenth, 1) for tenth in range(11))


class Protocol(ProtocolRecord):
    """What is asked: a split's episodes of one size."""

    @classmethod
    def of(
        cls, settings: Settings, *, trained_with: Settings | None = None, checkpoint: Path | None = None
    ) -> Protocol:
        """The protocol of an experiment's settings.

        Args:
            trained_with: the settings of the run that is tested; what differs from them in data or model is named.
            checkpoint: weights that are tested in the place of the run's own.
        """
        evaluation, episode, corrupt = settings.evaluation, settings.episode, settings.corrupt
        corruptions = [f"{source}:{text}" for source in settings.sources if (text := corrupt.of(source))]
        corruptions += [f"seed:{corrupt.seed}"] if corruptions and corrupt.seed else []
        has_other_data = trained_with is not None and _data_key(settings) != _data_key(trained_with)
        models = (
            []
            if checkpoint is None
            else [f"{checkpoint.stem}-{hashlib.sha256(str(checkpoint.resolve()).encode()).hexdigest()[:6]}"]
        )
        key = _key(settings.model, exclude={"text_weight"})  # the text at test has its own place in the name
        models += [key] if trained_with and key != _key(trained_with.model, exclude={"text_weight"}) else []
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

    def beside(self, folder: Path, settings: Settings, checkpoint: Path | None) -> Protocol:
        """This protocol, or, where the folder holds its result for other settings or weights, one named by its own."""
        files = ResultFiles(folder, self.name)
        result = find_result(files, settings)
        weights = None if checkpoint is None or not checkpoint.is_file() else file_sha256(checkpoint)
        if not files.result.is_file() or (result is not None and result.checkpoint_sha256 == weights):
            return self
        key = json_sha256([_deciding(settings.model_dump(mode="json")), weights])[:6]
        return self.model_copy(update={"other_data": f"{settings.data.name}-{key}"})

    @property
    def name(self) -> str:
        """For file names: what is not the default is named."""
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
    """Names the videos, classes, splits and prompts of an experiment; how they are read does not count."""
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
        workspace: of the settings.
        checkpoint: weights; None for a model that has none to learn.
        folder: where the result goes.
        protocol: of the settings.

    Returns:
        The result as it is written.

    Raises:
        FileNotFoundError: if the checkpoint does not exist.
        ValueError: if a model that learns has no checkpoint, it does not fit, or episodes cannot be drawn.
    """
    settings = workspace.settings
    method = workspace.method
    _check_checkpoint(method, checkpoint)  # before anything is encoded
    check_corruptions(workspace)
    workspace.check_episodes(protocol.split, n_way=protocol.n_way, n_shot=protocol.n_shot, n_query=protocol.n_query)
    sampler = _sampler(workspace, protocol, split=protocol.split, of_test=True)
    device = resolve_device(settings.training.device)
    model: nn.Module = workspace.model()
    if method.is_trained and checkpoint is not None:
        load_weights(checkpoint, model)
    model.to(device)
    text_weight = settings.model.text_weight
    if text_weight == "val":
        text_weight = choose_text_weight(model, workspace, protocol)
    if text_weight:
        model = TextAtTest(model, workspace.text_model().to(device), weight=text_weight)
    *baselines, name = workspace.methods
    models: dict[str, nn.Module] = {baseline: workspace.model(baseline).to(device) for baseline in baselines}
    models[name] = model
    bank = workspace.bank(protocol.split, device=device, of_test=True)
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


def _missing_shares(bank: FeatureBank, evaluation: Evaluation) -> dict[str, float]:
    """source -> share of the queries that have no features of it; a source that every video has is not named."""
    presence = bank.presence(evaluation.episodes.query_rows)
    return {source: float((~present).float().mean()) for source, present in presence.items()}


def check_corruptions(workspace: Workspace) -> None:
    """See before any work whether what is to be corrupted is looked at.

    Raises:
        ValueError: if it is not.
    """
    for source in workspace.settings.corrupt.by_source:
        if source not in workspace.sources:
            raise ValueError(f"corrupt.{source} is set, and nothing that is tested looks at {source}")


def find_result(files: ResultFiles, settings: Settings) -> Result | None:
    """A test's result, if it and its episodes are there and of these settings; what decides no number may differ."""
    try:
        result = read_result(files.result)
    except (OSError, ValueError):
        return None
    try:  # the settings may be those of an earlier version
        tested = check_settings(result.settings, source=str(files.result))
    except ValueError:
        return None
    same = _deciding(tested.model_dump(mode="json")) == _deciding(settings.model_dump(mode="json"))
    return result if same and files.episodes.is_file() else None


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: dict(section) for name, section in settings.items() if name not in ("training", "output")}
    for section, name in (("data", "n_workers"), ("evaluation", "after_training"), ("evaluation", "batch_episodes")):
        kept.get(section, {}).pop(name, None)
    return kept


def _check_checkpoint(method: MethodSettings, checkpoint: Path | None) -> None:
    if method.is_trained and checkpoint is None:
        raise ValueError(
            f"model {method.table_name!r} learns and needs a checkpoint: give --run or --ckpt, or train it first"
        )
    if method.is_trained and checkpoint is not None and not checkpoint.is_file():
        raise FileNotFoundError(f"no checkpoint at {checkpoint}")


def _sampler(workspace: Workspace, protocol: Protocol, *, split: str, of_test: bool) -> EpisodeSampler:
    return workspace.sampler(
        split,
        n_way=protocol.n_way,
        n_shot=protocol.n_shot,
        n_query=protocol.n_query,
        seed=protocol.seed,
        of_test=of_test,
    )


def choose_text_weight(model: nn.Module, workspace: Workspace, protocol: Protocol) -> float:
    """The weight of the text at test that is best on val; the smallest of equals. Never looks at test.

    Raises:
        ValueError: if val has too few classes or videos for the protocol's episodes.
    """
    settings = workspace.settings
    bank: FeatureBank = workspace.bank("val", device=resolve_device(settings.training.device))
    sampler = _sampler(workspace, protocol, split="val", of_test=False)
    evaluation = evaluate(
        {"visual": model, "text": workspace.text_model()},
        bank,
        sampler.batch(0, settings.training.validation_episodes),
        batch_episodes=settings.evaluation.batch_episodes,
    )
    return best_text_weight(
        evaluation.answers["visual"].posterior, evaluation.answers["text"].posterior, evaluation.episodes.query_labels
    )


def best_text_weight(visual: np.ndarray, text: np.ndarray, labels: np.ndarray) -> float:
    """The weight with the highest accuracy, from posteriors (n, Q, N) and labels (n, Q)."""
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
    """The episodes with their own numbering of the videos that occur in them, and the answers."""
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
