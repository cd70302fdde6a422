import torch

from mdmf.layers.prototypes import class_prototypes


def test_prototype_is_the_mean_over_shots():
    support = torch.arange(24.0).reshape(1, 2, 3, 2, 2)  # (E, N, K, T, D)
    prototypes = class_prototypes(support)
    torch.testing.assert_close(prototypes[0, 0], torch.tensor([[4.0, 5.0], [6.0, 7.0]]), atol=0, rtol=0)
    assert prototypes.shape == (1, 2, 2, 2)
