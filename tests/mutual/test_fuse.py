import torch

from mdmf.mutual.fuse import WeightedSum


def test_weighted_sum_by_hand():
    fuse = WeightedSum({"local": 1.0, "global": 0.5}, temperature=2.0)
    fused = fuse({"local": torch.tensor([[[-1.0, -2.0]]]), "global": torch.tensor([[[-4.0, 0.0]]])})
    torch.testing.assert_close(fused, torch.tensor([[[-1.5, -1.0]]]), atol=0, rtol=0)
