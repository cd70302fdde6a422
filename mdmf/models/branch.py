"""A branch: one way to compare queries with classes. Here distance becomes logits, and nowhere else.

A branch has two parts. `embed` depends on one video, and on its prompt where the method gives it one; `compare` depends
on the episode. A method calls the two one after the other, and a test calls `embed` once per video (and prompt).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mdmf.distances.video import VideoDistance
from mdmf.layers.prototypes import class_prototypes, prototypes_without_each_shot
from mdmf.models.presence import query_usable
from mdmf.structures import BranchOutput

Tokens = dict[str, Tensor]  # name -> (..., one video's shape); "frames" (..., T, H) where a branch has frame tokens


def logits_from_distance(distance: Tensor, *, temperature: float = 1.0) -> Tensor:
    """`-distance / temperature`: smaller distance, larger logit; any shape."""
    return -distance if temperature == 1 else -distance / temperature


@dataclass(frozen=True)
class Task:
    """What a branch may know of a batch of episodes beside the tokens of their videos.

    Attributes:
        class_text: (E, N, D), the text feature of each class; None where there is no text.
        support_present: (E, N, K) bool, the support videos that have features of the branch's sources (the others are
            zeros); None: all.
        query_present: (E, Q) bool, likewise.
        wants_evidence: whether the method asks how well the branch explains the support's labels.
    """

    class_text: Tensor | None = None
    support_present: Tensor | None = None
    query_present: Tensor | None = None
    wants_evidence: bool = False


class Branch(nn.Module, ABC):
    """Base class of branches: a subclass defines `compare`, usually `embed`, and may override the rest.

    Args:
        sources: names of the sources of features that `embed` looks at.
    """

    compares_support = True  # False for a branch that answers without looking at the support videos

    def __init__(self, *, sources: Sequence[str]) -> None:
        super().__init__()
        self.sources = tuple(sources)

    def __init_subclass__(cls, **settings: Any) -> None:
        """A subclass that overrides `embed` gets the plain `embed_prompted`, not its parent's faster one."""
        super().__init_subclass__(**settings)
        if "embed" in vars(cls) and "embed_prompted" not in vars(cls):
            cls.embed_prompted = Branch.embed_prompted  # type: ignore[method-assign]

    def embed(self, features: Mapping[str, Tensor], prompts: Tensor | None = None) -> Tokens:
        """Tokens of single videos; by default their features as they are.

        Args:
            features: source -> (B, T, D).
            prompts: (B, D), the text feature that each video is given; None for a method without a prompt selector.

        Returns:
            name -> (B, ...).
        """
        return {"frames": features[self.sources[0]]}

    def embed_prompted(self, features: Mapping[str, Tensor], prompts: Tensor, place: Tensor) -> Tokens:
        """Tokens of videos with several prompts each; override it to compute what needs no prompt once per video.

        Args:
            features: source -> (V, T, D).
            prompts: (B, D).
            place: (B,), which of the V videos each prompt is for.

        Returns:
            name -> (B, ...).
        """
        return self.embed({source: frames[place] for source, frames in features.items()}, prompts)

    @abstractmethod
    def compare(self, support: Tokens, query: Tokens, task: Task) -> BranchOutput:
        """Logits of the queries.

        Args:
            support: name -> (E, N, K, ...).
            query: name -> (E, Q, ...).
            task: what else is known.
        """

    def usable(self, task: Task, *, n_queries: int) -> Tensor | None:
        """(E, Q) bool, the queries that this branch can answer; None: all. The others get logits of 0."""
        return query_usable(task.support_present, task.query_present, n_queries=n_queries)

    def support_evidence(self, support: Tokens, task: Task) -> Tensor | None:
        """Mean log-likelihood (E,) of the support's labels, each video classified without itself (AMFIR).

        None with one shot. The other classes are compared with all their shots, the own class with its other
        shots; not a number where no class has a second shot.
        """
        N, K = next(iter(support.values())).shape[1:3]
        if K < 2:
            return None
        queries = {name: tokens.flatten(1, 2) for name, tokens in support.items()}  # (E, N*K, ...)
        logits = self.compare(support, queries, replace(task, wants_evidence=False)).logits.unflatten(1, (N, K))
        return label_likelihood(logits, self._own_class_logits(support, task), task.support_present)

    def _own_class_logits(self, support: Tokens, task: Task) -> Tensor:
        """(E, N, K): the logit of each support video's own class, made of the class's other shots."""
        E, N, K = next(iter(support.values())).shape[:3]
        logits = []
        for shot in range(K):
            others = [other for other in range(K) if other != shot]
            rest = {name: tokens[:, :, others].flatten(0, 1)[:, None] for name, tokens in support.items()}
            video = {name: tokens[:, :, shot].flatten(0, 1)[:, None] for name, tokens in support.items()}
            present = task.support_present
            text = None if task.class_text is None else task.class_text.flatten(0, 1)[:, None]
            single = Task(text, None if present is None else present[:, :, others].flatten(0, 1)[:, None])
            logits.append(self.compare(rest, video, single).logits.reshape(E, N))  # episodes of one class, one query
        return torch.stack(logits, dim=2)

    def frame_costs(self, support: Tokens, query: Tokens) -> Tensor | None:
        """Distances (E, Q, N, T, S) of query to prototype frames, for story boards; None for a branch without them."""
        return None

    def align(self, costs: Tensor) -> Tensor:
        """The distance behind the logits, from frame costs: (..., T, S) -> (...)."""
        raise TypeError(f"{type(self).__name__} has no frame costs")

    @property
    def has_weights(self) -> bool:
        """Whether there is anything to train."""
        return next(self.parameters(), None) is not None


def label_likelihood(logits: Tensor, own_logits: Tensor, present: Tensor | None) -> Tensor:
    """Mean log-likelihood of the support's labels, each video classified without itself.

    Args:
        logits: (E, N, K, N), of each support video; the logit of its own class is not used.
        own_logits: (E, N, K), of its own class, from the class's other shots.
        present: (E, N, K) bool, the videos that have features; None: all.

    Returns:
        (E,); not a number where no class has a second shot.
    """
    is_own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)[:, None]  # (N, 1, N)
    likelihood = torch.where(is_own, own_logits[..., None], logits).log_softmax(dim=-1)
    own_likelihood = likelihood.diagonal(dim1=1, dim2=3).transpose(1, 2)  # (E, N, K)
    if present is None:
        return own_likelihood.mean(dim=(1, 2))
    counts = present & (present.sum(dim=2, keepdim=True) > 1)  # a lone shot has no other to be classified by
    n_counted = counts.sum(dim=(1, 2))
    mean = own_likelihood.masked_fill(~counts, 0).sum(dim=(1, 2)) / n_counted.clamp(min=1)
    return mean.masked_fill(n_counted == 0, torch.nan)


class PrototypeBranch(Branch):
    """Frames of a query against the mean frames of each class's support videos, by a video distance.

    Args:
        head: features (B, T, D) of each source -> frame tokens (B, T, H); None: the features of one source as they are.
        sources: what the head is given, in this order.
        distance: of query tokens to prototypes.
        temperature: the branch's logits are `-distance / temperature`.
    """

    def __init__(
        self,
        head: nn.Module | None = None,
        *,
        sources: Sequence[str],
        distance: VideoDistance,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(sources=sources)
        self.head, self.distance, self.temperature = head, distance, temperature

    def embed(self, features: Mapping[str, Tensor], prompts: Tensor | None = None) -> Tokens:
        """Frame tokens (B, T, H)."""
        if self.head is None:
            return super().embed(features)
        return {"frames": self.head(*(features[source] for source in self.sources))}

    def compare(self, support: Tokens, query: Tokens, task: Task) -> BranchOutput:
        """Logits from the distance to each class's prototype."""
        prototypes = class_prototypes(support["frames"], task.support_present)  # (E, N, K, T, H) -> (E, N, T, H)
        logits = self._logits(query["frames"], prototypes)
        N, K = support["frames"].shape[1:3]
        if not task.wants_evidence or K < 2:
            return BranchOutput(logits)
        support_logits = self._logits(support["frames"].flatten(1, 2), prototypes).unflatten(1, (N, K))
        own_logits = self._own_class_logits(support, task)
        evidence = label_likelihood(support_logits, own_logits, task.support_present)
        return BranchOutput(logits, support_evidence=evidence)

    def frame_costs(self, support: Tokens, query: Tokens) -> Tensor | None:
        """Cosine distances of frames; None for a distance of mean frames."""
        if not self.distance.compares_frames:
            return None
        return self.distance.frame_costs(query["frames"], class_prototypes(support["frames"]))

    def align(self, costs: Tensor) -> Tensor:
        """As the distance aligns frames."""
        return self.distance.align(costs)

    def _logits(self, query_tokens: Tensor, prototypes: Tensor) -> Tensor:
        return logits_from_distance(self.distance(query_tokens, prototypes), temperature=self.temperature)

    def _own_class_logits(self, support: Tokens, task: Task) -> Tensor:
        """As in `Branch`, from one sum over the shots."""
        frames = support["frames"]
        others = prototypes_without_each_shot(frames, task.support_present)  # (E, N, K, T, H)
        logits = self._logits(frames.flatten(0, 2)[:, None], others.flatten(0, 2)[:, None])
        return logits.reshape(frames.shape[:3])
