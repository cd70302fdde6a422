"""One task of a user's clips, as the tests of data sets see theirs: features in a bank, episodes, the evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from mdmf.data.episodes import EpisodeRows
from mdmf.data.features.bank import FeatureBank
from mdmf.engine.evaluator import Answers, evaluate
from mdmf.models.text_at_test import TextAtTest
from mdmf.recognition.support import SupportFeatures

QUERIES_PER_EPISODE = 64  # at most; bounds the memory that many windows need

ClipFrames = Mapping[str, np.ndarray]  # source -> features (T, D) of one clip or window, float16, unscaled


class ClipReader:
    """Features of one source in memory, as a bank reads them: a row per clip, at least one of them with features."""

    n_variants = 1

    def __init__(self, clips: Sequence[ClipFrames], source: str, *, feature_scale: float) -> None:
        self.ok, self.feature_scale = np.array([source in clip for clip in clips]), feature_scale
        self._features = np.stack([clip[source] for clip in clips if source in clip])  # (n_ok, T, D)
        self._place = np.cumsum(self.ok) - 1  # row -> place among the rows with features
        self.n_frames, self.feature_size = self._features.shape[1:]

    def read(self, rows: np.ndarray, variants: np.ndarray) -> np.ndarray:
        """Features (..., T, D) of clips (...) that have them."""
        features: np.ndarray = self._features[self._place[rows]]
        return features


def task_episodes(n_shots: Sequence[int], draws: Sequence[float]) -> EpisodeRows:
    """Episodes of the same support, among which the queries are divided in order.

    Row numbers count the support clips class by class, then the queries, then a row without features, which stands for
    the shots that a class has less than the largest one. The first queries fill up the last episode.

    Args:
        n_shots: the number of clips of each class.
        draws: see `EpisodeRows.query_draws`; one per query, at least one.
    """
    shots, n_queries = np.array(n_shots), len(draws)
    N, K, n_support = len(shots), shots.max(), shots.sum()
    E = -(-n_queries // QUERIES_PER_EPISODE)
    Q = -(-n_queries // E)
    row = (np.cumsum(shots) - shots)[:, None] + np.arange(K)  # (N, K)
    support = np.where(np.arange(K) < shots[:, None], row, n_support + n_queries)
    return EpisodeRows(
        class_ids=np.tile(np.arange(N), (E, 1)),
        support_rows=np.tile(support, (E, 1, 1)),
        query_rows=np.resize(n_support + np.arange(n_queries), (E, Q)),
        query_labels=np.full((E, Q), -1),
        support_variants=np.zeros((E, N, K), dtype=np.int64),
        query_variants=np.zeros((E, Q), dtype=np.int64),
        query_draws=np.resize(np.array(draws, dtype=np.float32), (E, Q)),
    )


@dataclass(frozen=True, eq=False)
class ClipTask:
    """The support of a task, and the models that answer its queries.

    Attributes:
        clips: class -> its clips; the classes may differ in their number.
        feature_scale: source -> the factor of its features.
        model: compares queries with the support.
        model_name: names the one branch of a model that names none.
        device: of models and features.
        class_text: (N, D); None where nothing reads text.
        text_model: answers by the class text alone; None where its answer is not combined with the model's.
        text_weight: a in `p_text^a · p_visual^(1-a)`.
        notes: remarks on the support and the class text.
    """

    clips: SupportFeatures
    feature_scale: Mapping[str, float]
    model: nn.Module
    model_name: str
    device: torch.device
    class_text: Tensor | None = None
    text_model: nn.Module | None = None
    text_weight: float = 0.0
    notes: tuple[str, ...] = ()

    def answer(self, queries: Sequence[ClipFrames], draws: Sequence[float]) -> Answers:
        """The answers to queries, in the episodes of `task_episodes`; text that is combined with them is a branch too.

        Args:
            queries: features of each; a source may be missing.
            draws: a number in [0, 1) for each, for models that draw the prompt of a query.
        """
        if not queries:
            return Answers(np.zeros((1, 0, len(self.clips))), np.zeros((1, 0), dtype=np.int64))
        episodes = task_episodes([len(of_class) for of_class in self.clips.values()], draws)
        bank = self._bank(queries, np.union1d(episodes.support_rows, episodes.query_rows))

        def answers_of(**models: nn.Module) -> dict[str, Answers]:
            return evaluate(models, bank, episodes, batch_episodes=1).answers

        if self.text_model is None:
            answers = answers_of(model=self.model)["model"]
            return replace(answers, branch_posteriors=answers.branch_posteriors or {self.model_name: answers.posterior})
        combined = TextAtTest(self.model, self.text_model, weight=self.text_weight).eval()
        answers, text = answers_of(answer=combined, text=self.text_model).values()
        branches = answers.branch_posteriors or {self.model_name: answers_of(model=self.model)["model"].posterior}
        shares = {name: (1 - self.text_weight) * share for name, share in answers.fusion_weights.items()}
        if shares:
            shares["text"] = np.full_like(next(iter(shares.values())), self.text_weight)
        return replace(answers, branch_posteriors=branches | {"text": text.posterior}, fusion_weights=shares)

    def _bank(self, queries: Sequence[ClipFrames], rows: np.ndarray) -> FeatureBank:
        """The features of these rows of `task_episodes`."""
        support = [clip for of_class in self.clips.values() for clip in of_class]
        shots = [{source: frames[0] for source, frames in clip.features.items()} for clip in support]
        readers = {
            source: ClipReader([*shots, *queries, {}], source, feature_scale=scale)
            for source, scale in self.feature_scale.items()
        }
        return FeatureBank(readers, rows, class_text=self.class_text, device=self.device)
