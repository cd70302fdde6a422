"""Evaluation: models answer the same episodes, batch by batch (docs/methods.md, section 7)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mdmf.data.episodes import EpisodeRows
from mdmf.data.features.bank import FeatureBank
from mdmf.engine.answerers import EpisodeBatch, answerer
from mdmf.engine.metrics import Accuracy, episode_accuracy
from mdmf.results import Answers
from mdmf.structures import EpisodeOutput


@dataclass(frozen=True)
class Evaluation:
    """Answers of several models to the same episodes."""

    episodes: EpisodeRows
    answers: dict[str, Answers]

    def accuracy(self, model: str) -> Accuracy:
        """Accuracy of one model."""
        return episode_accuracy(self.answers[model].predictions, self.episodes.query_labels)

    def branch_accuracies(self, model: str) -> dict[str, Accuracy]:
        """Accuracy of each branch of one model alone."""
        return {
            branch: episode_accuracy(posterior.argmax(axis=-1), self.episodes.query_labels)
            for branch, posterior in self.answers[model].branch_posteriors.items()
        }


def _posterior(logits: Tensor) -> np.ndarray:
    posterior = logits.float().softmax(dim=-1)
    if not posterior.isfinite().all():
        raise ValueError("a model returned logits that are not finite; its weights may have diverged in training")
    return posterior.cpu().numpy()


def _answers(outputs: list[EpisodeOutput]) -> Answers:
    def posteriors(logits: list[Tensor]) -> np.ndarray:
        return np.concatenate([_posterior(batch) for batch in logits])

    teachers = [output.teacher for output in outputs if output.teacher is not None]
    posterior = posteriors([output.logits for output in outputs])
    return Answers(
        posterior=posterior,
        predictions=posterior.argmax(axis=-1),
        branch_posteriors={
            branch: posteriors([output.branch_logits[branch] for output in outputs])
            for branch in outputs[0].branch_logits
        },
        teacher=torch.cat(teachers).cpu().numpy().astype(np.int8) if teachers else None,
        fusion_weights={
            branch: torch.cat([output.fusion_weight[branch] for output in outputs]).float().cpu().numpy()
            for branch in outputs[0].fusion_weight
        },
    )


def evaluate(
    models: Mapping[str, nn.Module],
    bank: FeatureBank,
    rows: EpisodeRows,
    *,
    batch_episodes: int,
    progress: str | None = None,
    precision: str = "float32",
) -> Evaluation:
    """The answers of every model to the same episodes.

    A model never sees a label or a class id. Models run in evaluation mode; their own mode is restored.

    Args:
        models: name in tables -> model.
        bank: features of the videos.
        rows: the episodes, such as `sampler.batch(0, n_episodes)`.
        batch_episodes: episodes per batch; changes no result.
        progress: title of a progress bar; None shows none.
        precision: of the weights that embed videos, `float32` or `bfloat16`.
    """
    modes = {name: model.training for name, model in models.items()}
    for model in models.values():
        model.eval()
    # A method that adapts to an episode needs gradients, which inference mode forbids.
    adapts = any(getattr(part, "adapts_at_test", False) for model in models.values() for part in model.modules())
    with torch.no_grad() if adapts else torch.inference_mode():
        answers = {name: answerer(model, bank, precision=precision) for name, model in models.items()}
        for name, answer in answers.items():
            answer.precompute(rows, progress=None if progress is None else f"{progress}: videos of {name}")
        outputs: dict[str, list[EpisodeOutput]] = {name: [] for name in models}
        with tqdm(total=len(rows), desc=progress, unit="episode", disable=progress is None) as bar:
            for start in range(0, len(rows), batch_episodes):
                batch = EpisodeBatch(rows.part(start, start + batch_episodes), bank)
                for name, answer in answers.items():
                    outputs[name].append(answer(batch))
                bar.update(len(batch.rows))
    for name, model in models.items():
        model.train(modes[name])
    return Evaluation(episodes=rows, answers={name: _answers(parts) for name, parts in outputs.items()})
