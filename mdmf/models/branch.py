"""A branch: one way to compare queries with classes. Here distance becomes logits, and nowhere else."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mdmf.distances.alignment import otam_distance
from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity, frame_distance
from mdmf.layers.prototypes import class_prototypes

CERTAINTY_TOKENS = ("prompt", "first_frame")


def logits_from_distance(distance: Tensor) -> Tensor:
    """Smaller distance, larger logit; any shape."""
    return -distance


@dataclass(frozen=True)
class PromptedEpisode:
    """What a view sees: the frames of support and query, and the prompt chosen for each video.

    support (E, N, K, T, D), support_prompt (E, N, K, D), query (E, Q, T, D), query_prompt (E, Q, D).
    """

    support: Tensor
    support_prompt: Tensor
    query: Tensor
    query_prompt: Tensor


@dataclass(frozen=True)
class BranchOutput:
    """What a branch says of a batch of episodes.

    logits (E, Q, N); text_similarity (E, Q, N), of the fused text tokens; video (E, N*K + Q, D), one summary of each
    support and query video (the mean of its fused frame tokens); None where no loss will ask for it.
    """

    logits: Tensor
    text_similarity: Tensor
    video: Tensor | None = None


class ViewBranch(nn.Module):
    """One view of CLIP-M2DF: temporal context, fusion with the prompt, OTAM distance to each class's prototype."""

    def __init__(
        self,
        context: nn.Module,
        fusion: nn.Module,
        *,
        otam_temperature: float = 0.5,
        otam_directions: str = "both",
        certainty_token: str = "prompt",
        eps: float = COSINE_EPS,
    ) -> None:
        super().__init__()
        if certainty_token not in CERTAINTY_TOKENS:
            raise ValueError(f"certainty_token must be one of {CERTAINTY_TOKENS}, got {certainty_token!r}")
        self.context, self.fusion = context, fusion
        self.otam_temperature, self.otam_directions = otam_temperature, otam_directions
        self.certainty_token, self.eps = certainty_token, eps

    def fuse(self, features: Tensor, prompt: Tensor) -> Tensor:
        """Frames and the prompt of each video, fused: (B, T, D), (B, D) -> (B, 1+T, D)."""
        return self.fusion(prompt, self.context(features), features)

    def compare(self, support_tokens: Tensor, query_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and text similarity: (E, N, K, 1+T, D), (E, Q, 1+T, D) -> twice (E, Q, N)."""
        prototypes = class_prototypes(support_tokens)  # (E, N, K, 1+T, D) -> (E, N, 1+T, D)
        distance = otam_distance(
            frame_distance(query_tokens[:, :, 1:], prototypes[:, :, 1:], eps=self.eps),
            temperature=self.otam_temperature,
            directions=self.otam_directions,
        )
        token = 0 if self.certainty_token == "prompt" else 1
        text_similarity = cosine_similarity(query_tokens[:, :, token], prototypes[:, :, token], eps=self.eps)
        return logits_from_distance(distance), text_similarity

    def forward(self, episode: PromptedEpisode) -> BranchOutput:
        """Support and query videos are fused in one pass."""
        E, N, K = episode.support.shape[:3]
        features = torch.cat([episode.support.flatten(1, 2), episode.query], dim=1)  # (E, N*K + Q, T, D)
        prompts = torch.cat([episode.support_prompt.flatten(1, 2), episode.query_prompt], dim=1)
        tokens = self.fuse(features.flatten(0, 1), prompts.flatten(0, 1)).unflatten(0, (E, -1))
        support_tokens, query_tokens = tokens[:, : N * K].unflatten(1, (N, K)), tokens[:, N * K :]
        logits, text_similarity = self.compare(support_tokens, query_tokens)
        return BranchOutput(logits, text_similarity, video=tokens[:, :, 1:].mean(dim=2))
