"""Evaluation with every (video, prompt) pair fused once.

At test, the fused tokens of a support video do not depend on the episode, and those of a query depend only on the
prompt that was chosen for it. So each pair is fused when it first comes up, and gathered from then on: for 10,000
episodes of 240 videos that is 40 times less work than fusing the videos of every episode again.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from mdmf.data.episodes import EpisodeRows
from mdmf.engine.bank import FeatureBank
from mdmf.models.branch import BranchOutput
from mdmf.models.multi_view import MultiView
from mdmf.models.text_at_test import TextAtTest
from mdmf.structures import Episode, EpisodeOutput

Answer = Callable[[Episode, EpisodeRows], EpisodeOutput]

_CACHE_BYTES = 2 * 2**30
_PAIRS_PER_CALL = 512


def answerer(model: nn.Module, bank: FeatureBank) -> Answer:
    """How a model in evaluation mode answers a bank's episodes: from a cache where it can, else by calling it."""
    if isinstance(model, TextAtTest):
        inner = answerer(model.model, bank)
        return lambda episode, rows: model.combine(inner(episode, rows), episode)
    can_be_cached = bank.class_text is not None and bank.n_variants == 1
    if can_be_cached and isinstance(model, MultiView) and model.selector.mode != "expect":
        return FusionCache(model, bank)
    return lambda episode, rows: model(episode)


class FusionCache:
    """Answers episodes as `model` would, for one set of weights: it must not outlive a training step.

    Args:
        model: in evaluation mode; its selector must choose a class (not `expect`, which mixes prompts).
        bank: the features of the split.
        max_bytes: size of the cache; beyond it, it is emptied and begun again.
    """

    def __init__(self, model: MultiView, bank: FeatureBank, *, max_bytes: int = _CACHE_BYTES) -> None:
        class_text = bank.class_text
        if class_text is None:
            raise ValueError("a fusion cache needs the class text of its bank")
        self.model, self.bank = model, bank
        # The prompt after the last class is the zero vector of a selector that is off.
        self._prompts = torch.cat([class_text, torch.zeros_like(class_text[:1])])
        self._n_prompts = len(self._prompts)
        self._slot = torch.full((bank.n_videos * self._n_prompts,), -1, dtype=torch.long, device=bank.device)
        self._tokens: dict[str, Tensor] = {}
        self._n_used = 0
        store = bank.store
        bytes_per_pair = 4 * len(model.branches) * (1 + store.n_frames) * store.feature_size
        self._max_pairs = max(1, max_bytes // bytes_per_pair)

    def __call__(self, episode: Episode, rows: EpisodeRows) -> EpisodeOutput:
        """The model's output for a batch of episodes without labels."""
        class_ids = torch.from_numpy(rows.class_ids).to(self.bank.device)
        support = self._pairs(rows.support_rows, class_ids[:, :, None])  # (E, N, K)
        query = self._pairs(rows.query_rows, self._query_prompts(episode, class_ids))  # (E, Q)
        self._fuse_missing(torch.cat([support.flatten(), query.flatten()]).unique())
        outputs = {}
        for view, branch in self.model.views.items():
            tokens = self._tokens[view]
            logits, text_similarity = branch.compare(tokens[self._slot[support]], tokens[self._slot[query]])
            outputs[view] = BranchOutput(logits, text_similarity)
        return self.model.conclude(episode, None, outputs)

    def _pairs(self, rows: np.ndarray, prompts: Tensor) -> Tensor:
        """One number per (video, prompt)."""
        return self.bank.positions(rows) * self._n_prompts + prompts

    def _query_prompts(self, episode: Episode, class_ids: Tensor) -> Tensor:
        """(E, Q): the class whose prompt each query gets."""
        selector = self.model.selector
        query = episode.query[self.model.source]
        if selector.mode == "off":
            return class_ids.new_full(query.shape[:2], self._n_prompts - 1)
        posterior = selector.posterior(self._prompts[class_ids], query)
        return class_ids.gather(1, selector.choose(posterior, episode.query_draws))

    def _fuse_missing(self, pairs: Tensor) -> None:
        """Fuse the pairs (P,), all different, that are not there yet."""
        missing = pairs[self._slot[pairs] < 0]
        if self._n_used + len(missing) > self._max_pairs:
            self._slot.fill_(-1)
            self._n_used, self._tokens, missing = 0, {}, pairs
        if not len(missing):
            return
        made: dict[str, list[Tensor]] = {view: [] for view in self.model.branches}
        for chunk in missing.split(_PAIRS_PER_CALL):
            features = self.bank.features_at(chunk // self._n_prompts)
            prompts = self._prompts[chunk % self._n_prompts]
            for view, branch in self.model.views.items():
                made[view].append(branch.fuse(features, prompts))
        first, self._n_used = self._n_used, self._n_used + len(missing)
        self._slot[missing] = torch.arange(first, self._n_used, device=missing.device)
        for view, parts in made.items():
            self._tokens[view] = _with_room(self._tokens.get(view), self._n_used, like=parts[0])
            torch.cat(parts, out=self._tokens[view][first : self._n_used])


def _with_room(tokens: Tensor | None, n_rows: int, *, like: Tensor) -> Tensor:
    """The same rows in a tensor with room for `n_rows`; it doubles, so that growing costs no more than filling."""
    if tokens is not None and len(tokens) >= n_rows:
        return tokens
    larger = like.new_empty(max(n_rows, 2 * (0 if tokens is None else len(tokens))), *like.shape[1:])
    if tokens is not None:
        larger[: len(tokens)] = tokens
    return larger
