"""One episode without labels: any number of clips against the support that somebody gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mdmf.models.text_at_test import combine_with_text
from mdmf.recognition.own_support import OwnSupport, make_queries
from mdmf.recognition.predictions import trusted_branches
from mdmf.structures import Episode, EpisodeOutput

QUERIES_PER_CALL = 64


@dataclass(frozen=True, eq=False)
class Answers:
    """What is said of n queries.

    Attributes:
        posterior: (n, N).
        branches: branch -> (n, N); a model without branches is one itself, and text that joins in is another.
        trusted: (n) see `trusted_branches`.
    """

    posterior: np.ndarray
    branches: dict[str, np.ndarray]
    trusted: tuple[str, ...]


class OwnAnswers:
    """A model with its support, ready for queries.

    Args:
        support: of the one episode.
        model: in evaluation mode; it is given Q queries at a time, and answers each as if it were alone.
        model_name: names the branch of a model that has none.
        class_text: (N, D), where the model or `text_model` looks at it.
        text_model: answers by the class text alone, where it is to join in.
        text_weight: its weight a in `p_text^a · p_visual^(1-a)`.
        device: where the model is.
    """

    def __init__(
        self,
        support: OwnSupport,
        *,
        model: nn.Module,
        model_name: str,
        class_text: Tensor | None = None,
        text_model: nn.Module | None = None,
        text_weight: float = 0.0,
        device: torch.device,
    ) -> None:
        self.support, self.device, self.text_weight = support, device, text_weight
        self._model, self._name, self._text_model = model.to(device).eval(), model_name, text_model
        self._class_text = None if class_text is None else class_text[None].to(device)

    def answer(self, queries: Sequence[Mapping[str, np.ndarray]], draws: Sequence[float]) -> Answers:
        """Answer some queries.

        Args:
            queries: for each, source -> features (T, D), not scaled.
            draws: a number in [0, 1) for each, for models that draw the prompt of a query.
        """
        outputs = [
            self._call(queries[start : start + QUERIES_PER_CALL], draws[start : start + QUERIES_PER_CALL])
            for start in range(0, len(queries), QUERIES_PER_CALL)
        ]
        if not outputs:
            nothing = np.zeros((0, len(self.support.classes)))
            return Answers(nothing, {}, ())
        branches = {name: np.concatenate([part.branches[name] for part in outputs]) for name in outputs[0].branches}
        trusted = tuple(name for part in outputs for name in part.trusted)
        return Answers(np.concatenate([part.posterior for part in outputs]), branches, trusted)

    @torch.no_grad()  # not inference_mode: a method may adapt to the support by gradients
    def _call(self, queries: Sequence[Mapping[str, np.ndarray]], draws: Sequence[float]) -> Answers:
        features, present = make_queries(queries, self.support)
        episode = Episode(
            support=self.support.features,
            query=features,
            class_text=self._class_text,
            query_draws=torch.tensor([list(draws)], dtype=torch.float32),
            support_present=self.support.present,
            query_present=present,
        ).to(self.device)
        output: EpisodeOutput = self._model(episode)
        logits, branches = output.logits, dict(output.branch_logits) or {self._name: output.logits}
        shares = dict(output.fusion_weight)
        if self._text_model is not None:
            text: EpisodeOutput = self._text_model(episode)
            logits = combine_with_text(logits, text.logits, self.text_weight)
            branches["text"] = text.logits
            if shares:
                shares = {name: (1 - self.text_weight) * share for name, share in shares.items()}
                shares["text"] = torch.full_like(next(iter(shares.values())), self.text_weight)
        posteriors = {name: _posterior(part) for name, part in branches.items()}
        certainty = {name: posterior.max(axis=1) for name, posterior in posteriors.items()}
        by_share = {name: share[0].float().cpu().numpy() for name, share in shares.items()}
        return Answers(_posterior(logits), posteriors, trusted_branches(certainty, by_share))


def _posterior(logits: Tensor) -> np.ndarray:
    """(1, Q, N) -> (Q, N)."""
    return logits[0].float().softmax(dim=-1).cpu().numpy()
