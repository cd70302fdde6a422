"""Trainable heads of the multi-modal family: frame features of one or two sources to the tokens that are compared.

The papers leave the head open. Ours: a projection, the global temporal context and one attention layer in
which the frames in context look at the frames as they are: CLIP-M2DF's global view without its prompt.
"""

import torch
from torch import Tensor, nn

from mdmf.layers.attention import FusionLayer
from mdmf.layers.temporal import GlobalContext


class TemporalHead(nn.Module):
    """Frames of one source, or of several put side by side (`EC`, early fusion by concatenation).

    Args:
        sizes: feature size of each source.
        size: of the tokens.
        tcn_dropout: in the temporal context.
        layer_settings: of `FusionLayer`.
    """

    def __init__(self, sizes: list[int], size: int, *, tcn_dropout: float = 0.1, **layer_settings: float) -> None:
        super().__init__()
        self.project = nn.Linear(sum(sizes), size)
        self.context = GlobalContext(size, dropout=tcn_dropout)
        self.layer = FusionLayer(size, **layer_settings)  # type: ignore[arg-type]

    def forward(self, *features: Tensor) -> Tensor:
        """(B, T, D) of each source -> (B, T, size)."""
        frames = self.project(torch.cat(features, dim=-1))
        return self.layer(self.context(frames), frames)


class CoAttentionHead(nn.Module):
    """Early fusion by co-attention (`EA`): each source looks at the other, then both go through one temporal head.

    Args:
        sizes: feature sizes of the two sources.
        size: of the tokens.
    """

    def __init__(self, sizes: list[int], size: int, *, tcn_dropout: float = 0.1, **layer_settings: float) -> None:
        super().__init__()
        first, second = sizes
        self.project_first, self.project_second = nn.Linear(first, size), nn.Linear(second, size)
        self.first_looks = FusionLayer(size, **layer_settings)  # type: ignore[arg-type]
        self.second_looks = FusionLayer(size, **layer_settings)  # type: ignore[arg-type]
        self.together = TemporalHead([size, size], size, tcn_dropout=tcn_dropout, **layer_settings)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, T, D) of both sources -> (B, T, size)."""
        first, second = self.project_first(first), self.project_second(second)
        return self.together(self.first_looks(first, second), self.second_looks(second, first))
