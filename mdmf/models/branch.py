"""A branch: one way to compare queries with classes. Here distance becomes logits, and nowhere else."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mdmf.distances.alignment import otam_distance
from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity, frame_distance
from mdmf.layers.prototypes import class_prototypes
from mdmf.models.presence import query_usable
from mdmf.structures import BranchOutput

CERTAINTY_TOKENS = ("prompt", "first_frame")


def logits_from_distance(distance: Tensor, *, temperature: float = 1.0) -> Tensor:
    """`-distance / temperature`: smaller distance, larger logit; any shape."""
    return -distance if temperature == 1 else -distance / temperature


@dataclass(frozen=True)
class PromptedEpisode:
    """What a view sees: the frames of support and query, and the prompt chosen for each video.

    support (E, N, K, T, D), support_prompt (E, N, K, D), query (E, Q, T, D), query_prompt (E, Q, D); support_present
    (E, N, K) and query_present (E, Q) say which videos have features, None: all.
    """

    support: Tensor
    support_prompt: Tensor
    query: Tensor
    query_prompt: Tensor
    support_present: Tensor | None = None
    query_present: Tensor | None = None


@dataclass(frozen=True)
class FusedVideos:
    """Videos after fusion: frames (..., T, D), and the token (..., D) that the text certainty is taken from."""

    frames: Tensor
    text: Tensor


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

    def cut(self, tokens: Tensor) -> FusedVideos:
        """Fused tokens in their named parts: (..., 1+T, D)."""
        token = 0 if self.certainty_token == "prompt" else 1
        return FusedVideos(frames=tokens[..., 1:, :], text=tokens[..., token, :])

    def compare(
        self,
        support: FusedVideos,
        query: FusedVideos,
        *,
        support_present: Tensor | None = None,
        query_present: Tensor | None = None,
    ) -> BranchOutput:
        """Logits and text similarity from fused videos.

        Args:
            support: (E, N, K) videos.
            query: (E, Q) videos.
            support_present: (E, N, K) bool, the videos that have features; None: all.
            query_present: (E, Q) bool, likewise.
        """
        frames = class_prototypes(support.frames, support_present)  # (E, N, K, T, D) -> (E, N, T, D)
        text = class_prototypes(support.text, support_present)  # (E, N, K, D) -> (E, N, D)
        distance = otam_distance(
            frame_distance(query.frames, frames, eps=self.eps),
            temperature=self.otam_temperature,
            directions=self.otam_directions,
        )
        text_similarity = cosine_similarity(query.text, text, eps=self.eps)
        logits = logits_from_distance(distance)
        usable = query_usable(support_present, query_present, n_queries=logits.shape[1])
        if usable is not None:
            logits = logits.masked_fill(~usable[..., None], 0)
        return BranchOutput(logits, text_similarity, usable=usable)

    def forward(self, episode: PromptedEpisode) -> BranchOutput:
        """Support and query videos are fused in one pass."""
        E, N, K = episode.support.shape[:3]
        features = torch.cat([episode.support.flatten(1, 2), episode.query], dim=1)  # (E, N*K + Q, T, D)
        prompts = torch.cat([episode.support_prompt.flatten(1, 2), episode.query_prompt], dim=1)
        tokens = self.fuse(features.flatten(0, 1), prompts.flatten(0, 1)).unflatten(0, (E, -1))
        output = self.compare(
            self.cut(tokens[:, : N * K].unflatten(1, (N, K))),
            self.cut(tokens[:, N * K :]),
            support_present=episode.support_present,
            query_present=episode.query_present,
        )
        return replace(output, video=tokens[:, :, 1:].mean(dim=2))
