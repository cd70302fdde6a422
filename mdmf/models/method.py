"""A method: branches that answer, a selection that says which one is trusted, and a fusion of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdmf.layers.selector import PromptSelector
from mdmf.models.branch import Branch, Task, Tokens
from mdmf.models.presence import videos_present
from mdmf.mutual.certainty import certainty
from mdmf.mutual.condition import teacher_index
from mdmf.mutual.distill import mutual_distillation
from mdmf.mutual.fuse import WeightedSum
from mdmf.mutual.selection import Selection
from mdmf.structures import BranchOutput, Episode, EpisodeOutput, check_shape

CROSS_ENTROPIES = ("fused", "branches", "all")
RESERVED_NAMES = {"fused", "all", "none", "both", "several"}  # of rows and columns beside those of branches


@dataclass(frozen=True)
class LossWeights:
    """λ of each loss that is added to the cross-entropy.

    `distill_per_query`: λ_kd is divided by the number of queries of the episode (the `released` preset of CLIP-M2DF).
    """

    distill: float = 1.0
    video_text: float = 0.0
    distill_per_query: bool = False


class Method(nn.Module):
    """The skeleton of every method; a method says what its branches are, and is given its parts.

    Args:
        branches: name -> branch, at least one.
        selection: says who is trusted on which query (`mdmf/mutual/selection.py`); needed for more than one branch that
            teach each other.
        fusion: makes one answer of the branches' (`mdmf/mutual/fuse.py`); None: their sum.
        selector: chooses the prompt of a query, for branches that embed videos with prompts; a support video is given
            the text of its own class.
        loss_weights: λ of the losses.
        detach_teacher: no gradient to the teacher.
        cross_entropy: of the `fused` answer, of the `branches` (their sum), or of `all`.

    Raises:
        ValueError: for no branch, or another cross-entropy.
    """

    adapts_at_test = False  # True for a method that needs gradients to answer (MAML): its answers are not cached

    def __init__(
        self,
        branches: Mapping[str, Branch],
        *,
        selection: nn.Module | None = None,
        fusion: nn.Module | None = None,
        selector: PromptSelector | None = None,
        loss_weights: LossWeights | None = None,
        detach_teacher: bool = True,
        cross_entropy: str = "fused",
    ) -> None:
        super().__init__()
        if not branches:
            raise ValueError("a method needs at least one branch")
        for name, branch in branches.items():
            if name in RESERVED_NAMES:
                raise ValueError(f"no branch may be called {name!r}: it has another meaning in tables")
            if not isinstance(branch, Branch):
                raise ValueError(f"branch {name!r} is a {type(branch).__name__}; expected an mdmf.models.branch.Branch")
        if cross_entropy not in CROSS_ENTROPIES:
            raise ValueError(f"cross_entropy must be one of {CROSS_ENTROPIES}, got {cross_entropy!r}")
        self.branches = nn.ModuleDict(branches)
        self.selection = selection
        self.fusion = WeightedSum(dict.fromkeys(branches, 1.0)) if fusion is None else fusion
        self.selector = selector
        self.loss_weights = loss_weights or LossWeights()
        self.detach_teacher = detach_teacher
        self.cross_entropy = cross_entropy

    def branch(self, name: str) -> Branch:
        """One of the branches."""
        branch: Branch = self.branches[name]  # type: ignore[assignment]
        return branch

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that the branches look at, each once."""
        return tuple(dict.fromkeys(source for name in self.branches for source in self.branch(name).sources))

    @property
    def compares_support(self) -> bool:
        """Whether the answer depends on the support videos."""
        return any(self.branch(name).compares_support for name in self.branches)

    @property
    def prompt_source(self) -> str:
        """The source by which the selector chooses prompts."""
        return self.sources[0]

    @property
    def has_weights(self) -> bool:
        """Whether there is anything to train."""
        return next(self.parameters(), None) is not None

    def set_training_classes(self, class_text: Tensor | None) -> None:
        """Give the text features (C, D) of every training class, for losses that need them; ignored by default."""

    def extra_losses(
        self, episode: Episode, tokens: Mapping[str, tuple[Tokens, Tokens]], outputs: Mapping[str, BranchOutput]
    ) -> dict[str, Tensor]:
        """Additional losses of the method, each a scalar named `…_loss`; none by default.

        Args:
            episode: with labels in training.
            tokens: branch -> tokens of support (E, N, K, ...) and query (E, Q, ...).
            outputs: branch -> output.
        """
        return {}

    def forward(self, episode: Episode) -> EpisodeOutput:
        """Answer a batch of episodes; the losses that the episode's contents allow come with the answer.

        Raises:
            ValueError: if the episode lacks a source or the class text that the method needs.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() or self.adapts_at_test):
            tokens = self.embed(episode)
            outputs = self.compare(
                tokens,
                class_text=episode.class_text,
                support_present=episode.support_present,
                query_present=episode.query_present,
            )
            losses = self.extra_losses(episode, tokens, outputs)
            return self.conclude(outputs, query_labels=episode.query_labels, losses=losses)

    def embed(self, episode: Episode) -> dict[str, tuple[Tokens, Tokens]]:
        """branch -> tokens of the support (E, N, K, ...) and query (E, Q, ...) videos.

        Raises:
            ValueError: if the episode lacks a source or the class text that the method needs.
        """
        if not set(self.sources) <= episode.support.keys():
            raise ValueError(f"expected features of {sorted(self.sources)}, got {sorted(episode.support)}")
        prompts = self._prompts(episode)
        return {name: _embed_episode(self.branch(name), episode, prompts) for name in self.branches}

    def compare(
        self,
        tokens: Mapping[str, tuple[Tokens, Tokens]],
        *,
        class_text: Tensor | None,
        support_present: Mapping[str, Tensor],
        query_present: Mapping[str, Tensor],
    ) -> dict[str, BranchOutput]:
        """The output of every branch from tokens of support (E, N, K, ...) and query (E, Q, ...) videos.

        Args:
            tokens: branch -> (support, query).
            class_text: (E, N, D).
            support_present: source -> (E, N, K) bool; a source that is not named is present for every video.
            query_present: source -> (E, Q) bool, likewise.
        """
        outputs = {}
        for name in self.branches:
            branch = self.branch(name)
            task = Task(
                class_text,
                videos_present(support_present, branch.sources),
                videos_present(query_present, branch.sources),
                wants_evidence=getattr(self.selection, "wants_evidence", False),
            )
            support, query = tokens[name]
            outputs[name] = self._compare_one(name, branch, support, query, task)
        return outputs

    def _compare_one(self, name: str, branch: Branch, support: Tokens, query: Tokens, task: Task) -> BranchOutput:
        E, N = next(iter(support.values())).shape[:2]
        Q = next(iter(query.values())).shape[1]
        output = branch.compare(support, query, task)
        if not isinstance(output, BranchOutput):
            raise ValueError(f"branch {name!r} gave a {type(output).__name__}; expected a BranchOutput")
        check_shape(f"logits of branch {name!r}", output.logits, ("E", "Q", "N"), {"E": E, "Q": Q, "N": N})
        usable = branch.usable(task, n_queries=Q)
        if usable is not None:
            output = replace(output, logits=output.logits.masked_fill(~usable[..., None], 0), usable=usable)
        if task.wants_evidence and output.support_evidence is None:
            output = replace(output, support_evidence=branch.support_evidence(support, task))
        return output

    def conclude(
        self,
        outputs: Mapping[str, BranchOutput],
        *,
        query_labels: Tensor | None = None,
        losses: Mapping[str, Tensor] | None = None,
    ) -> EpisodeOutput:
        """From the branches' outputs to the answer and its losses.

        Args:
            outputs: of each branch.
            query_labels: (E, Q), for the cross-entropy.
            losses: additional losses of the method.
        """
        logits = {name: output.logits for name, output in outputs.items()}  # each (E, Q, N)
        selection = Selection()
        if self.selection is not None and len(outputs) > 1:
            selection = self.selection(outputs)
        fused_logits = self.fusion(logits, selection.shares)  # (E, Q, N)

        losses = dict(losses or {})
        losses["distill_loss"] = mutual_distillation(
            logits, selection.taught, selection.teacher_weight, detach_teacher=self.detach_teacher
        )
        if query_labels is not None:
            losses["cross_entropy_loss"] = self._answer_loss(fused_logits, logits, query_labels)
        return EpisodeOutput(
            logits=fused_logits,
            branch_logits=logits,
            losses=losses,
            certainty={name: certainty(branch_logits) for name, branch_logits in logits.items()},
            teacher=teacher_index(selection.taught, list(logits)) if selection.taught else None,
            fusion_weight=selection.shares if self.fusion.uses_shares else {},
        )

    def total_loss(self, output: EpisodeOutput, *, distill_ramp: float = 1.0) -> Tensor:
        """`L_ce + λ_kd·L_kd + λ_vt·L_vt` of a labelled batch.

        Args:
            output: the answer to it.
            distill_ramp: factor on λ_kd, 0..1, raised by the trainer over the first steps.

        Returns:
            A scalar.
        """
        weights, losses = self.loss_weights, output.losses
        distill_weight = weights.distill * distill_ramp
        if weights.distill_per_query:
            distill_weight /= output.logits.shape[1]
        total = losses["cross_entropy_loss"]
        if distill_weight:
            total = total + distill_weight * losses["distill_loss"]
        if weights.video_text and "video_text_loss" in losses:
            total = total + weights.video_text * losses["video_text_loss"]
        return total

    def _prompts(self, episode: Episode) -> tuple[Tensor, Tensor] | None:
        """The prompt of every support video (E, N, K, D) and query (E, Q, D); None for a method without prompts."""
        if self.selector is None:
            return None
        class_text = episode.class_text
        if class_text is None:
            raise ValueError("this method gives prompts to videos and needs the class text of an episode, got none")
        query = episode.query[self.prompt_source]
        K = episode.support[self.prompt_source].shape[2]
        support_prompts = class_text[:, :, None].expand(-1, -1, K, -1)
        return support_prompts, self.selector(class_text, query, episode.query_draws)

    def _answer_loss(self, fused_logits: Tensor, branch_logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        answers = [] if self.cross_entropy == "branches" else [fused_logits]
        answers += [] if self.cross_entropy == "fused" else list(branch_logits.values())
        losses = [functional.cross_entropy(answer.flatten(0, 1), labels.flatten()) for answer in answers]
        return sum(losses[1:], start=losses[0])


class TrainingFree(Method):
    """A method of one branch with nothing to train: the answer is the branch's, and no branch is named beside it."""

    def conclude(
        self,
        outputs: Mapping[str, BranchOutput],
        *,
        query_labels: Tensor | None = None,
        losses: Mapping[str, Tensor] | None = None,
    ) -> EpisodeOutput:
        """The answer."""
        (output,) = outputs.values()
        return EpisodeOutput(logits=output.logits, certainty={"all": certainty(output.logits)})


def _embed_episode(branch: Branch, episode: Episode, prompts: tuple[Tensor, Tensor] | None) -> tuple[Tokens, Tokens]:
    """Tokens of support (E, N, K, ...) and query (E, Q, ...); embedded in one pass where there are weights."""
    N, K = (episode.sizes[letter] for letter in "NK")
    support = {source: episode.support[source].flatten(1, 2) for source in branch.sources}  # (E, N*K, T, D)
    query = {source: episode.query[source] for source in branch.sources}
    if prompts is None and not branch.has_weights:  # joining them would cost a copy
        parts = [_embed_flat(branch, features, None) for features in (support, query)]
        return {name: tokens.unflatten(1, (N, K)) for name, tokens in parts[0].items()}, parts[1]
    features = {source: torch.cat([support[source], query[source]], dim=1) for source in branch.sources}
    joined_prompts = None if prompts is None else torch.cat([prompts[0].flatten(1, 2), prompts[1]], dim=1)
    tokens = _embed_flat(branch, features, joined_prompts)  # (E, N*K + Q, ...)
    return (
        {name: value[:, : N * K].unflatten(1, (N, K)) for name, value in tokens.items()},
        {name: value[:, N * K :] for name, value in tokens.items()},
    )


def _embed_flat(branch: Branch, features: Mapping[str, Tensor], prompts: Tensor | None) -> Tokens:
    """Embed (E, B, T, D) of each source as one batch: name -> (E, B, ...)."""
    E = next(iter(features.values())).shape[0]
    flat = {source: frames.flatten(0, 1) for source, frames in features.items()}
    tokens = branch.embed(flat, None if prompts is None else prompts.flatten(0, 1))
    return {name: value.unflatten(0, (E, -1)) for name, value in tokens.items()}
