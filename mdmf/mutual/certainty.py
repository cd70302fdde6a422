"""How sure a branch is of a query."""

from torch import Tensor

from mdmf.distances.pairwise import full_precision


def certainty(logits: Tensor) -> Tensor:
    """The largest class posterior (AMFAR, eq. 1; CLIP-M2DF's visual and text certainty).

    Args:
        logits: (..., N), larger is better.

    Returns:
        (...), in [1/N, 1].

    Raises:
        ValueError: if there are no classes.
    """
    if logits.shape[-1] == 0:
        raise ValueError(f"certainty needs at least one class, got logits of shape {tuple(logits.shape)}")
    (logits,) = full_precision(logits)
    return logits.softmax(dim=-1).amax(dim=-1)
