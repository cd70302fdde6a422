import pytest
import torch

from mdmf.distances.alignment import otam_distance
from mdmf.models.baselines import BASELINES, make_baseline
from mdmf.structures import Episode


def episode(seed: int = 0, E: int = 2, N: int = 3, K: int = 2, Q: int = 4, T: int = 5, D: int = 6) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    return Episode(
        {"rgb": torch.randn(E, N, K, T, D, generator=generator)},
        {"rgb": torch.randn(E, Q, T, D, generator=generator)},
        torch.randn(E, N, D, generator=generator),
    )


def cos(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x @ y) / (x.norm() * y.norm() + 0.01)


def plain_logit(name: str, query: torch.Tensor, shots: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """METHODS 6 for one query (T, D) and one class, shots (K, T, D), text (D,)."""
    if name == "zero_shot":
        return 10.0 * cos(query.mean(0), text)
    prototype = shots.mean(0)
    if name == "prototype":
        return -(1 - cos(query.mean(0), prototype.mean(0)))
    cost = torch.stack([torch.stack([1 - cos(x, y) for y in prototype]) for x in query])
    if name == "frame_wise":
        return -torch.stack([cost[t, t] for t in range(len(cost))]).mean()
    if name == "bi_mhm":
        return -(cost.min(1).values.sum() + cost.min(0).values.sum())
    return -otam_distance(cost)


@pytest.mark.parametrize("name", BASELINES)
def test_equals_the_plain_version(name):
    given = episode()
    logits = make_baseline(name, logit_scale=10.0)(given).logits
    for e in range(2):
        for q in range(4):
            for n in range(3):
                expected = plain_logit(
                    name, given.query["rgb"][e, q], given.support["rgb"][e, n], given.class_text[e, n]
                )
                torch.testing.assert_close(logits[e, q, n], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BASELINES)
def test_a_copy_of_the_query_is_recognised(name):
    given = episode(N=4, K=1, Q=4)
    query = {"rgb": given.support["rgb"][:, :, 0]}
    text = given.support["rgb"].mean(dim=(2, 3))
    logits = make_baseline(name, logit_scale=10.0)(Episode(given.support, query, text)).logits
    assert torch.equal(logits.argmax(-1), torch.arange(4).expand(2, 4))


def test_only_order_aware_baselines_see_a_reversed_video():
    given = episode()
    turned = Episode(given.support, {"rgb": given.query["rgb"].flip(2)}, given.class_text)
    sees = {
        name: not torch.allclose(
            make_baseline(name, logit_scale=1.0)(given).logits,
            make_baseline(name, logit_scale=1.0)(turned).logits,
            atol=1e-5,
        )
        for name in BASELINES
    }
    assert sees == {"zero_shot": False, "prototype": False, "frame_wise": True, "otam": True, "bi_mhm": False}


def test_zero_shot_needs_text_and_names_are_known():
    with pytest.raises(ValueError, match="needs the class text"):
        make_baseline("zero_shot", logit_scale=1.0)(Episode(episode().support, episode().query))
    with pytest.raises(ValueError, match="unknown baseline 'dtw'"):
        make_baseline("dtw", logit_scale=1.0)
