import math

import pytest
import torch

from mdmf.mutual.certainty import certainty


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
