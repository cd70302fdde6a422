import pytest
import torch

from mdmf.distances.pairwise import cosine_similarity, frame_distance


def test_cosine_by_hand():
    x, y = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0], [-4.0, 3.0], [0.0, 0.0]])
    torch.testing.assert_close(cosine_similarity(x, y), torch.tensor([[25 / 25.01, 0.0, 0.0]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(cosine_similarity(x, y[:1], eps=0.0), torch.tensor([[1.0]]), atol=1e-6, rtol=0)


def test_frame_distance_equals_a_plain_loop():
    torch.manual_seed(0)
    query, prototypes = torch.randn(2, 3, 4, 6), torch.randn(2, 5, 7, 6)
    distance = frame_distance(query, prototypes)
    assert distance.shape == (2, 3, 5, 4, 7)
    for e, q, n, t, s in ((0, 0, 0, 0, 0), (1, 2, 4, 3, 6), (1, 0, 3, 2, 5)):
        x, y = query[e, q, t], prototypes[e, n, s]
        expected = 1 - (x @ y) / (x.norm() * y.norm() + 0.01)
        torch.testing.assert_close(distance[e, q, n, t, s], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_compared_in_float32(dtype):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        similarity = cosine_similarity(x, x)
    assert similarity.dtype == torch.float32
    torch.testing.assert_close(similarity, cosine_similarity(x.float(), x.float()), atol=0, rtol=0)
