"""Certainty of a branch about a query, and the expected free energy of its answer."""

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


def negative_entropy(logits: Tensor) -> Tensor:
    """`Σ_k P log P`, AMFAR's relative certainty (eq. 2).

    Args:
        logits: (..., N), larger is better.

    Returns:
        (...), in [-log N, 0]; larger is more certain.
    """
    (logits,) = full_precision(logits)
    logs = logits.log_softmax(dim=-1)
    return (logs.exp() * logs).sum(dim=-1)


def free_energy(logits: Tensor, consensus_logits: Tensor) -> Tensor:
    """Expected free energy of answering by one branch: ambiguity + risk (AMFIR, our reading).

    Ambiguity is the entropy of the branch's posterior, risk its divergence `KL(P ‖ P̄)` from the consensus P̄.

    Args:
        logits: (..., N), the branch's.
        consensus_logits: (..., N); their posterior is P̄, the normalised geometric mean of the branches' posteriors.

    Returns:
        (...), non-negative; smaller is better.
    """
    logits, consensus_logits = full_precision(logits, consensus_logits)
    logs, consensus = logits.log_softmax(dim=-1), consensus_logits.log_softmax(dim=-1)
    risk = (logs.exp() * (logs - consensus)).sum(dim=-1)
    return risk - negative_entropy(logits)
