import pytest
import torch
from torch.nn import functional

from mdmf.layers.attention import CrossTransformer, FusionLayer


def plain_layer(layer: FusionLayer, q_in: torch.Tensor, v_in: torch.Tensor) -> torch.Tensor:
    """Section 2 of docs/methods.md, head by head, for one video: (L, D) -> (L, D)."""
    attention, D = layer.attention, q_in.shape[-1]
    size = D // attention.n_heads
    q = attention.to_q(attention.norm(q_in))
    k, v = attention.to_k(attention.norm(v_in)), attention.to_v(attention.norm(v_in))
    heads = []
    for h in range(attention.n_heads):
        part = slice(h * size, (h + 1) * size)
        weights = (q[:, part] @ k[:, part].T / size**0.5).softmax(dim=-1)
        heads.append(weights @ v[:, part])
    attended = attention.project(torch.cat(heads, dim=-1)) + q_in
    first, second = layer.feed_forward[0], layer.feed_forward[3]
    return second(functional.gelu(first(attended))) + attended


@pytest.mark.parametrize("depth", [1, 3])
def test_fusion_equals_a_plain_version(depth):
    torch.manual_seed(0)
    model = CrossTransformer(16, depth=depth, n_heads=4, hidden_size=32).eval()
    prompt, context, features = torch.randn(2, 16), torch.randn(2, 3, 16), torch.randn(2, 3, 16)
    fused = model(prompt, context, features)
    assert fused.shape == (2, 4, 16)
    for b in range(2):
        tokens = torch.cat([prompt[b : b + 1], context[b]])
        values = torch.cat([prompt[b : b + 1], features[b]])
        for layer in model.layers:
            tokens = plain_layer(layer, tokens, values)
            values = tokens
        torch.testing.assert_close(fused[b], tokens, atol=1e-5, rtol=1e-5)


def test_frames_are_a_set_without_positions():
    torch.manual_seed(0)
    model = CrossTransformer(16, n_heads=4).eval()
    prompt, context, features = torch.randn(1, 16), torch.randn(1, 5, 16), torch.randn(1, 5, 16)
    order = torch.tensor([4, 2, 0, 3, 1])
    there = model(prompt, context[:, order], features[:, order])
    torch.testing.assert_close(there[:, 1:], model(prompt, context, features)[:, 1:][:, order], atol=1e-5, rtol=0)


def test_dropout_only_in_training():
    torch.manual_seed(0)
    model, tokens = CrossTransformer(16, n_heads=4), torch.randn(2, 3, 16)
    prompt = torch.randn(2, 16)
    assert not torch.equal(model(prompt, tokens, tokens), model(prompt, tokens, tokens))
    model.eval()
    torch.testing.assert_close(model(prompt, tokens, tokens), model(prompt, tokens, tokens), atol=0, rtol=0)


def test_refuses_a_size_that_heads_do_not_divide():
    with pytest.raises(ValueError, match="feature size 10 is not divisible by n_heads=8"):
        CrossTransformer(10)
