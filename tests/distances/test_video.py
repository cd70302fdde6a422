import pytest
import torch
from test_alignment import plain_otam
from torch import Tensor

from mdmf.distances.video import VIDEO_DISTANCES, VideoDistance


def cos(x: Tensor, y: Tensor, eps: float) -> Tensor:
    return (x @ y) / (x.norm() * y.norm() + eps)


def plain(name: str, query: Tensor, prototype: Tensor, *, temperature: float, directions: str, eps: float) -> float:
    """One query (T, D) against one prototype (S, D)."""
    if name == "prototype":
        return float(1 - cos(query.mean(0), prototype.mean(0), eps))
    cost = torch.stack([torch.stack([1 - cos(x, y, eps) for y in prototype]) for x in query])
    if name == "frame_wise":
        return sum(float(cost[t, t]) for t in range(len(cost))) / len(cost)
    if name == "bi_mhm":
        return float(cost.min(1).values.sum() + cost.min(0).values.sum())
    back = plain_otam(cost.T.numpy(), temperature) if directions == "both" else 0.0
    return plain_otam(cost.numpy(), temperature) + back


@pytest.mark.parametrize("name", VIDEO_DISTANCES)
@pytest.mark.parametrize(
    ("temperature", "directions", "eps"), [(0.5, "both", 0.01), (0.1, "query_to_support", 0.0), (0.5, "both", 2.0)]
)
@pytest.mark.parametrize(("T", "S"), [(4, 4), (1, 1), (3, 5)])
def test_equals_a_plain_loop(name, temperature, directions, eps, T, S):
    if name == "frame_wise" and T != S:
        pytest.skip("frame-wise needs as many frames on both sides")
    generator = torch.Generator().manual_seed(0)
    query, prototypes = torch.randn(2, 3, T, 6, generator=generator), torch.randn(2, 2, S, 6, generator=generator)
    distance = VideoDistance(name=name, otam_temperature=temperature, otam_directions=directions, eps=eps)
    got = distance(query, prototypes)
    assert got.shape == (2, 3, 2)
    expected = [
        [[plain(name, x, y, temperature=temperature, directions=directions, eps=eps) for y in ys] for x in xs]
        for xs, ys in zip(query, prototypes, strict=True)
    ]
    torch.testing.assert_close(got, torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_defaults_are_those_of_the_methods():
    """λ 0.5, both directions, eps 0.01."""
    x = torch.randn(1, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    y = torch.randn(1, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    expected = plain("otam", x[0, 0], y[0, 0], temperature=0.5, directions="both", eps=0.01)
    assert VideoDistance(name="otam")(x, y).item() == pytest.approx(expected, abs=1e-5)


def test_frame_means_by_hand():
    """Means (3, 4) and (4, 3): 1 - 24 / (25 + 0.01)."""
    query, prototype = torch.tensor([[2.0, 4.0], [4.0, 4.0]]), torch.tensor([[4.0, 2.0], [4.0, 4.0]])
    got = VideoDistance(name="prototype")(query[None, None], prototype[None, None])
    assert got.item() == pytest.approx(1 - 24 / 25.01, abs=1e-6)


@pytest.mark.parametrize("name", VIDEO_DISTANCES)
def test_never_under_autocast(name):
    x = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = VideoDistance(name=name)(x, x)
    assert got.dtype == torch.float32


def test_refuses_an_unknown_name():
    with pytest.raises(ValueError, match=r"distance must be one of .* got 'dtw'"):
        VideoDistance(name="dtw")
