"""Methods over several sources: against the plain versions, with missing videos, and what their settings refuse."""

import math
from dataclasses import replace

import numpy as np
import plain_multi_modal as plain
import pytest
import torch
from method_cases import (
    EARLY_FUSIONS,
    MULTI_SOURCE,
    SELECTING,
    SIZES,
    mapped,
    partly_missing,
    random_episode,
    small_method,
    small_settings_of,
    without,
)
from torch import Tensor

from mdmf.models.build import build_model
from mdmf.models.method import Method
from mdmf.models.zoo.early_fusion import CoAttention
from mdmf.registry import METHODS
from mdmf.settings import SingleSourceSettings, method_settings
from mdmf.structures import Episode

SOURCES = ("rgb", "flow")

WRAPPABLE = [
    name
    for name in METHODS
    if issubclass(METHODS[name].settings, SingleSourceSettings) and not METHODS[name].reads_text
]
BRANCH_A_SOURCE = [*SELECTING, "late_fusion"]
THREE = {"rgb": 8, "flow": 6, "depth": 4}


def frame_tokens(model: Method, source: str, features: Tensor, present: bool) -> plain.Video:
    return model.branch(source).embed({source: features[None]})["frames"][0].tolist() if present else None


def plain_answers(model, name, episode, e, distance, temperature) -> list[plain.Answer]:
    modalities = {}
    for m in plain.MODALITIES:
        support, query = episode.support[m][e], episode.query[m][e]
        shot_there = episode.support_present.get(m, torch.ones(episode.support[m].shape[:3]))[e]
        query_there = episode.query_present.get(m, torch.ones(episode.query[m].shape[:2]))[e]
        modalities[m] = plain.Modality(
            [
                [frame_tokens(model, m, video, bool(there)) for video, there in zip(*pair, strict=True)]
                for pair in zip(support, shot_there, strict=True)
            ],
            [frame_tokens(model, m, video, bool(there)) for video, there in zip(query, query_there, strict=True)],
            plain.DISTANCES[distance],
            temperature,
        )
    return plain.answer(name, modalities)


@torch.no_grad()
def check_against_plain(name: str, episode: Episode, distance: str = "otam", temperature: float = 0.4) -> set[int]:
    """Everything in the output; gives the teachers met."""
    model = small_method(name, distance=distance, branch_temperature=temperature)
    output = model(episode)
    N, E = episode.support["rgb"].shape[1], episode.support["rgb"].shape[0]
    distill, cross_entropy = [], []

    def close(value: Tensor, expected, atol: float = 2e-4) -> None:
        torch.testing.assert_close(value, torch.tensor(expected, dtype=value.dtype), atol=atol, rtol=1e-4)

    for e in range(E):
        answers = plain_answers(model, name, episode, e, distance, temperature)
        close(output.logits[e], [one.fused(N) for one in answers])
        for m in plain.MODALITIES:
            close(output.branch_logits[m][e], [one.of(m, N) for one in answers])
            close(output.fusion_weight[m][e], [one.shares[m] for one in answers])
            close(output.certainty[m][e], [max(plain.softmax(one.of(m, N))) for one in answers])
        teachers = [-1 if one.teacher is None else plain.MODALITIES.index(one.teacher) for one in answers]
        assert output.teacher[e].tolist() == teachers
        distill.append(plain.distill_loss(answers))
        cross_entropy.append(plain.cross_entropy(answers, episode.query_labels[e].tolist(), N))
    close(output.losses["distill_loss"], sum(distill) / E)
    close(output.losses["cross_entropy_loss"], sum(cross_entropy) / E)
    return set(output.teacher.unique().tolist())


@pytest.mark.parametrize("name", SELECTING)
@pytest.mark.parametrize(
    ("N", "K", "T", "distance"), [(3, 2, 4, "otam"), (2, 1, 1, "otam"), (4, 3, 2, "otam"), (4, 3, 2, "prototype")]
)
def test_equals_the_plain_version_query_by_query(name, N, K, T, distance):
    check_against_plain(name, random_episode(N=N, K=K, T=T), distance)


@pytest.mark.parametrize("name", SELECTING)
def test_the_plain_comparison_met_every_teacher(name):
    assert check_against_plain(name, random_episode(E=4, N=3, K=2, T=2, seed=1), "prototype") == {-1, 0, 1}


@pytest.mark.parametrize("name", SELECTING)
@pytest.mark.parametrize("distance", ["otam", "prototype"])
def test_equals_the_plain_version_where_features_are_missing(name, distance):
    check_against_plain(name, partly_missing(random_episode(E=3, K=3, T=2)), distance)


def test_a_lone_shot_is_no_evidence_but_the_others_are():
    """K = 2, one class has one flow shot: it cannot be classified without itself, the other classes' shots can."""
    check_against_plain("amfir", without(random_episode(E=1), "flow", shots=[(0, 1, 0)]))


def test_evidence_that_no_shot_can_give_favours_nobody():
    """K = 2, but every class has flow of one shot only: nothing is known of flow, as at K = 1."""
    check_against_plain("amfir", without(random_episode(E=1), "flow", shots=[(0, n, 0) for n in range(3)]))


@pytest.mark.parametrize("name", SELECTING)
@pytest.mark.parametrize("source", SOURCES)
def test_a_single_source_is_the_branch_alone(name, source):
    episode = random_episode()
    model, both = small_method(name, sources=[source], temperature=2.0), small_method(name)
    model.branch(source).load_state_dict(both.branch(source).state_dict())
    output = model(replace(episode, support={source: episode.support[source]}, query={source: episode.query[source]}))
    torch.testing.assert_close(output.branch_logits[source], both(episode).branch_logits[source], atol=1e-6, rtol=0)
    torch.testing.assert_close(output.logits * 2, output.branch_logits[source], atol=1e-6, rtol=0)
    assert list(model.branches) == list(output.branch_logits) == [source]
    assert (output.teacher, output.fusion_weight, output.losses["distill_loss"].item()) == (None, {}, 0)
    model(episode)  # the source that it does not look at may be there


@pytest.mark.parametrize("name", BRANCH_A_SOURCE)
def test_the_order_of_the_sources_numbers_teachers_and_changes_no_answer(name):
    episode, order = random_episode(sizes=THREE), ["depth", "rgb", "flow"]
    first = small_method(name, sizes=THREE, sources=list(THREE), cross_entropy="all")
    second = small_method(name, sizes=THREE, sources=order, cross_entropy="all")
    second.load_state_dict(first.state_dict())
    there, back = first(episode), second(episode)
    assert (list(there.branch_logits), list(back.branch_logits)) == (list(THREE), order)
    torch.testing.assert_close(there.logits, back.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(there.losses, back.losses, atol=1e-5, rtol=0)
    if name in SELECTING:
        names = [[*list(THREE), "several", "none"][number] for number in there.teacher.flatten().tolist()]
        assert names == [[*order, "several", "none"][number] for number in back.teacher.flatten().tolist()]
        assert len(set(names)) > 1


@pytest.mark.parametrize("name", BRANCH_A_SOURCE)
@pytest.mark.parametrize(("gone", "kept"), [("flow", "rgb"), ("rgb", "flow")])
def test_a_query_without_one_source_gets_exactly_the_answer_of_the_other(name, gone, kept):
    model, episode = small_method(name), random_episode()
    output = model(without(episode, gone, queries=[(0, 1), (1, 0)]))
    for query in ((0, 1), (1, 0)):
        assert torch.equal(output.logits[query], output.branch_logits[kept][query])
        assert torch.equal(output.logits[query], model(episode).branch_logits[kept][query])
        assert not output.branch_logits[gone][query].any()
    if name in SELECTING:
        assert output.fusion_weight[kept][0, 1] == 1
        assert (output.teacher[0, 1], output.teacher[1, 0]) == (-1, -1)
    torch.testing.assert_close(output.logits[0, 2:], model(episode).logits[0, 2:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SELECTING)
def test_of_three_sources_a_query_without_one_gets_the_answer_of_the_others(name):
    """The same weights without that source altogether: belief, teachers and all."""
    episode = random_episode(sizes=THREE)
    three = small_method(name, sizes=THREE, sources=list(THREE))
    two = small_method(name, sizes=THREE, sources=["rgb", "flow"])
    two.load_state_dict({key: value for key, value in three.state_dict().items() if ".depth." not in key})
    queries = [(e, q) for e in range(2) for q in range(6)]
    there, back = three(without(episode, "depth", queries=queries)), two(episode)
    torch.testing.assert_close(there.logits, back.logits, atol=1e-5, rtol=0)
    assert torch.equal(there.teacher, back.teacher)
    assert not there.fusion_weight["depth"].any()


@pytest.mark.parametrize("name", BRANCH_A_SOURCE)
def test_a_class_without_any_shot_of_a_source_makes_it_unusable_for_the_episode(name):
    model, episode = small_method(name), random_episode()
    output = model(without(episode, "flow", shots=[(1, 2, 0), (1, 2, 1)]))
    assert torch.equal(output.logits[1], output.branch_logits["rgb"][1])
    assert not output.branch_logits["flow"][1].any()
    torch.testing.assert_close(output.logits[0], model(episode).logits[0], atol=1e-5, rtol=0)
    if name in SELECTING:
        assert (output.teacher[1] == -1).all()


def test_a_shot_without_flow_is_left_out_of_the_prototype():
    """The flow branch of an episode of three shots, one of them missing, is that of the episode of the other two."""
    model, episode = small_method("amfar"), random_episode(K=3)
    lacking = without(episode, "flow", shots=[(e, n, 1) for e in range(2) for n in range(3)])
    fewer = mapped(episode, support=lambda value: value[:, :, [0, 2]])
    there, back = model(lacking), model(fewer)
    torch.testing.assert_close(there.branch_logits["flow"], back.branch_logits["flow"], atol=1e-5, rtol=0)
    torch.testing.assert_close(there.branch_logits["rgb"], model(episode).branch_logits["rgb"], atol=0, rtol=0)


@pytest.mark.parametrize("name", MULTI_SOURCE)
@pytest.mark.parametrize("cross_entropy", ["branches", "fused", "all"])
def test_nobody_present_costs_log_n_an_answer(name, cross_entropy):
    model, episode = small_method(name, cross_entropy=cross_entropy), random_episode(E=1)
    for source in SOURCES:
        episode = without(episode, source, queries=[(0, q) for q in range(6)])
    output = model(episode)
    n_answers = {"branches": len(output.branch_logits), "fused": 1, "all": len(output.branch_logits) + 1}[cross_entropy]
    assert output.losses["cross_entropy_loss"].item() == pytest.approx(n_answers * math.log(3))


@pytest.mark.parametrize("name", SELECTING)
def test_partly_missing_stays_finite_without_eps(name):
    model = small_method(name, cosine_eps=0.0)
    output = model(partly_missing(random_episode(E=3)))
    model.total_loss(output).backward()
    assert torch.isfinite(output.logits).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", SELECTING)
def test_loss_is_that_of_both_branches_and_weighted_distillation(name):
    """CE(P_r) + CE(P_f) + λ_kd·L_kd is what is trained by default, λ = 1."""
    episode = random_episode()
    for weight, settings in ((1.0, {}), (0.3, {"distill_weight": 0.3})):
        model = small_method(name, branch_temperature=0.1, **settings)
        output = model(episode)
        losses = output.losses
        assert losses["distill_loss"] > 0
        expected = losses["cross_entropy_loss"] + weight * losses["distill_loss"]
        torch.testing.assert_close(model.total_loss(output), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", SELECTING)
@pytest.mark.parametrize("teacher", SOURCES)
@pytest.mark.parametrize("detach", [True, False])
def test_the_teachers_head_learns_nothing_unless_asked(name, teacher, detach):
    model = small_method(name, strategy=f"{teacher}_teaches", detach_teacher=detach)
    model(random_episode()).losses["distill_loss"].backward()

    def learns(source: str) -> bool:
        return any(p.grad is not None and p.grad.any() for p in model.branch(source).parameters())

    student = {"rgb": "flow", "flow": "rgb"}[teacher]
    assert learns(student)
    assert learns(teacher) != detach


def branch_gradient(model: Method, branch: str, episode: Episode) -> list[Tensor]:
    model.zero_grad()
    model.total_loss(model(episode)).backward()
    return [parameter.grad.clone() for parameter in model.branch(branch).parameters()]


@pytest.mark.parametrize(("name", "untied"), [("late_fusion", True), ("amfar", False), ("amfir", False)])
def test_heads_of_late_fusion_learn_for_themselves(name, untied):
    episode = random_episode()
    changed = replace(
        episode,
        support={**episode.support, "flow": episode.support["flow"].flip(1)},
        query={**episode.query, "flow": episode.query["flow"] * 2},
    )
    model = small_method(name, branch_temperature=0.1)
    pairs = zip(branch_gradient(model, "rgb", episode), branch_gradient(model, "rgb", changed), strict=True)
    assert all(torch.equal(there, back) for there, back in pairs) == untied


def test_settings_of_the_distance_reach_it():
    """One frame, one shot, one direction: the distance is the cosine distance, with this eps, of the tokens."""
    settings = {"otam_directions": "query_to_support", "cosine_eps": 0.5, "branch_temperature": 0.25}
    model, episode = small_method("amfar", **settings), random_episode(T=1, K=1)
    videos = episode.query["flow"][0, 0], episode.support["flow"][0, 0, 0]
    x, y = (model.branch("flow").embed({"flow": video[None]})["frames"][0, 0] for video in videos)
    expected = -(1 - (x @ y) / (x.norm() * y.norm() + 0.5)) / 0.25
    torch.testing.assert_close(model(episode).branch_logits["flow"][0, 0, 0], expected, atol=1e-5, rtol=0)


def test_each_setting_of_the_distance_gives_its_own_answer():
    episode = random_episode()
    changes = [
        {},
        {"otam_temperature": 0.1},
        {"otam_directions": "query_to_support"},
        {"cosine_eps": 0.5},
        *({"distance": distance} for distance in ("prototype", "frame_wise", "bi_mhm")),
    ]
    answers = [small_method("amfar", **change)(episode).logits for change in changes]
    for number, answer in enumerate(answers):
        assert torch.isfinite(answer).all()
        assert all(not torch.allclose(answer, other, atol=1e-4) for other in answers[:number]), changes[number]


@pytest.mark.parametrize("name", SELECTING)
def test_every_setting_of_the_head_reaches_its_part(name):
    model = small_method(
        name,
        **{"head_size": 4, "otam_temperature": 0.2, "otam_directions": "query_to_support", "cosine_eps": 0.5},
        **{"branch_temperature": 0.25, "temperature": 3.0, "distance": "bi_mhm"},
        **{"strategy": "mutual", "detach_teacher": False, "distill_weight": 0.5, "cross_entropy": "all"},
        **{"tcn_dropout": 0.31, "attention_dropout": 0.32, "dropout": 0.33},
    )
    for source, D in SIZES.items():
        branch = model.branch(source)
        assert branch.head.project.weight.shape == (4, D)
        assert branch.head.context.blocks[0].dropout.p == 0.31
        layer = branch.head.layer
        assert (layer.attention.n_heads, layer.feed_forward[0].out_features) == (2, 16)
        assert (layer.attention.dropout.p, layer.feed_forward[2].p, layer.feed_forward[4].p) == (0.32, 0.33, 0.33)
        assert (branch.temperature, branch.sources) == (0.25, (source,))
        distance = branch.distance
        assert (distance.name, distance.otam_temperature, distance.eps) == ("bi_mhm", 0.2, 0.5)
        assert distance.otam_directions == "query_to_support"
    assert (model.selection.strategy, model.fusion.temperature) == ("mutual", 3.0)
    assert (model.detach_teacher, model.loss_weights.distill, model.cross_entropy) == (False, 0.5, "all")


@pytest.mark.parametrize("name", MULTI_SOURCE)
def test_each_trains_the_answers_of_its_branches_unless_told(name):
    model = small_method(name)
    assert model.cross_entropy == "branches"
    assert (model.loss_weights.distill, model.loss_weights.video_text) == (1.0, 0.0)
    assert list(model.branches) == (["joint"] if name in EARLY_FUSIONS else ["rgb", "flow"])
    with pytest.raises(ValueError, match=rf"model '{name}' needs features of source 'flow', got \['rgb'\]"):
        build_model(small_settings_of(name), feature_sizes={"rgb": 16})


@pytest.mark.parametrize("name", BRANCH_A_SOURCE)
def test_each_source_may_be_given_the_branch_of_another_method(name):
    """`of: {name: otam}`: the branches are those of `otam` on each source, and nothing is trained."""
    episode = random_episode()
    settings = method_settings({"name": name, "of": {"name": "otam", "otam_temperature": 0.2}})
    model = build_model(settings, feature_sizes=SIZES)
    output = model(episode)
    for source in SOURCES:
        alone = build_model(
            method_settings({"name": "otam", "source": source, "otam_temperature": 0.2}), feature_sizes=SIZES
        )
        assert torch.equal(output.branch_logits[source], alone(episode).logits)
    assert not model.has_weights
    assert not settings.is_trained
    assert settings.table_name == f"{name.removesuffix('_fusion')}_otam"
    trained = method_settings({"name": name, "of": "temporal_head"})
    assert trained.is_trained
    assert build_model(trained, feature_sizes={"rgb": 16, "flow": 16}).has_weights
    assert method_settings({"name": name, "of": "zero_shot"}).reads_text


@pytest.mark.parametrize("of", WRAPPABLE)
def test_any_method_of_one_source_may_be_wrapped(of):
    """Evidence of the support included: belief is in both sources."""
    sizes = dict.fromkeys(SOURCES, 8)
    episode = partly_missing(random_episode(E=3, sizes=sizes))
    for name in ("amfir", "early_concat"):
        model = build_model(
            method_settings({"name": name, "of": small_settings_of(of)}), feature_sizes=sizes, n_frames=3
        )
        output = model.eval()(episode)
        assert torch.isfinite(output.logits).all()
        assert torch.isfinite(model.total_loss(output))
        assert (name == "early_concat") or not torch.allclose(output.fusion_weight["rgb"][1, 0], torch.tensor(0.5))


@pytest.mark.parametrize("name", MULTI_SOURCE)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sources": ["rgb", "rgb"]}, "sources must be different"),
        ({"sources": []}, "at least 1 item"),
        ({"distance": "dtw"}, "Input should be 'otam', 'prototype', 'frame_wise' or 'bi_mhm'"),
        ({"cross_entropy": "none"}, "Input should be 'fused', 'branches' or 'all'"),
        ({"head_size": 5, "n_heads": 2}, "head_size 5 is not divisible by n_heads=2"),
        ({"of": "late_fusion"}, "of: late_fusion is no method of one source"),
        (
            {"of": "otam", "head_size": 4, "n_heads": 2},
            "of: otam replaces the head; remove its settings head_size, n_heads",
        ),
        ({"of": "ottam"}, "unknown method 'ottam'; did you mean 'otam'"),
        ({"of": {"name": "otam", "n_heads": 2}}, "Extra inputs are not permitted"),
    ],
)
def test_refuses_what_does_not_go_together(name, settings, message):
    with pytest.raises(ValueError, match=message):
        method_settings({"name": name, **settings})


@pytest.mark.parametrize("name", MULTI_SOURCE)
def test_a_method_of_several_branches_cannot_be_wrapped(name):
    with pytest.raises(ValueError, match="m2df has several branches or uses prompts, and cannot be wrapped"):
        build_model(method_settings({"name": name, "of": "m2df"}), feature_sizes={"rgb": 8, "flow": 8})


@pytest.mark.parametrize("name", SELECTING)
def test_choices_are_those_of_the_sources(name):
    def refused(message: str, **settings) -> None:
        with pytest.raises(ValueError, match=message):
            method_settings({"name": name, **settings})

    refused("fusion must be one of .*'active', 'sum', 'rgb', 'flow'.*got 'product'", fusion="product")
    refused("strategy must be one of .*'rgb_teaches', 'flow_teaches'.*got 'all'", strategy="all")
    refused("got 'depth_teaches'", strategy="depth_teaches")
    assert method_settings({"name": name, "sources": ["rgb", "depth"], "strategy": "depth_teaches"})
    refused("one source has no use for strategy", sources=["rgb"], strategy="mutual")
    refused("one source has no use for fusion", sources=["flow"], fusion="flow")


def golden(path, prefix: str = "") -> dict[str, Tensor]:
    case = np.load(path)
    names = [name for name in case.files if name.startswith(prefix) and case[name].dtype.kind in "fib"]
    return {name.removeprefix(prefix): torch.from_numpy(case[name]) for name in names}


def test_fusions_give_the_golden_answers(shared_data):
    """Concatenation, co-attention and late fusion around the prototype of mean frames, from another implementation."""
    path = shared_data / "golden" / "zoo" / "fusion_case.npz"
    case = golden(path)
    episode = Episode(*({source: case[f"{part}/{source}"] for source in SOURCES} for part in ("support", "query")))

    def method(name: str, **settings) -> Method:
        given = method_settings({"name": name, "of": "prototype", **settings})
        return build_model(given, feature_sizes=dict.fromkeys(SOURCES, case["support/rgb"].shape[-1])).eval()

    def close(logits: Tensor, expected: str) -> None:  # theirs are similarities: a constant of 1 a source more
        torch.testing.assert_close(logits.log_softmax(-1), case[expected].log_softmax(-1), atol=1e-5, rtol=0)

    late = method("late_fusion")(episode)
    for number, source in enumerate(SOURCES):
        torch.testing.assert_close(late.branch_logits[source], case["out/logits_each"][number], atol=1e-5, rtol=0)
    close(late.logits, "out/logits_lf")
    close(method("late_fusion", fusion="probability")(episode).logits, "out/logits_lf_probability")
    close(method("early_concat")(episode).logits, "out/logits_ec")
    attention = method("early_attention")
    join: CoAttention = attention.branch("joint").join
    join.load_state_dict(golden(path, "state/"))
    close(attention(episode).logits, "out/logits_ea")
    joined = join(*(case[f"query/{source}"].flatten(0, 1) for source in SOURCES))
    torch.testing.assert_close(joined, case["out/fused_query_ea"].flatten(0, 1), atol=1e-5, rtol=0)
