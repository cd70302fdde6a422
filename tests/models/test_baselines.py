from dataclasses import replace

import pytest
import torch

from mdmf.distances.alignment import otam_distance
from mdmf.models.baselines import BASELINES, baseline_sources, make_baseline
from mdmf.structures import Episode


def episode(seed: int = 0, E: int = 2, N: int = 3, K: int = 2, Q: int = 4, T: int = 5, D: int = 6) -> Episode:
    """Flow features are of another size; the text is of rgb's."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"rgb": D, "flow": D + 1}
    return Episode(
        {source: torch.randn(E, N, K, T, size, generator=generator) for source, size in sizes.items()},
        {source: torch.randn(E, Q, T, size, generator=generator) for source, size in sizes.items()},
        torch.randn(E, N, D, generator=generator),
    )


def without(given: Episode, source: str, *, shots=(), queries=()) -> Episode:
    """The episode without one source of these videos: shots (e, n, k) and queries (e, q)."""
    support, query = given.support[source].clone(), given.query[source].clone()
    there, here = torch.ones(support.shape[:3], dtype=torch.bool), torch.ones(query.shape[:2], dtype=torch.bool)
    for shot in shots:
        support[shot], there[shot] = 0, False
    for one in queries:
        query[one], here[one] = 0, False
    return replace(
        given,
        support={**given.support, source: support},
        query={**given.query, source: query},
        support_present={source: there},
        query_present={source: here},
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


def plain_sources(name: str) -> tuple[str, ...]:
    return {"flow": ("flow",), "late": ("rgb", "flow")}.get(name.split("_")[0], ("rgb",))


@pytest.mark.parametrize("name", BASELINES)
def test_equals_the_plain_version(name):
    """`flow_*` is of flow, `late_*` the sum of the distances of both sources."""
    given = episode()
    logits = make_baseline(name, logit_scale=10.0)(given).logits
    kind = name.removeprefix("flow_").removeprefix("late_")
    for e in range(2):
        for q in range(4):
            for n in range(3):
                expected = sum(
                    plain_logit(kind, given.query[source][e, q], given.support[source][e, n], given.class_text[e, n])
                    for source in plain_sources(name)
                )
                torch.testing.assert_close(logits[e, q, n], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BASELINES)
def test_a_copy_of_the_query_is_recognised(name):
    given = episode(N=4, K=1, Q=4)
    query = {source: support[:, :, 0] for source, support in given.support.items()}
    text = given.support["rgb"].mean(dim=(2, 3))
    logits = make_baseline(name, logit_scale=10.0)(Episode(given.support, query, text)).logits
    assert torch.equal(logits.argmax(-1), torch.arange(4).expand(2, 4))


def test_only_order_aware_baselines_see_a_reversed_video():
    given = episode()
    turned = replace(given, query={source: query.flip(2) for source, query in given.query.items()})
    sees = {
        name: not torch.allclose(
            make_baseline(name, logit_scale=1.0)(given).logits,
            make_baseline(name, logit_scale=1.0)(turned).logits,
            atol=1e-5,
        )
        for name in BASELINES
    }
    kinds = {"prototype": False, "frame_wise": True, "otam": True, "bi_mhm": False}
    expected = {f"{prefix}{kind}": answer for kind, answer in kinds.items() for prefix in ("", "flow_", "late_")}
    assert sees == {"zero_shot": False, **expected}


def test_names_and_their_sources():
    kinds = ("prototype", "frame_wise", "otam", "bi_mhm")
    assert set(BASELINES) == {"zero_shot", *(f"{prefix}{kind}" for prefix in ("", "flow_", "late_") for kind in kinds)}
    assert {name: baseline_sources(name) for name in BASELINES} == {name: plain_sources(name) for name in BASELINES}
    assert not any(list(make_baseline(name, logit_scale=1.0).parameters()) for name in BASELINES)


def test_a_baseline_looks_at_its_own_sources_alone():
    given = episode()
    for name, source in (("otam", "rgb"), ("flow_otam", "flow"), ("zero_shot", "rgb")):
        alone = Episode({source: given.support[source]}, {source: given.query[source]}, given.class_text)
        baseline = make_baseline(name, logit_scale=1.0)
        assert torch.equal(baseline(alone).logits, baseline(given).logits)


def test_settings_of_the_distance_reach_it():
    given = episode(T=1, K=1)
    x, y = given.query["flow"][0, 0, 0], given.support["flow"][0, 0, 0, 0]
    settings = {"logit_scale": 1.0, "cosine_eps": 0.5, "otam_directions": "query_to_support"}
    expected = -(1 - (x @ y) / (x.norm() * y.norm() + 0.5))
    logits = make_baseline("flow_otam", **settings)(given).logits
    torch.testing.assert_close(logits[0, 0, 0], expected, atol=1e-5, rtol=0)
    soft, hard = (make_baseline("otam", logit_scale=1.0, otam_temperature=t)(episode()).logits for t in (0.5, 0.05))
    assert not torch.allclose(soft, hard, atol=1e-2)


def test_late_fusion_says_what_each_source_says():
    output = make_baseline("late_otam", logit_scale=1.0)(episode())
    assert list(output.branch_logits) == list(output.certainty) == ["rgb", "flow"]
    torch.testing.assert_close(output.logits, sum(output.branch_logits.values()), atol=1e-6, rtol=0)
    rgb = output.branch_logits["rgb"].softmax(-1).amax(-1)
    torch.testing.assert_close(output.certainty["rgb"], rgb, atol=1e-6, rtol=0)


def test_a_missing_query_gets_even_logits_and_from_late_fusion_the_other_source():
    given = episode()
    lacking = without(given, "flow", queries=[(0, 1)])
    logits = make_baseline("flow_otam", logit_scale=1.0)(lacking).logits
    assert not logits[0, 1].any()
    kept = make_baseline("flow_otam", logit_scale=1.0)(given).logits
    torch.testing.assert_close(logits[1], kept[1], atol=1e-5, rtol=0)
    late, rgb = (make_baseline(name, logit_scale=1.0)(lacking).logits for name in ("late_otam", "otam"))
    assert torch.equal(late[0, 1], rgb[0, 1])


def test_a_missing_shot_is_left_out_and_a_class_without_shots_makes_the_episode_unusable():
    given = episode(K=2)
    lacking = without(given, "flow", shots=[(0, n, 0) for n in range(3)] + [(1, 2, 0), (1, 2, 1)])
    fewer = replace(given, support={source: support[:, :, 1:] for source, support in given.support.items()})
    baseline = make_baseline("flow_prototype", logit_scale=1.0)
    logits = baseline(lacking).logits
    torch.testing.assert_close(logits[0], baseline(fewer).logits[0], atol=1e-5, rtol=0)
    assert not logits[1].any()
    late, rgb = (make_baseline(name, logit_scale=1.0)(lacking).logits for name in ("late_prototype", "prototype"))
    assert torch.equal(late[1], rgb[1])


@pytest.mark.parametrize("name", ["flow_otam", "late_otam"])
def test_says_which_source_an_episode_lacks(name):
    given = episode()
    rgb = Episode({"rgb": given.support["rgb"]}, {"rgb": given.query["rgb"]})
    with pytest.raises(ValueError, match="flow"):
        make_baseline(name, logit_scale=1.0)(rgb)


def test_zero_shot_needs_text_and_names_are_known():
    with pytest.raises(ValueError, match="needs the class text"):
        make_baseline("zero_shot", logit_scale=1.0)(Episode(episode().support, episode().query))
    with pytest.raises(ValueError, match="unknown baseline 'dtw'"):
        make_baseline("dtw", logit_scale=1.0)
