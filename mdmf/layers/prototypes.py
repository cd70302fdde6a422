"""One prototype per class, made from its support videos."""

from torch import Tensor


def class_prototypes(support: Tensor, present: Tensor | None = None) -> Tensor:
    """The mean over a class's shots, step by step (after fusion, where there is one).

    Args:
        support: (E, N, K, ...).
        present: (E, N, K) bool, the shots that count; None: all. A class without any has a prototype of zeros.

    Returns:
        (E, N, ...).
    """
    if present is None:
        return support[:, :, 0] if support.shape[2] == 1 else support.mean(dim=2)  # one shot: no copy
    weight = present.reshape(*present.shape, *[1] * (support.dim() - 3)).to(support.dtype)
    return (support * weight).sum(dim=2) / weight.sum(dim=2).clamp(min=1)


def prototypes_without_each_shot(support: Tensor, present: Tensor | None = None) -> Tensor:
    """For each shot, the mean over the *other* shots of its class: what classifies it without having seen it.

    Args:
        support: (E, N, K, ...), K >= 2.
        present: (E, N, K) bool, the shots that count; None: all.

    Returns:
        (E, N, K, ...); zeros where a class has no other shot.

    Raises:
        ValueError: if there is one shot only.
    """
    K = support.shape[2]
    if K < 2:
        raise ValueError(f"leaving a shot out needs at least 2 shots, got {K}")
    weight = support.new_ones(support.shape[:3]) if present is None else present.to(support.dtype)
    weight = weight.reshape(*weight.shape, *[1] * (support.dim() - 3))
    counted = support * weight
    others = counted.sum(dim=2, keepdim=True) - counted
    return others / (weight.sum(dim=2, keepdim=True) - weight).clamp(min=1)
