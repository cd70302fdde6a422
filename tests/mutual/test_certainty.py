import math

import pytest
import torch

from mdmf.mutual.certainty import certainty, free_energy, negative_entropy


def test_certainty_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]])
    torch.testing.assert_close(certainty(logits), torch.tensor([0.75, 0.5]), atol=1e-6, rtol=0)


def test_certainty_ignores_class_order_and_lies_between_chance_and_one():
    logits = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0)) * 10
    torch.testing.assert_close(certainty(logits), certainty(logits.flip(-1)), atol=1e-6, rtol=0)
    assert (certainty(logits) >= 0.2).all()
    assert (certainty(logits) <= 1).all()


def test_refuses_no_classes():
    with pytest.raises(ValueError, match="at least one class"):
        certainty(torch.zeros(2, 0))


def test_negative_entropy_by_hand():
    """0.8·ln 0.8 + 0.2·ln 0.2 = -0.178515 - 0.321888; even over 4 classes: -ln 4; sure of one: 0."""
    logits = torch.tensor([[math.log(0.8), math.log(0.2)]])
    torch.testing.assert_close(negative_entropy(logits), torch.tensor([-0.500402]), atol=1e-6, rtol=0)
    torch.testing.assert_close(negative_entropy(torch.zeros(4)), torch.tensor(-math.log(4)), atol=1e-6, rtol=0)
    torch.testing.assert_close(negative_entropy(torch.tensor([900.0, 0.0])), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_free_energy_by_hand():
    """P = (0.8, 0.2), P̄ = (0.5, 0.5): ambiguity 0.500402, risk 0.8·ln 1.6 + 0.2·ln 0.4 = 0.376003 - 0.183258."""
    logits = torch.tensor([math.log(0.8) + 3, math.log(0.2) + 3])  # a constant changes no posterior
    energy = free_energy(logits, torch.tensor([7.0, 7.0]))
    torch.testing.assert_close(energy, torch.tensor(0.500402 + 0.192745), atol=2e-6, rtol=0)


def test_free_energy_of_an_agreed_posterior_is_its_entropy_and_grows_with_disagreement():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(free_energy(logits, logits), -negative_entropy(logits), atol=1e-6, rtol=0)
    assert (free_energy(logits, logits.flip(-1)) > free_energy(logits, logits)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_judged_in_float32(dtype):
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    for value in (certainty(logits), negative_entropy(logits), free_energy(logits, logits)):
        assert value.dtype == torch.float32
