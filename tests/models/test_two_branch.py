import pytest
import torch
from torch import nn

from mdmf.models.two_branch import LossWeights, TwoBranch
from mdmf.mutual.fuse import WeightedSum
from mdmf.structures import BranchOutput, Episode


class Answering(nn.Module):
    """A branch that gives what it is told to."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, prepared):
        return self.answer


class Whole(TwoBranch):
    def prepare(self, episode):
        return episode


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            BranchOutput(logits=torch.zeros(1, 3, 3)),
            r"branch 'one' of shape \(E=1, Q=3, N=2\), got \(1, 3, 3\)",
        ),
        (BranchOutput(logits=torch.zeros(3, 2)), r"got \(3, 2\)"),
        (torch.zeros(1, 3, 2), "branch 'one' gave a Tensor; expected a BranchOutput"),
    ],
)
def test_an_answer_of_another_shape_is_refused(answer, said):
    """One class too many would pass for logits, and every accuracy be wrong."""
    episode = Episode({"rgb": torch.zeros(1, 2, 1, 4, 5)}, {"rgb": torch.zeros(1, 3, 4, 5)})
    parts = {"selection": nn.Identity(), "fusion": WeightedSum({"one": 1.0}), "loss_weights": LossWeights()}
    with pytest.raises(ValueError, match=said):
        Whole({"one": Answering(answer)}, **parts)(episode)
