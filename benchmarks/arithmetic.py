"""Multiply-adds of CLIP-M2DF, and the multiply-adds per second of the machine."""

import time

import torch


def video_multiply_adds(*, T: int, D: int, hidden: int, trains: bool) -> int:
    """Multiply-adds to fuse one video in both views; with `trains`, also those of the gradients.

    Only necessary operations count: in the global context the positions that reach its last step, no padded positions,
    no gradient towards frozen features. Norms, activations, dropout and alignment are not counted.
    """
    local = [_taps(T, stride=1, n_padded=1, n_outputs=T) * D * D] * 2
    context, steps = [], T
    for n_later in (2, 1, 0):
        steps = min(steps, 2 ** (n_later + 3) - 3)
        skip = (steps - 1) % 2
        context.append(_taps(steps, stride=1, n_padded=2, n_outputs=steps) * D * D)
        n_outputs = (steps + 1) // 2
        context.append(_taps(steps, stride=2, n_padded=2 - skip, n_outputs=n_outputs) * D * D)
        steps = n_outputs
    L = 1 + T
    fusion = 2 * (4 * L * D * D + 2 * L * L * D + 2 * L * D * hidden)
    forward = sum(local) + sum(context) + fusion
    if not trains:
        return forward
    towards_input = forward - local[0] - context[0]
    return 2 * forward + towards_input


def _taps(n_inputs: int, *, stride: int, n_padded: int, n_outputs: int) -> int:
    """Number of kernel positions of a convolution of width 3 that are on an input."""
    first = [stride * number - n_padded for number in range(n_outputs)]
    return sum(0 <= start + tap < n_inputs for start in first for tap in range(3))


def episode_multiply_adds(*, N: int, Q: int, T: int, D: int) -> int:
    """Multiply-adds to compare the frames of queries and prototypes in both views."""
    return 2 * Q * N * (T * T + 1) * D


def matrix_rate(*, rows: int = 4320, dtype: torch.dtype = torch.float32, repeats: int = 20) -> float:
    """Median multiply-adds per second of the largest matrix product of training, (rows, 512) by (512, 2048)."""
    left, right = torch.randn(rows, 512).to(dtype), torch.randn(512, 2048).to(dtype)
    out = left @ right  # allocated before the measurement, which is of the arithmetic
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        seconds.append(time.perf_counter() - started)
    return rows * 512 * 2048 / sorted(seconds)[repeats // 2]
