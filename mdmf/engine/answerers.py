"""Evaluation that embeds every video once.

A branch's tokens of a video depend on the video and, for a method with prompts, on the video's prompt, but not on the
episode. They are computed once, before the episodes are answered, and then looked up: for 10,000 episodes of 240 videos
this is 40 times less work than embedding every video in every episode.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from mdmf.data.episodes import EpisodeRows
from mdmf.data.features.bank import FeatureBank
from mdmf.engine.token_cache import CACHE_BYTES, TokenCache
from mdmf.layers.selector import PromptSelector
from mdmf.models.branch import Branch, Tokens
from mdmf.models.method import Method
from mdmf.models.text_at_test import TextAtTest
from mdmf.structures import Episode, EpisodeOutput


@dataclass(frozen=True)
class EpisodeBatch:
    """A batch of episodes of a bank, without labels: positions of the videos and, on demand, their features."""

    rows: EpisodeRows
    bank: FeatureBank

    @cached_property
    def episode(self) -> Episode:
        """The episodes with their features, without labels and class ids; gathered once for all models."""
        return replace(self.bank.episode(self.rows), query_labels=None, class_ids=None)

    @cached_property
    def support(self) -> Tensor:
        """(E, N, K), positions of the support videos in the bank."""
        return self._on_device(self.bank.positions(self.rows.support_rows))

    @cached_property
    def query(self) -> Tensor:
        """(E, Q), positions of the query videos in the bank."""
        return self._on_device(self.bank.positions(self.rows.query_rows))

    @cached_property
    def class_ids(self) -> Tensor:
        """(E, N), class ids of the split, which index the class text."""
        return self._on_device(self.rows.class_ids)

    @cached_property
    def draws(self) -> Tensor:
        """(E, Q), uniform numbers drawn with the episodes, for the prompt selector."""
        return self._on_device(self.rows.query_draws)

    @cached_property
    def support_present(self) -> dict[str, Tensor]:
        """`Episode.support_present`."""
        return self.bank.presence(self.rows.support_rows)

    @cached_property
    def query_present(self) -> dict[str, Tensor]:
        """`Episode.query_present`."""
        return self.bank.presence(self.rows.query_rows)

    def _on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.bank.device)


class Answerer(ABC):
    """Answers the episodes of a bank with a model in evaluation mode; invalid after a training step."""

    def precompute(self, rows: EpisodeRows, *, progress: str | None = None) -> None:  # noqa: B027 (optional)
        """Compute what the answers to these episodes share; `progress` is the title of a progress bar."""

    @abstractmethod
    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        """The model's output."""


def answerer(model: nn.Module, bank: FeatureBank, *, precision: str = "float32") -> Answerer:
    """The answerer of a model: with a cache of tokens where the method allows it, else by calling the model.

    Args:
        precision: of the weights that embed videos, `float32` or `bfloat16`; distances are always float32.
    """
    if isinstance(model, TextAtTest):
        return _TextAnswerer(model, answerer(model.model, bank, precision=precision))
    if not isinstance(model, Method) or not _has_cacheable_tokens(model) or bank.n_variants > 1:
        return _DirectAnswerer(model)
    prompts = None
    if model.selector is not None:
        if bank.class_text is None or not model.selector.chooses_class:
            return _DirectAnswerer(model)
        prompts = ChosenPrompts(model.selector, bank, source=model.prompt_source)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    return CachedAnswerer(model, bank, prompts=prompts, dtype=dtype)


def _has_cacheable_tokens(model: Method) -> bool:
    """Whether a method embeds single videos with trained weights, and answers by `compare` on their tokens.

    It does not if it overrides `forward`, or `embed` of whole episodes.
    """
    overrides = type(model).forward is not Method.forward or type(model).embed is not Method.embed
    return not overrides and model.has_weights and not model.adapts_at_test


class _DirectAnswerer(Answerer):
    """Calls the model on every batch."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        output: EpisodeOutput = self.model(batch.episode)
        return output.detach()


class _TextAnswerer(Answerer):
    """Combines the output of another answerer with that of the class text."""

    def __init__(self, model: TextAtTest, inner: Answerer) -> None:
        self.model, self.inner = model, inner

    def precompute(self, rows: EpisodeRows, *, progress: str | None = None) -> None:
        self.inner.precompute(rows, progress=progress)

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        return self.model.combine(self.inner(batch), batch.episode)


class ChosenPrompts:
    """The class whose prompt each video of an episode is given; prompts are numbered by the class ids of the split.

    The number after the last class is the zero vector of a selector with mode `off`.

    Args:
        selector: in evaluation mode; it must choose a class (not `expect`, which mixes prompts).
        bank: features of the split, with its class text.
        source: source of the frames that the selector compares with the text.
    """

    def __init__(self, selector: PromptSelector, bank: FeatureBank, *, source: str) -> None:
        if bank.class_text is None:
            raise ValueError("prompts need the class text of the bank")
        self.selector, self.bank, self.source = selector, bank, source
        self.class_text = bank.class_text  # (C, D)
        self.vectors = torch.cat([bank.class_text, torch.zeros_like(bank.class_text[:1])])  # (C + 1, D)
        self._scores = TokenCache(bank.n_videos, self._score, device=bank.device)

    def labels(self, batch: EpisodeBatch) -> Tensor:
        """(E, Q), 0..N-1: the class chosen for each query; not for the mode `off`."""
        self._scores.compute(batch.query)
        scores = self._scores.tokens("scores", batch.query)  # (E, Q, C)
        classes = batch.class_ids[:, None].expand(-1, scores.shape[1], -1)  # (E, Q, N)
        return self.selector.choose(self.selector.posterior_of(scores.gather(2, classes)), batch.draws)

    def of_queries(self, batch: EpisodeBatch) -> Tensor:
        """(E, Q): the number of each query's prompt."""
        if self.selector.mode == "off":
            return torch.full_like(batch.query, len(self.class_text))
        return batch.class_ids.gather(1, self.labels(batch))

    def _score(self, positions: Tensor) -> dict[str, Tensor]:
        """Similarity (B, C) of videos at positions (B,) to the text of every class."""
        frames = self.bank.features_at(positions.cpu().numpy())[self.source]
        return {"scores": self.selector.scores(self.class_text[None], frames[None])[0]}


class CachedAnswerer(Answerer):
    """Answers episodes from tokens that are computed once per video (and prompt).

    Args:
        model: in evaluation mode.
        bank: features of the split.
        prompts: prompts of the videos, for a method with a prompt selector.
        dtype: of the weights and features that videos are embedded with.
        max_bytes: size of the `TokenCache`.
    """

    def __init__(
        self,
        model: Method,
        bank: FeatureBank,
        *,
        prompts: ChosenPrompts | None = None,
        dtype: torch.dtype = torch.float32,
        max_bytes: int = CACHE_BYTES,
    ) -> None:
        self.model, self.bank, self.prompts, self._dtype = model, bank, prompts, dtype
        self._branches = {name: _in_dtype(model.branch(name), dtype) for name in model.branches}
        self._token_names: dict[str, list[str]] = {}
        n_keys = bank.n_videos * (1 if prompts is None else len(prompts.vectors))
        self._tokens = TokenCache(n_keys, self._embed, device=bank.device, max_bytes=max_bytes)

    def precompute(self, rows: EpisodeRows, *, progress: str | None = None) -> None:
        """Embed every video of the episodes, with each of its prompts."""
        support, query = self._keys(EpisodeBatch(rows, self.bank))
        self._tokens.precompute(torch.cat([support.flatten(), query.flatten()]), progress=progress)

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        """The method's output for a batch of episodes."""
        support, query = self._keys(batch)
        self._tokens.compute(torch.cat([support.flatten(), query.flatten()]))
        outputs = self.model.compare(
            {branch: (self._gather(branch, support), self._gather(branch, query)) for branch in self._branches},
            class_text=None if self.bank.class_text is None else self.bank.class_text[batch.class_ids],
            support_present=batch.support_present,
            query_present=batch.query_present,
        )
        return self.model.conclude(outputs)

    def _keys(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """Cache keys of the videos (with their prompts): support (E, N, K) and query (E, Q)."""
        if self.prompts is None:
            return batch.support, batch.query
        n_prompts = len(self.prompts.vectors)
        support = batch.support * n_prompts + batch.class_ids[:, :, None]
        return support, batch.query * n_prompts + self.prompts.of_queries(batch)

    def _embed(self, keys: Tensor) -> dict[str, Tensor]:
        """`<branch> <name>` -> tokens (B, ...) of every branch for keys (B,)."""
        if self.prompts is None:
            features = self._features(keys)
            tokens_of = {name: branch.embed(features) for name, branch in self._branches.items()}
        else:
            n_prompts = len(self.prompts.vectors)
            positions, place = (keys // n_prompts).unique_consecutive(return_inverse=True)
            features = self._features(positions)
            vectors = self.prompts.vectors[keys % n_prompts].to(self._dtype)
            tokens_of = {
                name: branch.embed_prompted(features, vectors, place) for name, branch in self._branches.items()
            }
        self._token_names = {branch: list(tokens) for branch, tokens in tokens_of.items()}
        return {
            f"{branch} {name}": value.float() for branch, tokens in tokens_of.items() for name, value in tokens.items()
        }

    def _gather(self, branch: str, keys: Tensor) -> Tokens:
        return {name: self._tokens.tokens(f"{branch} {name}", keys) for name in self._token_names[branch]}

    def _features(self, positions: Tensor) -> dict[str, Tensor]:
        features = self.bank.features_at(positions.cpu().numpy())
        return {source: features[source].to(self._dtype) for source in self.model.sources}


def _in_dtype(branch: Branch, dtype: torch.dtype) -> Branch:
    """The branch itself, or a copy with weights of another type."""
    return branch if dtype == torch.float32 else copy.deepcopy(branch).to(dtype)
