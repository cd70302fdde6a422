"""The video-text loss: a video must be nearer to its own class's text than to that of any other training class."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity

VIDEO_TEXT_INPUTS = ("fused", "input")


def mean_of_top_frames(frames: Tensor, text: Tensor, *, top_k: int, eps: float = COSINE_EPS) -> Tensor:
    """The mean of a video's `top_k` frames that fit its text best.

    Args:
        frames: (..., T, D).
        text: (..., D), one per video.

    Returns:
        (..., D).
    """
    scores = cosine_similarity(frames, text[..., None, :], eps=eps)  # (..., T, 1)
    best = scores.topk(min(top_k, frames.shape[-2]), dim=-2).indices  # (..., top_k, 1)
    return frames.gather(-2, best.expand(*best.shape[:-1], frames.shape[-1])).mean(dim=-2)


class VideoText(nn.Module):
    """`scale·cos(video, text of every training class)` and its cross-entropy (CLIP-M2DF, METHODS 2).

    With a frozen encoder the source `input` trains nothing but `scale`; `fused` ties the fused space to the text.
    """

    def __init__(self, *, source: str = "fused", scale: float, eps: float = COSINE_EPS) -> None:
        super().__init__()
        if source not in VIDEO_TEXT_INPUTS:
            raise ValueError(f"the video-text input must be one of {VIDEO_TEXT_INPUTS}, got {source!r}")
        self.source, self.eps = source, eps
        self.scale = nn.Parameter(torch.tensor([float(scale)]))
        self.register_buffer("all_class_text", None, persistent=False)

    def set_classes(self, all_class_text: Tensor | None) -> None:
        """Give the text features (C, D) of every training class; None: no video-text loss is computed."""
        self.all_class_text = all_class_text

    def forward(self, video: Tensor) -> Tensor:
        """Logits over all training classes: (..., D) -> (..., C).

        Raises:
            ValueError: before the training classes were given.
        """
        if self.all_class_text is None:
            raise ValueError("the video-text logits need the text of all training classes: call set_classes first")
        flat = cosine_similarity(video.flatten(0, -2), self.all_class_text, eps=self.eps)
        return self.scale * flat.unflatten(0, video.shape[:-1])

    def loss(self, video: Tensor, class_ids: Tensor) -> Tensor:
        """Cross-entropy: video (..., D), class_ids (...) -> scalar."""
        return functional.cross_entropy(self(video).flatten(0, -2), class_ids.flatten())
