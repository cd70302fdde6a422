import pytest
import torch
from test_attention import plain_layer
from test_temporal import plain_tcn
from torch import nn

from mdmf.layers.heads import CoAttentionHead, TemporalHead

SMALL = {"n_heads": 2, "hidden_size": 12}


def plain_temporal(head: TemporalHead, frames: torch.Tensor) -> torch.Tensor:
    """One video (T, sum of sizes): a projection, GTCE, and frames in context that look at the frames as they are."""
    projected = frames @ head.project.weight.T + head.project.bias
    in_context = plain_tcn(head.context, projected[None])[0, -1] + projected
    return plain_layer(head.layer, in_context, projected)


def features(*sizes: int, B: int = 3, T: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(B, T, size, generator=generator) for size in sizes]


def made(kind: type[nn.Module], sizes: list[int], size: int = 8, **settings) -> nn.Module:
    torch.manual_seed(0)
    return kind(sizes, size, **SMALL, **settings).eval()


@pytest.mark.parametrize(("sizes", "T"), [([6], 4), ([6], 1), ([6, 5], 3)])
def test_temporal_head_equals_a_plain_version(sizes, T):
    head, given = made(TemporalHead, sizes), features(*sizes, T=T)
    tokens = head(*given)
    assert tokens.shape == (3, T, 8)
    for b in range(3):
        frames = torch.cat([source[b] for source in given], dim=-1)
        torch.testing.assert_close(tokens[b], plain_temporal(head, frames), atol=1e-5, rtol=1e-5)


def test_co_attention_head_equals_a_plain_version():
    """Each source, projected, looks at the other; both, side by side, go through one temporal head."""
    head, (first, second) = made(CoAttentionHead, [6, 5]), features(6, 5)
    tokens = head(first, second)
    assert tokens.shape == (3, 4, 8)
    for b in range(3):
        x = first[b] @ head.project_first.weight.T + head.project_first.bias
        y = second[b] @ head.project_second.weight.T + head.project_second.bias
        side_by_side = torch.cat([plain_layer(head.first_looks, x, y), plain_layer(head.second_looks, y, x)], dim=-1)
        torch.testing.assert_close(tokens[b], plain_temporal(head.together, side_by_side), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [TemporalHead, CoAttentionHead])
def test_every_source_matters_and_every_weight_learns(kind):
    head, given = made(kind, [6, 5]), [source.requires_grad_() for source in features(6, 5)]
    (head(*given) * torch.randn(8, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert all(source.grad.any() for source in given)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


def test_a_video_is_embedded_by_itself_and_in_its_order():
    head, (given,) = made(TemporalHead, [6]), features(6)
    torch.testing.assert_close(head(given[1:2])[0], head(given)[1], atol=1e-5, rtol=0)
    assert not torch.allclose(head(given.flip(1)).flip(1), head(given), atol=1e-3)


@pytest.mark.parametrize("kind", [TemporalHead, CoAttentionHead])
def test_settings_reach_every_part(kind):
    head = made(kind, [6, 5], tcn_dropout=0.3, attention_dropout=0.4, dropout=0.45)
    rates = [module.p for module in head.modules() if isinstance(module, nn.Dropout)]
    n_layers = 3 if kind is CoAttentionHead else 1
    assert sorted(rates) == [0.3] * 3 + [0.4] * n_layers + [0.45] * 2 * n_layers
    widths = [layer.out_features for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert widths.count(12) == n_layers


@pytest.mark.parametrize("kind", [TemporalHead, CoAttentionHead])
def test_dropout_only_in_training(kind):
    head, given = made(kind, [6, 5]), features(6, 5)
    torch.testing.assert_close(head(*given), head(*given), atol=0, rtol=0)
    head.train()
    assert not torch.equal(head(*given), head(*given))


def test_refuses_a_size_that_heads_do_not_divide():
    with pytest.raises(ValueError, match="feature size 7 is not divisible by n_heads=2"):
        made(TemporalHead, [6], size=7)
