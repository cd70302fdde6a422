"""Sequence to sequence: how far two sequences of frames are apart, given the distances of their frames."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mdmf.distances.pairwise import full_precision

OTAM_DIRECTIONS = ("both", "query_to_support")


class _SoftAlignment(torch.autograd.Function):
    """OTAM's soft-minimum alignment of one direction, with the analytic gradient.

    The scores are kept as `-cost / temperature` with the batch as the fastest axis, so that every cell of the table is
    one vector operation. The gradient is the expected alignment itself, found by one sweep back through the table: no
    autograd tape of T·T nodes is kept.
    """

    @staticmethod
    def forward(ctx: Any, cost: Tensor, temperature: float) -> Tensor:
        """(B, T_query, T_support) -> (B,)."""
        B, T_query, T_support = cost.shape
        last = T_support + 1
        score = cost.new_zeros(T_query, T_support + 2, B)  # the two padded columns cost nothing
        score[:, 1:last] = (cost / -temperature).permute(1, 2, 0)
        table = torch.zeros_like(score)
        table[0] = score[0].cumsum(dim=0)
        for row in range(1, T_query):
            above, here = table[row - 1], table[row]
            for column in range(1, last + 1):
                cell = here[column]
                torch.logaddexp(above[column - 1], here[column - 1], out=cell)
                if column in (1, last):
                    torch.logaddexp(cell, above[column], out=cell)
                cell += score[row, column]
        ctx.save_for_backward(score, table)
        ctx.temperature = temperature
        return table[-1, -1] * -temperature

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """(B,) -> (B, T_query, T_support): the share of the soft path that passes each cell, times `grad`."""
        score, table = ctx.saved_tensors
        T_query, n_columns, _ = table.shape
        reached = table[1:, 1:] - score[1:, 1:]  # log of the sum over a cell's predecessors
        from_diagonal = (table[:-1, :-1] - reached).exp_()
        from_left = (table[1:, :-1] - reached).exp_()
        edges = [0, n_columns - 2]
        from_above = dict(zip(edges, (table[:-1, 1:][:, edges] - reached[:, edges]).exp_().unbind(1), strict=True))

        share = torch.zeros_like(table)
        share[-1, -1] = 1
        for row in range(T_query - 1, 0, -1):
            for column in range(n_columns - 1, 0, -1):
                here, at = share[row, column], (row - 1, column - 1)
                share[row, column - 1].addcmul_(here, from_left[at])
                share[row - 1, column - 1].addcmul_(here, from_diagonal[at])
                if column - 1 in from_above:
                    share[row - 1, column].addcmul_(here, from_above[column - 1][row - 1])
        share[0] = share[0].flip(0).cumsum(dim=0).flip(0)  # the first row is a plain running sum
        return (share[:, 1:-1] * grad).permute(2, 0, 1), None


def _one_direction(cost: Tensor, temperature: float) -> Tensor:
    """(..., T_query, T_support) -> (...)."""
    aligned = _SoftAlignment.apply(cost.reshape(-1, *cost.shape[-2:]), temperature)
    return aligned.reshape(cost.shape[:-2])


def otam_distance(cost: Tensor, *, temperature: float = 0.5, directions: str = "both") -> Tensor:
    """Ordered temporal alignment (OTAM, CVPR 2020) with a soft minimum (docs/methods.md, section 2).

    A zero column is padded left and right, so that the path may start and end anywhere in the support. The first row
    is a running sum; every other cell adds its cost to the soft minimum `-λ log Σ exp(-x/λ)` of its predecessors: the
    cell to the left, the one diagonally above and, in the first and the last (padded) column, the one above. The
    padded left column is 0 in every row; the distance is the last cell. Always float32, never under autocast.

    Args:
        cost: (..., T_query, T_support), frame distances; any leading dimensions.
        temperature: λ > 0; smaller is closer to the hard minimum.
        directions: `both` adds the alignment of the transposed costs; `query_to_support` takes this one alone.

    Returns:
        (...), smaller is closer. It can be negative: a soft minimum lies below the minimum.

    Raises:
        ValueError: for another direction, a temperature that is not positive, or no frames.
    """
    if directions not in OTAM_DIRECTIONS:
        raise ValueError(f"directions must be one of {OTAM_DIRECTIONS}, got {directions!r}")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if cost.dim() < 2 or 0 in cost.shape[-2:]:
        raise ValueError(f"expected cost of shape (..., T_query, T_support) with frames, got {tuple(cost.shape)}")
    with torch.autocast(cost.device.type, enabled=False):
        (cost,) = full_precision(cost)
        if directions == "query_to_support":
            return _one_direction(cost, temperature)
        if cost.shape[-1] == cost.shape[-2]:  # both directions are one call
            return _one_direction(torch.stack([cost, cost.transpose(-1, -2)]), temperature).sum(dim=0)
        return _one_direction(cost, temperature) + _one_direction(cost.transpose(-1, -2), temperature)


def bi_mhm_distance(cost: Tensor) -> Tensor:
    """Bidirectional mean Hausdorff metric (HyRSM, CVPR 2022): each frame's smallest distance, summed both ways.

    Args:
        cost: (..., T_query, T_support), frame distances.

    Returns:
        (...), smaller is closer.
    """
    return cost.amin(dim=-1).sum(dim=-1) + cost.amin(dim=-2).sum(dim=-1)


def frame_wise_distance(cost: Tensor) -> Tensor:
    """Frame t against frame t, without alignment: the mean of the diagonal.

    Args:
        cost: (..., T, T), frame distances of sequences of equal length.

    Returns:
        (...), smaller is closer.

    Raises:
        ValueError: if the two sequences differ in length.
    """
    if cost.shape[-1] != cost.shape[-2]:
        raise ValueError(f"frame-wise distance needs as many query as support frames, got {tuple(cost.shape[-2:])}")
    return cost.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
