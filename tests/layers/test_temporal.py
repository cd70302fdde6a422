import pytest
import torch
from torch import nn
from torch.nn import functional

from mdmf.layers.temporal import GlobalContext, LocalContext


def plain_tcn(model: GlobalContext, features: torch.Tensor) -> torch.Tensor:
    """Every step of the dilated causal TCN of docs/methods.md, (B, T, D) -> (B, T, D): the oracle."""
    steps = features.transpose(1, 2)
    for number, block in enumerate(model.blocks):
        dilation, hidden = 2**number, steps
        for convolution in (block.first, block.second):
            n_padded = 2 * dilation
            hidden = functional.pad(hidden, (n_padded, n_padded))  # as published: pad both sides, then chomp
            hidden = functional.conv1d(hidden, convolution.weight, convolution.bias, dilation=dilation)
            hidden = functional.relu(hidden[..., :-n_padded])
        steps = functional.relu(hidden + steps)
    return steps.transpose(1, 2)


@pytest.mark.parametrize("T", [*range(1, 20), 28, 29, 30, 31, 32, 64])
def test_only_the_needed_steps_give_the_last_step_of_the_whole_tcn(T):
    torch.manual_seed(T)
    model = GlobalContext(6).eval()
    features = torch.randn(3, T, 6)
    torch.testing.assert_close(model.summary(features), plain_tcn(model, features)[:, -1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(features), plain_tcn(model, features)[:, -1:] + features, atol=1e-5, rtol=1e-5)


def test_every_frame_in_reach_matters_and_frames_before_do_not():
    torch.manual_seed(0)
    model = GlobalContext(4).eval()
    features = torch.randn(1, 40, 4, requires_grad=True)
    model.summary(features).sum().backward()
    reached = features.grad.abs().sum(dim=-1)[0] > 0
    assert reached[-29:].any()
    assert not reached[:-29].any()


def test_local_context_is_two_plain_convolutions():
    torch.manual_seed(0)
    model, features = LocalContext(4), torch.randn(2, 5, 4)
    weights = (model.first, model.second)
    expected = features.transpose(1, 2)
    for convolution in weights:
        expected = functional.conv1d(expected, convolution.weight, convolution.bias, padding=1)
    torch.testing.assert_close(model(features), expected.transpose(1, 2), atol=1e-6, rtol=0)
    assert not any(isinstance(module, (nn.ReLU, nn.LayerNorm, nn.Dropout)) for module in model.modules())
