import torch

from mdmf.mutual.fuse import ActiveFusion, WeightedSum


def test_weighted_sum_by_hand():
    fuse = WeightedSum({"local": 1.0, "global": 0.5}, temperature=2.0)
    fused = fuse({"local": torch.tensor([[[-1.0, -2.0]]]), "global": torch.tensor([[[-4.0, 0.0]]])})
    torch.testing.assert_close(fused, torch.tensor([[[-1.5, -1.0]]]), atol=0, rtol=0)


def test_fixed_weights_look_at_no_shares():
    fuse, logits = WeightedSum({"rgb": 1.0, "flow": 1.0}), {"rgb": torch.ones(1, 1, 2), "flow": torch.zeros(1, 1, 2)}
    shares = {"rgb": torch.zeros(1, 1), "flow": torch.ones(1, 1)}
    torch.testing.assert_close(fuse(logits, shares), torch.ones(1, 1, 2), atol=0, rtol=0)


def test_adaptive_inference_by_hand():
    """Two queries: 0.75·(-1, -2) + 0.25·(-4, 0) = (-1.75, -1.5); 0·(-1, -3) + 1·(-2, -6); halved by temperature 2."""
    logits = {"rgb": torch.tensor([[[-1.0, -2.0], [-1.0, -3.0]]]), "flow": torch.tensor([[[-4.0, 0.0], [-2.0, -6.0]]])}
    shares = {"rgb": torch.tensor([[0.75, 0.0]]), "flow": torch.tensor([[0.25, 1.0]])}
    expected = torch.tensor([[[-1.75, -1.5], [-2.0, -6.0]]])
    torch.testing.assert_close(ActiveFusion()(logits, shares), expected, atol=0, rtol=0)
    torch.testing.assert_close(ActiveFusion(temperature=2.0)(logits, shares), expected / 2, atol=0, rtol=0)


def test_adaptive_inference_trains_branches_and_shares():
    logits = {name: torch.randn(1, 2, 3, requires_grad=True) for name in ("rgb", "flow")}
    shares = {name: torch.full((1, 2), 0.5, requires_grad=True) for name in logits}
    ActiveFusion()(logits, shares).softmax(-1)[..., 0].sum().backward()
    assert all(value.grad.any() for value in (*logits.values(), *shares.values()))
