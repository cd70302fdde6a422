"""Frame to frame: cosine similarity and distance."""

import torch
from torch import Tensor

COSINE_EPS = 0.01


def full_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in float32 (float64 stays): distances and posteriors are never computed in half precision."""
    return tuple(tensor if tensor.dtype == torch.float64 else tensor.float() for tensor in tensors)


def cosine_similarity(x: Tensor, y: Tensor, *, eps: float = COSINE_EPS) -> Tensor:
    """Cosine of every x with every y: `x·y / (|x||y| + eps)` (the 0.01 is the published code's).

    Always float32, never under autocast.

    Args:
        x: (..., A, D).
        y: (..., B, D).

    Returns:
        (..., A, B), larger is more alike.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = full_precision(x, y)
        norms = x.norm(dim=-1)[..., :, None] * y.norm(dim=-1)[..., None, :]
        divisor = (
            norms + eps if eps else norms.clamp(min=torch.finfo(norms.dtype).tiny)
        )  # zeros stand for missing frames
        return x @ y.transpose(-1, -2) / divisor


def frame_distance(query: Tensor, prototypes: Tensor, *, eps: float = COSINE_EPS) -> Tensor:
    """`1 - cos` of every query frame with every prototype frame.

    All frames of an episode are compared in one matrix product.

    Args:
        query: (E, Q, T, D).
        prototypes: (E, N, S, D).

    Returns:
        (E, Q, N, T, S), smaller is closer.
    """
    E, Q, T, _ = query.shape
    _, N, S, _ = prototypes.shape
    similarity = cosine_similarity(query.flatten(1, 2), prototypes.flatten(1, 2), eps=eps)  # (E, Q*T, N*S)
    return 1 - similarity.reshape(E, Q, T, N, S).transpose(2, 3)
