"""How the branches' answers become one."""

from collections.abc import Mapping

from torch import Tensor, nn


class WeightedSum(nn.Module):
    """Multi-view distance fusion `d = Σ α_b·d_b`, `logits = -d / temperature` (CLIP-M2DF, METHODS 2).

    A branch's logits are its negated distance, so the weighted sum of logits is the negated fused distance.
    """

    def __init__(self, weights: Mapping[str, float], *, temperature: float = 1.0) -> None:
        super().__init__()
        self.weights = dict(weights)
        self.temperature = temperature

    def forward(self, branch_logits: Mapping[str, Tensor]) -> Tensor:
        """branch name -> (E, Q, N); gives (E, Q, N)."""
        weighted = [self.weights[branch] * logits for branch, logits in branch_logits.items()]
        return sum(weighted[1:], start=weighted[0]) / self.temperature
