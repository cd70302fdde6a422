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
from mdmf.structures import Episode, EpisodeOutput


@dataclass(frozen=True)
class LossWeights:
    """λ of each loss that is added to the cross-entropy.

    `distill_per_query`: λ_kd is divided by the number of queries of the episode (the `released` preset).
    """

    distill: float = 1.0
    video_text: float = 0.0
    distill_per_query: bool = False


class TwoBranch(nn.Module, ABC):
    """The skeleton of both families; a method says what its branches see and when one teaches the other.

    With one branch (an ablation) there is nobody to teach and nothing to fuse.
    """

    def __init__(
        self,
        branches: Mapping[str, nn.Module],
        *,
        fusion: nn.Module,
        loss_weights: LossWeights,
        detach_teacher: bool = True,
    ) -> None:
        super().__init__()
        if len(branches) not in (1, 2):
            raise ValueError(f"expected one or two branches, got {sorted(branches)}")
        self.branches = nn.ModuleDict(branches)
        self.fusion = fusion
        self.loss_weights = loss_weights
        self.detach_teacher = detach_teacher

    @abstractmethod
    def prepare(self, episode: Episode) -> Any:
        """What the branches see of an episode."""

    @abstractmethod
    def condition(self, outputs: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Who teaches which query, (E, Q) bool by teaching branch, and with what weight, (E, Q) by branch."""

    def extra_losses(self, episode: Episode, prepared: Any, outputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Losses of the method's own, each a scalar; none by default."""
        return {}

    def forward(self, episode: Episode) -> EpisodeOutput:
        """Answer a batch of episodes; the losses that the episode's contents allow come with the answer."""
        prepared = self.prepare(episode)
        outputs = {name: branch(prepared) for name, branch in self.branches.items()}
        return self.conclude(episode, prepared, outputs)

    def conclude(self, episode: Episode, prepared: Any, outputs: Mapping[str, Any]) -> EpisodeOutput:
        """From what the branches say to the answer and its losses."""
        logits = {name: output.logits for name, output in outputs.items()}  # each (E, Q, N)
        fused_logits = self.fusion(logits)

        taught, weight = self.condition(outputs) if len(outputs) == 2 else ({}, {})
        losses = self.extra_losses(episode, prepared, outputs)
        losses["distill_loss"] = mutual_distillation(logits, taught, weight, detach_teacher=self.detach_teacher)
        if episode.query_labels is not None:
            losses["cross_entropy_loss"] = functional.cross_entropy(
                fused_logits.flatten(0, 1), episode.query_labels.flatten()
            )
        return EpisodeOutput(
            logits=fused_logits,
            branch_logits=logits,
            losses=losses,
            certainty={name: certainty(branch_logits) for name, branch_logits in logits.items()},
            teacher=teacher_index(taught, list(logits)) if taught else None,
        )

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
