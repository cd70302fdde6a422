"""Evaluation in which nothing is embedded twice.

At test, a video's tokens do not depend on the episode it stands in: those of a multi-modal head depend on the video
alone, those of CLIP-M2DF on the video and the prompt that was chosen for it. So each is made when it first comes up,
and gathered from then on: for 10,000 episodes of 240 videos that is 40 times less work than making them in every
episode again.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from mdmf.data.episodes import EpisodeRows
from mdmf.engine.bank import FeatureBank
from mdmf.models.multi_modal import MultiModal
from mdmf.models.multi_view import MultiView
from mdmf.models.presence import videos_present
from mdmf.models.text_at_test import TextAtTest
from mdmf.structures import Episode, EpisodeOutput

Answer = Callable[[Episode, EpisodeRows], EpisodeOutput]
MakeTokens = Callable[[Tensor], dict[str, Tensor]]  # keys (B,) -> branch -> (B, L, D)

_CACHE_BYTES = 2 * 2**30
_KEYS_PER_CALL = 512


def answerer(model: nn.Module, bank: FeatureBank) -> Answer:
    """How a model in evaluation mode answers a bank's episodes: from a cache where it can, else by calling it."""
    if isinstance(model, TextAtTest):
        inner = answerer(model.model, bank)
        return lambda episode, rows: model.combine(inner(episode, rows), episode)
    if bank.n_variants == 1 and isinstance(model, MultiModal):
        return EmbeddingCache(model, bank)
    can_choose = isinstance(model, MultiView) and model.selector.mode != "expect" and bank.class_text is not None
    if bank.n_variants == 1 and isinstance(model, MultiView) and can_choose:
        return FusionCache(model, bank)
    return lambda episode, rows: model(episode)


class TokenCache:
    """Tokens by number, for one set of weights: it must not outlive a training step.

    Args:
        n_keys: numbers run from 0 to n_keys - 1.
        make: gives each branch's tokens of the numbers it is called with.
        max_bytes: size of the cache; beyond it, it is emptied and begun again.
    """

    def __init__(self, n_keys: int, make: MakeTokens, *, device: torch.device, max_bytes: int = _CACHE_BYTES) -> None:
        self._make, self._max_bytes = make, max_bytes
        self._slot = torch.full((n_keys,), -1, dtype=torch.long, device=device)
        self._tokens: dict[str, Tensor] = {}
        self._n_used, self._bytes_per_key = 0, 0

    def prepare(self, keys: Tensor) -> None:
        """Make what is missing of the numbers in `keys` (any shape); they can be looked up until the next call."""
        keys = keys.unique()
        missing = keys[self._slot[keys] < 0]
        if (self._n_used + len(missing)) * self._bytes_per_key > self._max_bytes:
            self._slot.fill_(-1)
            self._n_used, self._tokens, missing = 0, {}, keys
        for start in range(0, len(missing), _KEYS_PER_CALL):
            chunk = missing[start : start + _KEYS_PER_CALL]
            self._add(chunk, self._make(chunk))

    def tokens(self, branch: str, keys: Tensor) -> Tensor:
        """Tokens of prepared numbers: (...) -> (..., L, D)."""
        return self._tokens[branch][self._slot[keys]]

    def _add(self, keys: Tensor, made: dict[str, Tensor]) -> None:
        self._bytes_per_key = sum(tokens[0].numel() * tokens.element_size() for tokens in made.values())
        first, self._n_used = self._n_used, self._n_used + len(keys)
        self._slot[keys] = torch.arange(first, self._n_used, device=keys.device)
        for branch, tokens in made.items():
            self._tokens[branch] = _with_room(self._tokens.get(branch), self._n_used, like=tokens)
            self._tokens[branch][first : self._n_used] = tokens


class FusionCache:
    """Answers episodes as CLIP-M2DF would.

    Args:
        model: in evaluation mode; its selector must choose a class (not `expect`, which mixes prompts).
        bank: the features of the split.
        max_bytes: see `TokenCache`.
    """

    def __init__(self, model: MultiView, bank: FeatureBank, *, max_bytes: int = _CACHE_BYTES) -> None:
        class_text = bank.class_text
        if class_text is None:
            raise ValueError("a fusion cache needs the class text of its bank")
        self.model, self.bank = model, bank
        # The prompt after the last class is the zero vector of a selector that is off.
        self._prompts = torch.cat([class_text, torch.zeros_like(class_text[:1])])
        n_keys = bank.n_videos * len(self._prompts)
        self._cache = TokenCache(n_keys, self._fuse, device=bank.device, max_bytes=max_bytes)

    def __call__(self, episode: Episode, rows: EpisodeRows) -> EpisodeOutput:
        """The model's output for a batch of episodes without labels."""
        class_ids = torch.from_numpy(rows.class_ids).to(self.bank.device)
        support = self._pairs(rows.support_rows, class_ids[:, :, None])  # (E, N, K)
        query = self._pairs(rows.query_rows, self._query_prompts(episode, class_ids))  # (E, Q)
        self._cache.prepare(torch.cat([support.flatten(), query.flatten()]))
        outputs = {
            view: branch.compare(
                self._cache.tokens(view, support),
                self._cache.tokens(view, query),
                support_present=episode.support_present.get(self.model.source),
                query_present=episode.query_present.get(self.model.source),
            )
            for view, branch in self.model.views.items()
        }
        return self.model.conclude(episode, None, outputs)

    def _pairs(self, rows: np.ndarray, prompts: Tensor) -> Tensor:
        """One number per (video, prompt)."""
        positions = torch.from_numpy(self.bank.positions(rows)).to(self.bank.device)
        return positions * len(self._prompts) + prompts

    def _query_prompts(self, episode: Episode, class_ids: Tensor) -> Tensor:
        """(E, Q): the class whose prompt each query gets."""
        selector = self.model.selector
        query = episode.query[self.model.source]
        if selector.mode == "off":
            return class_ids.new_full(query.shape[:2], len(self._prompts) - 1)
        posterior = selector.posterior(self._prompts[class_ids], query)
        return class_ids.gather(1, selector.choose(posterior, episode.query_draws))

    def _fuse(self, pairs: Tensor) -> dict[str, Tensor]:
        features = self.bank.features_at((pairs // len(self._prompts)).cpu().numpy())[self.model.source]
        prompts = self._prompts[pairs % len(self._prompts)]
        return {view: branch.fuse(features, prompts) for view, branch in self.model.views.items()}


class EmbeddingCache:
    """Answers episodes as a multi-modal model would.

    Args:
        model: in evaluation mode.
        bank: the features of the split.
        max_bytes: see `TokenCache`.
    """

    def __init__(self, model: MultiModal, bank: FeatureBank, *, max_bytes: int = _CACHE_BYTES) -> None:
        self.model, self.bank = model, bank
        self._cache = TokenCache(bank.n_videos, self._embed, device=bank.device, max_bytes=max_bytes)

    def __call__(self, episode: Episode, rows: EpisodeRows) -> EpisodeOutput:
        """The model's output for a batch of episodes without labels."""
        episode = self.model.prepare(episode)
        support, query = (
            torch.from_numpy(self.bank.positions(videos)).to(self.bank.device)
            for videos in (rows.support_rows, rows.query_rows)
        )
        self._cache.prepare(torch.cat([support.flatten(), query.flatten()]))
        outputs = {
            name: branch.compare(
                self._cache.tokens(name, support),
                self._cache.tokens(name, query),
                support_present=videos_present(episode.support_present, branch.sources),
                query_present=videos_present(episode.query_present, branch.sources),
            )
            for name, branch in self.model.modality_branches.items()
        }
        return self.model.conclude(episode, episode, outputs)

    def _embed(self, positions: Tensor) -> dict[str, Tensor]:
        features = self.bank.features_at(positions.cpu().numpy())
        return {name: branch.embed(features) for name, branch in self.model.modality_branches.items()}


def _with_room(tokens: Tensor | None, n_rows: int, *, like: Tensor) -> Tensor:
    """The same rows in a tensor with room for `n_rows`; it doubles, so that growing costs no more than filling."""
    if tokens is not None and len(tokens) >= n_rows:
        return tokens
    larger = like.new_empty(max(n_rows, 2 * (0 if tokens is None else len(tokens))), *like.shape[1:])
    if tokens is not None:
        larger[: len(tokens)] = tokens
    return larger
