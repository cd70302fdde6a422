"""Evaluation in which nothing is embedded twice.

A branch's tokens of a video do not depend on the episode: only on the video and, for a method that gives prompts, on
the video's prompt. So each is made once, before the episodes are answered, and gathered from then on: for 10,000
episodes of 240 videos that is 40 times less work than making them in every episode again.
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
    """How a model in evaluation mode answers a bank's episodes: from a cache where there is something to keep.

    Args:
        precision: of the weights that make tokens, `float32` or `bfloat16`; distances are float32 in any case.
    """
    if isinstance(model, TextAtTest):
        return _WithText(model, answerer(model.model, bank, precision=precision))
    if not isinstance(model, Method) or not _answers_by_tokens(model) or bank.n_variants > 1:
        return _Called(model)
    prompts = None
    if model.selector is not None:
        if bank.class_text is None or not model.selector.chooses_class:
            return _Called(model)
        prompts = ChosenPrompts(model.selector, bank, source=model.prompt_source)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    return CachedAnswerer(model, bank, prompts=prompts, dtype=dtype)


def _answers_by_tokens(model: Method) -> bool:
    """Whether the answers are those of `compare` on the branches' tokens of single videos, and some can be kept.

    A subclass with a `forward` of its own, or an `embed` of whole episodes, is called.
    """
    is_skeleton = type(model).forward is Method.forward and type(model).embed is Method.embed
    return is_skeleton and model.has_weights and not model.adapts_at_test


class _Called(Answerer):
    """Calls the model: it has nothing to embed, or nothing that could be kept."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        output: EpisodeOutput = self.model(batch.episode)
        return output.detach()


class _WithText(Answerer):
    """Combines the answers of another answerer with those of the class text."""

    def __init__(self, model: TextAtTest, inner: Answerer) -> None:
        self.model, self.inner = model, inner

    def prepare(self, rows: EpisodeRows, *, progress: str | None = None) -> None:
        self.inner.prepare(rows, progress=progress)

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        return self.model.combine(self.inner(batch), batch.episode)


class ChosenPrompts:
    """Which class's prompt each video of an episode is given; the prompts are numbered by class of the split.

    The number after the last class stands for the zero vector of a selector that is off.

    Args:
        selector: in evaluation mode; it must choose a class (not `expect`, which mixes prompts).
        bank: the features of the split, with its class text.
        source: by whose frames the selector chooses.
    """

    def __init__(self, selector: PromptSelector, bank: FeatureBank, *, source: str) -> None:
        if bank.class_text is None:
            raise ValueError("prompts need the class text of the bank")
        self.selector, self.bank, self.source = selector, bank, source
        self.class_text = bank.class_text  # (C, D)
        self.vectors = torch.cat([bank.class_text, torch.zeros_like(bank.class_text[:1])])  # (C + 1, D)
        self._scores = TokenCache(bank.n_videos, self._score, device=bank.device)

    def labels(self, batch: EpisodeBatch) -> Tensor:
        """(E, Q), 0..N-1: the class chosen for each query by a selector that is not off."""
        self._scores.prepare(batch.query)
        scores = self._scores.tokens("scores", batch.query)  # (E, Q, C)
        classes = batch.class_ids[:, None].expand(-1, scores.shape[1], -1)  # (E, Q, N)
        return self.selector.choose(self.selector.posterior_of(scores.gather(2, classes)), batch.draws)

    def of_queries(self, batch: EpisodeBatch) -> Tensor:
        """(E, Q): the number of each query's prompt."""
        if self.selector.mode == "off":
            return torch.full_like(batch.query, len(self.class_text))
        return batch.class_ids.gather(1, self.labels(batch))

    def _score(self, positions: Tensor) -> dict[str, Tensor]:
        """How well videos (B,) fit the text of every class: (B, C)."""
        frames = self.bank.features_at(positions.cpu().numpy())[self.source]
        return {"scores": self.selector.scores(self.class_text[None], frames[None])[0]}


class CachedAnswerer(Answerer):
    """Answers episodes as a method would, from tokens that are made once per video (and prompt).

    Args:
        model: in evaluation mode.
        bank: the features of the split.
        prompts: chooses prompts, for a method that gives prompts to videos.
        dtype: of weights and features where videos are embedded.
        max_bytes: see `TokenCache`.
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

    def prepare(self, rows: EpisodeRows, *, progress: str | None = None) -> None:
        """Embed every video, with every prompt that it will be given."""
        support, query = self._keys(EpisodeBatch(rows, self.bank))
        self._tokens.prepare_ahead(torch.cat([support.flatten(), query.flatten()]), progress=progress)

    def __call__(self, batch: EpisodeBatch) -> EpisodeOutput:
        """The method's output for a batch of episodes."""
        support, query = self._keys(batch)
        self._tokens.prepare(torch.cat([support.flatten(), query.flatten()]))
        outputs = self.model.compare(
            {branch: (self._gather(branch, support), self._gather(branch, query)) for branch in self._branches},
            class_text=None if self.bank.class_text is None else self.bank.class_text[batch.class_ids],
            support_present=batch.support_present,
            query_present=batch.query_present,
        )
        return self.model.conclude(outputs)

    def _keys(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """A number for each video, and its prompt if it is given one: support (E, N, K) and query (E, Q)."""
        if self.prompts is None:
            return batch.support, batch.query
        n_prompts = len(self.prompts.vectors)
        support = batch.support * n_prompts + batch.class_ids[:, :, None]
        return support, batch.query * n_prompts + self.prompts.of_queries(batch)

    def _embed(self, keys: Tensor) -> dict[str, Tensor]:
        """Tokens of every branch, by branch and name: (B, ...)."""
        if self.prompts is None:
            features = self._features(keys)
            made = {name: branch.embed(features) for name, branch in self._branches.items()}
        else:
            n_prompts = len(self.prompts.vectors)
            positions, place = (keys // n_prompts).unique_consecutive(return_inverse=True)
            features = self._features(positions)
            vectors = self.prompts.vectors[keys % n_prompts].to(self._dtype)
            made = {name: branch.embed_prompted(features, vectors, place) for name, branch in self._branches.items()}
        self._token_names = {branch: list(tokens) for branch, tokens in made.items()}
        return {f"{branch} {name}": value.float() for branch, tokens in made.items() for name, value in tokens.items()}

    def _gather(self, branch: str, keys: Tensor) -> Tokens:
        return {name: self._tokens.tokens(f"{branch} {name}", keys) for name in self._token_names[branch]}

    def _features(self, positions: Tensor) -> dict[str, Tensor]:
        features = self.bank.features_at(positions.cpu().numpy())
        return {source: features[source].to(self._dtype) for source in self.model.sources}


def _in_dtype(branch: Branch, dtype: torch.dtype) -> Branch:
    """The branch itself, or a copy with weights of another type."""
    return branch if dtype == torch.float32 else copy.deepcopy(branch).to(dtype)
