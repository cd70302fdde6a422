"""The nearest prototype by four distances, on one source and as compositions of several."""

from dataclasses import replace

import pytest
import torch
from method_cases import SIZES, random_episode, without

from mdmf.distances.alignment import otam_distance
from mdmf.distances.video import VIDEO_DISTANCES
from mdmf.models.build import build_model
from mdmf.models.method import Method
from mdmf.registry import METHODS
from mdmf.settings import method_settings
from mdmf.structures import Episode

# Names of version 0.1, which tables still print: `flow_*` is of flow, `late_*` the sum over both sources.
NAMES = [f"{prefix}{kind}" for prefix in ("", "flow_", "late_") for kind in VIDEO_DISTANCES]


def nearest(values) -> Method:
    return build_model(method_settings(values), feature_sizes=SIZES)


def cos(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x @ y) / (x.norm() * y.norm() + 0.01)


def plain_logit(kind: str, query: torch.Tensor, shots: torch.Tensor) -> torch.Tensor:
    """Of one query (T, D) and one class, shots (K, T, D)."""
    prototype = shots.mean(0)
    if kind == "prototype":
        return -(1 - cos(query.mean(0), prototype.mean(0)))
    cost = torch.stack([torch.stack([1 - cos(x, y) for y in prototype]) for x in query])
    if kind == "frame_wise":
        return -torch.stack([cost[t, t] for t in range(len(cost))]).mean()
    if kind == "bi_mhm":
        return -(cost.min(1).values.sum() + cost.min(0).values.sum())
    return -otam_distance(cost)


def plain_sources(name: str) -> tuple[str, ...]:
    return {"flow": ("flow",), "late": ("rgb", "flow")}.get(name.split("_")[0], ("rgb",))


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_plain_version(name):
    episode, kind = random_episode(T=5), name.removeprefix("flow_").removeprefix("late_")
    method = nearest(name)
    logits = method(episode).logits
    assert method.sources == plain_sources(name)
    assert not method.has_weights
    for e in range(2):
        for q in range(6):
            for n in range(3):
                expected = sum(
                    plain_logit(kind, episode.query[source][e, q], episode.support[source][e, n])
                    for source in plain_sources(name)
                )
                torch.testing.assert_close(logits[e, q, n], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_the_query_is_recognised(name):
    episode = random_episode(N=4, K=1)
    query = {source: support[:, :, 0] for source, support in episode.support.items()}
    logits = nearest(name)(Episode(episode.support, query)).logits
    assert torch.equal(logits.argmax(-1), torch.arange(4).expand(2, 4))


def test_only_order_aware_distances_see_a_reversed_video():
    episode = random_episode(T=5)
    turned = replace(episode, query={source: query.flip(2) for source, query in episode.query.items()})
    sees = {
        name: not torch.allclose(nearest(name)(episode).logits, nearest(name)(turned).logits, atol=1e-5)
        for name in NAMES
    }
    kinds = {"prototype": False, "frame_wise": True, "otam": True, "bi_mhm": False}
    assert sees == {f"{prefix}{kind}": answer for kind, answer in kinds.items() for prefix in ("", "flow_", "late_")}


def test_every_distance_of_videos_is_a_method():
    assert set(VIDEO_DISTANCES) <= set(METHODS)
    assert not any(METHODS[name].is_trained for name in VIDEO_DISTANCES)


def test_a_method_looks_at_its_own_source_alone():
    episode = random_episode()
    for values, source in (("otam", "rgb"), ({"name": "otam", "source": "flow"}, "flow")):
        alone = Episode({source: episode.support[source]}, {source: episode.query[source]})
        assert torch.equal(nearest(values)(alone).logits, nearest(values)(episode).logits)


def test_settings_of_the_distance_reach_it():
    episode = random_episode(T=1, K=1)
    x, y = episode.query["flow"][0, 0, 0], episode.support["flow"][0, 0, 0, 0]
    settings = {"name": "otam", "source": "flow", "cosine_eps": 0.5, "otam_directions": "query_to_support"}
    expected = -(1 - (x @ y) / (x.norm() * y.norm() + 0.5))
    torch.testing.assert_close(nearest(settings)(episode).logits[0, 0, 0], expected, atol=1e-5, rtol=0)
    soft, hard = (
        nearest({"name": "otam", "otam_temperature": value})(random_episode()).logits for value in (0.5, 0.05)
    )
    assert not torch.allclose(soft, hard, atol=1e-2)


def test_on_one_source_no_branch_is_named_and_late_fusion_names_each():
    alone, late = nearest("otam")(random_episode()), nearest("late_otam")(random_episode())
    assert (alone.branch_logits, list(alone.certainty)) == ({}, ["all"])
    assert list(late.branch_logits) == list(late.certainty) == ["rgb", "flow"]
    torch.testing.assert_close(late.logits, sum(late.branch_logits.values()), atol=1e-6, rtol=0)
    rgb = late.branch_logits["rgb"].softmax(-1).amax(-1)
    torch.testing.assert_close(late.certainty["rgb"], rgb, atol=1e-6, rtol=0)


def test_a_missing_query_gets_even_logits_and_from_late_fusion_the_other_source():
    episode = random_episode()
    lacking = without(episode, "flow", queries=[(0, 1)])
    logits = nearest("flow_otam")(lacking).logits
    assert not logits[0, 1].any()
    torch.testing.assert_close(logits[1], nearest("flow_otam")(episode).logits[1], atol=1e-5, rtol=0)
    assert torch.equal(nearest("late_otam")(lacking).logits[0, 1], nearest("otam")(lacking).logits[0, 1])


def test_a_missing_shot_is_left_out_and_a_class_without_shots_makes_the_episode_unusable():
    episode = random_episode(K=2)
    lacking = without(episode, "flow", shots=[(0, n, 0) for n in range(3)] + [(1, 2, 0), (1, 2, 1)])
    fewer = replace(episode, support={source: support[:, :, 1:] for source, support in episode.support.items()})
    logits = nearest("flow_prototype")(lacking).logits
    torch.testing.assert_close(logits[0], nearest("flow_prototype")(fewer).logits[0], atol=1e-5, rtol=0)
    assert not logits[1].any()
    assert torch.equal(nearest("late_prototype")(lacking).logits[1], nearest("prototype")(lacking).logits[1])
