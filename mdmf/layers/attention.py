"""MMFE, the multi-modal fusion encoder: a cross-transformer over one prompt token and T frame tokens."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional


class CrossAttention(nn.Module):
    """Multi-head attention with one LayerNorm shared by q, k and v; no bias on q, k, v (CLIP-M2DF)."""

    def __init__(self, size: int, *, n_heads: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        if size % n_heads:
            raise ValueError(f"the feature size {size} is not divisible by n_heads={n_heads}")
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(size)
        self.to_q = nn.Linear(size, size, bias=False)
        self.to_k = nn.Linear(size, size, bias=False)
        self.to_v = nn.Linear(size, size, bias=False)
        self.project = nn.Linear(size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query_tokens: Tensor, value_tokens: Tensor) -> Tensor:
        """(B, L, D), (B, L, D) -> (B, L, D), without the residual."""
        normed_q = self.norm(query_tokens)
        normed_v = normed_q if value_tokens is query_tokens else self.norm(value_tokens)
        q, k, v = (
            rearrange(tokens, "b l (h d) -> b h l d", h=self.n_heads)
            for tokens in (self.to_q(normed_q), self.to_k(normed_v), self.to_v(normed_v))
        )
        attended = functional.scaled_dot_product_attention(q, k, v)
        return self.dropout(self.project(rearrange(attended, "b h l d -> b l (h d)")))


class FusionLayer(nn.Module):
    """`A = MHA(LN q, LN k, LN v) + q`, then `Z = FFN(A) + A` (CLIP-M2DF)."""

    def __init__(
        self,
        size: int,
        *,
        n_heads: int = 8,
        hidden_size: int = 2048,
        attention_dropout: float = 0.2,
        dropout: float = 0.05,
    ) -> None:
        super().__init__()
        self.attention = CrossAttention(size, n_heads=n_heads, dropout=attention_dropout)
        self.feed_forward = nn.Sequential(
            nn.Linear(size, hidden_size),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, size),
            nn.Dropout(dropout),
        )

    def forward(self, query_tokens: Tensor, value_tokens: Tensor) -> Tensor:
        """(B, L, D), (B, L, D) -> (B, L, D)."""
        attended = self.attention(query_tokens, value_tokens) + query_tokens
        return self.feed_forward(attended) + attended


class CrossTransformer(nn.Module):
    """A stack of fusion layers: the first crosses context with features, deeper ones attend to themselves.

    There is no positional encoding.
    """

    def __init__(self, size: int, *, depth: int = 1, **layer_settings: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(size, **layer_settings) for _ in range(depth))  # type: ignore[arg-type]

    def forward(self, prompt: Tensor, context: Tensor, features: Tensor) -> Tensor:
        """Fuse a prompt with the frames of a video.

        Args:
            prompt: (B, D), the text feature chosen for each video.
            context: (B, T, D), the frames in their temporal context.
            features: (B, T, D), the frames as the encoder gave them.

        Returns:
            (B, 1+T, D): the fused prompt token, then the fused frame tokens.
        """
        prompt = prompt[:, None]
        first, *deeper = self.layers
        tokens = first(torch.cat([prompt, context], dim=1), torch.cat([prompt, features], dim=1))
        for layer in deeper:
            tokens = layer(tokens, tokens)
        return tokens
