"""How the branches' answers become one.

A branch's logits are its negated distance, so a weighted sum of logits is the negated weighted distance. Every fusion
is called with the branches' logits and, where the method weighs branches query by query, with their shares;
`uses_shares` says whether it looks at them.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mdmf.distances.pairwise import full_precision


class WeightedSum(nn.Module):
    """Fixed weights: `d = Σ α_b·d_b`, `logits = -d / temperature` (CLIP-M2DF's; late fusion)."""

    uses_shares = False

    def __init__(self, weights: Mapping[str, float], *, temperature: float = 1.0) -> None:
        super().__init__()
        self.weights = dict(weights)
        self.temperature = temperature

    def forward(self, branch_logits: Mapping[str, Tensor], shares: Mapping[str, Tensor] | None = None) -> Tensor:
        """branch name -> (E, Q, N); gives (E, Q, N). What a selection says of shares is not looked at."""
        weighted = [self.weights[branch] * logits for branch, logits in branch_logits.items()]
        return sum(weighted[1:], start=weighted[0]) / self.temperature


class ActiveFusion(nn.Module):
    """Adaptive inference: `P ∝ exp(-Σ w_b·ψ_b)`, the shares w from query to query (AMI: AMFAR, eq. 6 and 7)."""

    uses_shares = True

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, branch_logits: Mapping[str, Tensor], shares: Mapping[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            branch_logits: branch name -> (E, Q, N).
            shares: branch name -> (E, Q), summing to 1 over the branches.

        Returns:
            (E, Q, N).
        """
        weighted = [shares[branch][..., None] * logits for branch, logits in branch_logits.items()]
        return sum(weighted[1:], start=weighted[0]) / self.temperature


class MeanPosterior(nn.Module):
    """Late fusion of probabilities: the logits are the log of the mean posterior."""

    uses_shares = False

    def forward(self, branch_logits: Mapping[str, Tensor], shares: Mapping[str, Tensor] | None = None) -> Tensor:
        """branch name -> (E, Q, N); gives (E, Q, N)."""
        logs = torch.stack([full_precision(logits)[0].log_softmax(dim=-1) for logits in branch_logits.values()])
        return logs.logsumexp(dim=0) - math.log(len(logs))


def mutual_fusion(fusion: str, branches: Sequence[str], *, temperature: float = 1.0) -> nn.Module:
    """The fusion of this name: `active` (by shares), `sum`, or the name of the one branch that answers."""
    if len(branches) == 1:
        return WeightedSum({branches[0]: 1.0}, temperature=temperature)
    if fusion == "active":
        return ActiveFusion(temperature=temperature)
    return WeightedSum({branch: float(fusion in ("sum", branch)) for branch in branches}, temperature=temperature)
