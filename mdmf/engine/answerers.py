"""Evaluation in which nothing is embedded twice.

At test, a video's tokens do not depend on the episode it stands in: those of a multi-modal head depend on the video
alone, those of CLIP-M2DF on the video and the prompt that was chosen for it. So each is made once, before the episodes
are answered, and gathered from then on: for 10,000 episodes of 240 videos that is 40 times less work than making them
in every episode again.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mdmf.data.episodes import EpisodeRows
from mdmf.data.features.bank import FeatureBank
from mdmf.engine.token_cache import CACHE_BYTES, TokenCache
from mdmf.layers.selector import PromptSelector, top_frames_similarity
from mdmf.models.branch import FusedVideos, ViewBranch
from mdmf.models.multi_modal import ModalityBranch, MultiModal
from mdmf.models.multi_view import MultiView
from mdmf.models.presence import videos_present
from mdmf.models.text_at_test import TextAtTest
from mdmf.structures import Episode, EpisodeOutput


@dataclass(frozen=True)
class EpisodeBatch:
    """Some episodes of a bank, without labels: as rows and, for who asks, with their features."""

    rows: EpisodeRows
    bank: FeatureBank

    @cached_property
    def episode(self) -> Episode:
        """The features, gathered once for all models; no label and no class id is in it."""
        return replace(self.bank.episode(self.rows), query_labels=None, class_ids=None)

    @cached_property
    def support(self) -> Tensor:
        """(E, N, K), where the support videos stand in the bank."""
        return self._on_device(self.bank.positions(self.rows.support_rows))

    @cached_property
    def query(self) -> Tensor:
        """(E, Q), where the query videos stand in the bank."""
        return self._on_device(self.bank.positions(self.rows.query_rows))

    @cached_property
    def class_ids(self) -> Tensor:
        """(E, N), for the classes' text."""
        return self._on_device(self.rows.class_ids)

    @cached_property
    def draws(self) -> Tensor:
        """(E, Q) uniform numbers, made with the episodes."""
        return self._on_device(self.rows.query_draws)

    @cached_property
    def support_present(self) -> dict[str, Tensor]:
        """See `Episode`."""
        return self.bank.presence(self.rows.support_rows)

    @cached_property
    def query_present(self) -> dict[str, Tensor]:
        """See `Episode`."""
        return self.bank.presence(self.rows.query_rows)

    def _on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.bank.device)


class Answerer(ABC):
    """Answers a bank's episodes as a model in evaluation mode would; it must not outlive a training step."""

    def prepare(self, rows: EpisodeRows, *, progress: str | None = None) -> None:  # noqa: B027 (nothing is enough)
        """Do what can be done at once for many episodes that will come; nothing by default."""

    @abstractmethod
    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        """The model's output."""


def answerer(model: nn.Module, bank: FeatureBank, *, precision: str = "float32") -> Answerer:
    """How a model in evaluation mode answers a bank's episodes: from a cache where it can, else by calling it.

    Args:
        precision: of the weights that make tokens, `float32` or `bfloat16`; distances are float32 in any case.
    """
    if isinstance(model, TextAtTest):
        return _WithText(model, answerer(model.model, bank, precision=precision))
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if bank.n_variants == 1 and isinstance(model, MultiModal) and _are_all(model.branches, ModalityBranch):
        return EmbeddingCache(model, bank, dtype=dtype)
    if bank.n_variants == 1 and isinstance(model, MultiView) and _are_all(model.branches, ViewBranch):
        can_choose = type(model.selector) is PromptSelector and model.selector.mode != "expect"
        if can_choose and bank.class_text is not None:
            return FusionCache(model, bank, dtype=dtype)
    return _Called(model)


def _are_all(branches: nn.ModuleDict, kind: type[nn.Module]) -> bool:
    """Whether all are of just this kind: one of a user's own, in a shipped method, may do what a cache does not see."""
    return all(type(branch) is kind for branch in branches.values())


class _Called(Answerer):
    """Calls the model: it has nothing to embed, or nothing that could be kept."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        output: EpisodeOutput = self.model(batch.episode)
        return output


class _WithText(Answerer):
    """Combines the answers of another answerer with those of the class text."""

    def __init__(self, model: TextAtTest, inner: Answerer) -> None:
        self.model, self.inner = model, inner

    def prepare(self, rows: EpisodeRows, *, progress: str | None = None) -> None:
        self.inner.prepare(rows, progress=progress)

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        return self.model.combine(self.inner(batch), batch.episode)


class FusionCache(Answerer):
    """Answers episodes as CLIP-M2DF would.

    Args:
        model: in evaluation mode; its selector must choose a class (not `expect`, which mixes prompts).
        bank: the features of the split.
        dtype: of weights and features where they are fused.
        max_bytes: see `TokenCache`.
    """

    def __init__(
        self,
        model: MultiView,
        bank: FeatureBank,
        *,
        dtype: torch.dtype = torch.float32,
        max_bytes: int = CACHE_BYTES,
    ) -> None:
        class_text = bank.class_text
        if class_text is None:
            raise ValueError("a fusion cache needs the class text of its bank")
        self.model, self.bank, self._dtype = model, bank, dtype
        self._fusing = _in_dtype(model.views, dtype)
        # The prompt after the last class is the zero vector of a selector that is off.
        self._prompts = torch.cat([class_text, torch.zeros_like(class_text[:1])])
        n_keys = bank.n_videos * len(self._prompts)
        self._tokens = TokenCache(n_keys, self._fuse, device=bank.device, max_bytes=max_bytes)
        self._scores = TokenCache(bank.n_videos, self._score, device=bank.device, max_bytes=max_bytes)

    @property
    def class_text(self) -> Tensor:
        """(C, D), what the prompts are of each class of the split."""
        return self._prompts[:-1]

    def prepare(self, rows: EpisodeRows, *, progress: str | None = None) -> None:
        """Fuse every video with every prompt that it will be given."""
        support, query = self._pairs(EpisodeBatch(rows, self.bank))
        self._tokens.prepare_ahead(torch.cat([support.flatten(), query.flatten()]), progress=progress)

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        """The model's output for a batch of episodes."""
        support, query = self._pairs(batch)
        self._tokens.prepare(torch.cat([support.flatten(), query.flatten()]))
        outputs = {
            view: branch.compare(
                self._fused(view, support),
                self._fused(view, query),
                support_present=batch.support_present.get(self.model.source),
                query_present=batch.query_present.get(self.model.source),
            )
            for view, branch in self.model.views.items()
        }
        return self.model.conclude(outputs)

    def _pairs(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """A number for each video and the prompt it is given: support (E, N, K) and query (E, Q)."""
        n_prompts = len(self._prompts)
        support = batch.support * n_prompts + batch.class_ids[:, :, None]
        return support, batch.query * n_prompts + self._query_prompts(batch)

    def _query_prompts(self, batch: EpisodeBatch) -> Tensor:
        """(E, Q): the class whose prompt each query gets."""
        if self.model.selector.mode == "off":
            return torch.full_like(batch.query, len(self._prompts) - 1)
        return batch.class_ids.gather(1, self.chosen_labels(batch))

    def chosen_labels(self, batch: EpisodeBatch) -> Tensor:
        """(E, Q), 0..N-1: the class whose prompt each query is given by a selector that is not off."""
        selector = self.model.selector
        self._scores.prepare(batch.query)
        scores = self._scores.tokens("scores", batch.query)  # (E, Q, C)
        classes = batch.class_ids[:, None].expand(-1, scores.shape[1], -1)  # (E, Q, N)
        return selector.choose(selector.posterior_of(scores.gather(2, classes)), batch.draws)

    def _score(self, positions: Tensor) -> dict[str, Tensor]:
        """How well videos (B,) fit the text of every class: (B, C)."""
        selector, frames = self.model.selector, self._features(positions)
        scores = top_frames_similarity(self.class_text[None], frames[None], top_k=selector.top_k, eps=selector.eps)
        return {"scores": scores[0]}

    def _fuse(self, pairs: Tensor) -> dict[str, Tensor]:
        """Frames (B, T, D) and text (B, D) of each view; a video's context is computed once for all its prompts."""
        positions, place = (pairs // len(self._prompts)).unique_consecutive(return_inverse=True)
        frames = self._features(positions).to(self._dtype)
        prompts = self._prompts[pairs % len(self._prompts)].to(self._dtype)
        parts: dict[str, Tensor] = {}
        for view, branch in self._fusing.items():
            tokens = branch.fusion(prompts, branch.context(frames)[place], frames[place]).float()
            fused = branch.cut(tokens)
            parts |= {f"{view} frames": fused.frames, f"{view} text": fused.text}
        return parts

    def _fused(self, view: str, pairs: Tensor) -> FusedVideos:
        return FusedVideos(*(self._tokens.tokens(f"{view} {part}", pairs) for part in ("frames", "text")))

    def _features(self, positions: Tensor) -> Tensor:
        return self.bank.features_at(positions.cpu().numpy())[self.model.source]


class EmbeddingCache(Answerer):
    """Answers episodes as a multi-modal model would.

    Args:
        model: in evaluation mode.
        bank: the features of the split.
        dtype: of weights and features where they are embedded.
        max_bytes: see `TokenCache`.
    """

    def __init__(
        self,
        model: MultiModal,
        bank: FeatureBank,
        *,
        dtype: torch.dtype = torch.float32,
        max_bytes: int = CACHE_BYTES,
    ) -> None:
        self.model, self.bank, self._dtype = model, bank, dtype
        self._embedding = _in_dtype(model.modality_branches, dtype)
        self._tokens = TokenCache(bank.n_videos, self._embed, device=bank.device, max_bytes=max_bytes)

    def prepare(self, rows: EpisodeRows, *, progress: str | None = None) -> None:
        """Embed every video that will come."""
        batch = EpisodeBatch(rows, self.bank)
        self._tokens.prepare_ahead(torch.cat([batch.support.flatten(), batch.query.flatten()]), progress=progress)

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        """The model's output for a batch of episodes."""
        self._tokens.prepare(torch.cat([batch.support.flatten(), batch.query.flatten()]))
        outputs = {
            name: branch.compare(
                self._tokens.tokens(name, batch.support),
                self._tokens.tokens(name, batch.query),
                support_present=videos_present(batch.support_present, branch.sources),
                query_present=videos_present(batch.query_present, branch.sources),
            )
            for name, branch in self.model.modality_branches.items()
        }
        return self.model.conclude(outputs)

    def _embed(self, positions: Tensor) -> dict[str, Tensor]:
        found = self.bank.features_at(positions.cpu().numpy())
        features = {source: frames.to(self._dtype) for source, frames in found.items()}
        return {name: branch.embed(features).float() for name, branch in self._embedding.items()}


def _in_dtype(branches: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The branches themselves, or copies with weights of another type."""
    if dtype == torch.float32:
        return dict(branches)
    return {name: copy.deepcopy(branch).to(dtype) for name, branch in branches.items()}
