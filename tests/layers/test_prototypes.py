import pytest
import torch

from mdmf.layers.prototypes import class_prototypes, prototypes_without_each_shot


def test_prototype_is_the_mean_over_shots():
    support = torch.arange(24.0).reshape(1, 2, 3, 2, 2)  # (E, N, K, T, D)
    prototypes = class_prototypes(support)
    torch.testing.assert_close(prototypes[0, 0], torch.tensor([[4.0, 5.0], [6.0, 7.0]]), atol=0, rtol=0)
    assert prototypes.shape == (1, 2, 2, 2)


def test_a_shot_that_is_missing_does_not_count():
    """Means over the shots that are there; a class without any is zeros."""
    support = torch.tensor([[[[1.0], [3.0], [8.0]], [[5.0], [7.0], [9.0]], [[2.0], [4.0], [6.0]]]])  # (1, 3, 3, 1)
    present = torch.tensor([[[True, True, False], [False, False, True], [False, False, False]]])
    expected = torch.tensor([[[2.0], [9.0], [0.0]]])
    torch.testing.assert_close(class_prototypes(support, present), expected, atol=0, rtol=0)
    everything = torch.ones_like(present)
    torch.testing.assert_close(class_prototypes(support, everything), class_prototypes(support), atol=1e-6, rtol=0)


def test_leaving_each_shot_out_by_hand():
    support = torch.tensor([[[[1.0], [3.0], [8.0]], [[5.0], [7.0], [9.0]]]])
    expected = torch.tensor([[[[5.5], [4.5], [2.0]], [[8.0], [7.0], [6.0]]]])
    torch.testing.assert_close(prototypes_without_each_shot(support), expected, atol=1e-6, rtol=0)


def test_leaving_out_counts_only_what_is_there():
    """Without shot 1 of the first class: 3 without 1, 1 without 3, and their mean 2 for the one that is missing."""
    support = torch.tensor([[[[1.0], [3.0], [8.0]], [[5.0], [7.0], [9.0]]]])
    present = torch.tensor([[[True, True, False], [False, True, False]]])
    expected = torch.tensor([[[[3.0], [1.0], [2.0]], [[7.0], [0.0], [7.0]]]])
    torch.testing.assert_close(prototypes_without_each_shot(support, present), expected, atol=1e-6, rtol=0)


def test_leaving_out_equals_a_plain_loop():
    support = torch.randn(2, 3, 4, 2, 5, generator=torch.Generator().manual_seed(0))
    others = prototypes_without_each_shot(support)
    for k in range(4):
        kept = [j for j in range(4) if j != k]
        torch.testing.assert_close(others[:, :, k], support[:, :, kept].mean(dim=2), atol=1e-6, rtol=0)


def test_one_shot_cannot_be_left_out():
    with pytest.raises(ValueError, match="at least 2 shots, got 1"):
        prototypes_without_each_shot(torch.zeros(1, 2, 1, 3))
