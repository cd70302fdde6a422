"""The shared idea: two branches answer, the more certain one is trusted and teaches the other, and both are fused."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from mdmf.mutual.certainty import certainty
from mdmf.mutual.condition import teacher_index
from mdmf.mutual.distill import mutual_distillation
from mdmf.mutual.selection import Selection
from mdmf.structures import BranchOutput, Episode, EpisodeOutput, check_shape

CROSS_ENTROPIES = ("fused", "branches", "all")


@dataclass(frozen=True)
class LossWeights:
    """λ of each loss that is added to the cross-entropy.

    `distill_per_query`: λ_kd is divided by the number of queries of the episode (the `released` preset).
    """

    distill: float = 1.0
    video_text: float = 0.0
    distill_per_query: bool = False


class TwoBranch(nn.Module, ABC):
    """The skeleton of both families; a method says what its branches see, and is given its parts.

    With one branch (an ablation) there is nobody to teach and nothing to fuse.

    Args:
        branches: name -> module that gives a `BranchOutput` of what `prepare` made.
        selection: says who is trusted on which query (`mdmf/mutual/selection.py`).
        fusion: makes one answer of the branches' (`mdmf/mutual/fuse.py`).
        loss_weights: λ of the losses.
        detach_teacher: no gradient to the teacher.
        cross_entropy: of the `fused` answer, of the `branches` (their sum), or of `all` three.

    Raises:
        ValueError: for no branch, more than two, or another cross-entropy.
    """

    def __init__(
        self,
        branches: Mapping[str, nn.Module],
        *,
        selection: nn.Module,
        fusion: nn.Module,
        loss_weights: LossWeights,
        detach_teacher: bool = True,
        cross_entropy: str = "fused",
    ) -> None:
        super().__init__()
        if len(branches) not in (1, 2):
            raise ValueError(f"expected one or two branches, got {sorted(branches)}")
        if cross_entropy not in CROSS_ENTROPIES:
            raise ValueError(f"cross_entropy must be one of {CROSS_ENTROPIES}, got {cross_entropy!r}")
        self.branches = nn.ModuleDict(branches)
        self.selection = selection
        self.fusion = fusion
        self.loss_weights = loss_weights
        self.detach_teacher = detach_teacher
        self.cross_entropy = cross_entropy

    @abstractmethod
    def prepare(self, episode: Episode) -> Any:
        """What the branches see of an episode."""

    def set_training_classes(self, class_text: Tensor | None) -> None:
        """Give the text features (C, D) of every training class, for losses that need them; ignored by default."""

    def extra_losses(self, episode: Episode, prepared: Any, outputs: Mapping[str, BranchOutput]) -> dict[str, Tensor]:
        """Losses of the method's own, each a scalar; none by default."""
        return {}

    def forward(self, episode: Episode) -> EpisodeOutput:
        """Answer a batch of episodes; the losses that the episode's contents allow come with the answer."""
        prepared = self.prepare(episode)
        outputs = {name: branch(prepared) for name, branch in self.branches.items()}
        for name, output in outputs.items():  # a branch may be somebody's own
            if not isinstance(output, BranchOutput):
                raise ValueError(f"branch {name!r} gave a {type(output).__name__}; expected a BranchOutput")
            check_shape(f"logits of branch {name!r}", output.logits, ("E", "Q", "N"), episode.sizes)
        losses = self.extra_losses(episode, prepared, outputs)
        return self.conclude(outputs, query_labels=episode.query_labels, losses=losses)

    def conclude(
        self,
        outputs: Mapping[str, BranchOutput],
        *,
        query_labels: Tensor | None = None,
        losses: Mapping[str, Tensor] | None = None,
    ) -> EpisodeOutput:
        """From what the branches say to the answer and its losses.

        Args:
            outputs: of each branch.
            query_labels: (E, Q), for the cross-entropy.
            losses: of the method's own, to stand beside those of every method.
        """
        logits = {name: output.logits for name, output in outputs.items()}  # each (E, Q, N)
        selection = self.selection(outputs) if len(outputs) == 2 else Selection()
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

    def _answer_loss(self, fused_logits: Tensor, branch_logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        answers = [] if self.cross_entropy == "branches" else [fused_logits]
        answers += [] if self.cross_entropy == "fused" else list(branch_logits.values())
        losses = [functional.cross_entropy(answer.flatten(0, 1), labels.flatten()) for answer in answers]
        return sum(losses[1:], start=losses[0])

    def total_loss(self, output: EpisodeOutput, *, distill_ramp: float = 1.0) -> Tensor:
        """`L_ce + λ_kd·L_kd + λ_vt·L_vt` of a labelled batch.

        Args:
            output: what the model answered.
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
