"""One prototype per class, made from its support videos."""

from torch import Tensor


def class_prototypes(support: Tensor) -> Tensor:
    """The mean over a class's shots, step by step (after fusion, where there is one).

    Args:
        support: (E, N, K, ...).

    Returns:
        (E, N, ...).
    """
    return support.mean(dim=2)
