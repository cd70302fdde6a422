import math
from dataclasses import replace

import plain_multi_modal as plain
import pytest
import torch
from torch import Tensor

from mdmf.models.multi_modal import MULTI_MODAL, MultiModal, make_multi_modal
from mdmf.structures import SOURCES, Episode

SIZES = {"rgb": 8, "flow": 6}
SMALL = {"hidden_size": 12, "n_heads": 2}
SELECTING = ("amfar", "amfir")
TWO_BRANCHES = ("amfar", "amfir", "late_fusion")


def random_episode(E=2, N=3, K=2, T=3, queries_per_class=2, seed=0) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    Q = N * queries_per_class
    return Episode(
        support={source: torch.randn(E, N, K, T, D, generator=generator) * 3 for source, D in SIZES.items()},
        query={source: torch.randn(E, Q, T, D, generator=generator) * 3 for source, D in SIZES.items()},
        query_labels=torch.arange(N).repeat_interleave(queries_per_class).expand(E, Q),
    )


def small_model(name="amfar", seed=0, **settings) -> MultiModal:
    torch.manual_seed(seed)
    return make_multi_modal(name, SIZES, **SMALL, **settings).eval()


def without(episode: Episode, source: str, *, shots=(), queries=()) -> Episode:
    """The episode without one source of these videos: shots (e, n, k) and queries (e, q)."""
    support, query = episode.support[source].clone(), episode.query[source].clone()
    there, here = torch.ones(support.shape[:3], dtype=torch.bool), torch.ones(query.shape[:2], dtype=torch.bool)
    for shot in shots:
        support[shot], there[shot] = 0, False
    for one in queries:
        query[one], here[one] = 0, False
    return replace(
        episode,
        support={**episode.support, source: support},
        query={**episode.query, source: query},
        support_present={**episode.support_present, source: there},
        query_present={**episode.query_present, source: here},
    )


def mapped(episode: Episode, *, support=lambda value: value, query=lambda value: value) -> Episode:
    """Every part of the episode that has (E, N, K) or (E, Q) in front, changed alike."""

    def each(values: dict[str, Tensor], change) -> dict[str, Tensor]:
        return {source: change(value) for source, value in values.items()}

    return replace(
        episode,
        support=each(episode.support, support),
        query=each(episode.query, query),
        support_present=each(episode.support_present, support),
        query_present=each(episode.query_present, query),
        query_labels=query(episode.query_labels),
    )


def partly_missing(episode: Episode) -> Episode:
    """Of three episodes (K >= 2): one lacks flow of a shot and a query, one rgb of others, one flow of a whole class.

    Query 3 of the first episode has nothing at all.
    """
    K = episode.support["flow"].shape[2]
    lacking = without(
        episode, "flow", shots=[(0, 1, 0), *((2, 0, k) for k in range(K))], queries=[(0, 0), (0, 3), (1, 2)]
    )
    return without(lacking, "rgb", shots=[(1, 0, 1), (0, 1, 0)], queries=[(0, 3), (2, 1)])


def tokens(model: MultiModal, modality: str, features: Tensor, there: bool) -> plain.Video:
    return model.branches[modality].embed({modality: features[None]})[0].tolist() if there else None


def plain_answers(model, name, episode, e, distance, temperature) -> list[plain.Answer]:
    modalities = {}
    for m in plain.MODALITIES:
        support, query = episode.support[m][e], episode.query[m][e]
        shot_there = episode.support_present.get(m, torch.ones(episode.support[m].shape[:3]))[e]
        query_there = episode.query_present.get(m, torch.ones(episode.query[m].shape[:2]))[e]
        modalities[m] = plain.Modality(
            [
                [tokens(model, m, video, bool(there)) for video, there in zip(*pair, strict=True)]
                for pair in zip(support, shot_there, strict=True)
            ],
            [tokens(model, m, video, bool(there)) for video, there in zip(query, query_there, strict=True)],
            plain.DISTANCES[distance],
            temperature,
        )
    return plain.answer(name, modalities)


@torch.no_grad()
def check_against_plain(name: str, episode: Episode, distance: str = "otam", temperature: float = 0.4) -> set[int]:
    """Everything the model says; gives the teachers met."""
    model = small_model(name, distance=distance, branch_temperature=temperature)
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


@pytest.mark.parametrize("name", MULTI_MODAL)
def test_a_batch_equals_its_episodes_one_by_one(name):
    model, episode = small_model(name), partly_missing(random_episode(E=3))
    whole = model(episode)
    singles = [
        model(mapped(episode, support=lambda v, e=e: v[e : e + 1], query=lambda v, e=e: v[e : e + 1])) for e in range(3)
    ]
    torch.testing.assert_close(torch.cat([one.logits for one in singles]), whole.logits, atol=1e-4, rtol=1e-5)
    for loss, value in whole.losses.items():
        mean = torch.stack([one.losses[loss] for one in singles]).mean()
        torch.testing.assert_close(mean, value, atol=1e-5, rtol=1e-4)
    if name in SELECTING:
        assert torch.equal(torch.cat([one.teacher for one in singles]), whole.teacher)


@pytest.mark.parametrize("name", MULTI_MODAL)
def test_swapping_classes_swaps_logits_and_changes_no_loss(name):
    model, episode, order = small_model(name), partly_missing(random_episode(E=3)), [2, 0, 1]
    turned = mapped(episode, support=lambda value: value[:, order])
    turned = replace(turned, query_labels=torch.tensor(order).argsort()[episode.query_labels])
    there, back = model(episode), model(turned)
    torch.testing.assert_close(back.logits, there.logits[..., order], atol=1e-4, rtol=1e-5)
    for loss, value in there.losses.items():
        torch.testing.assert_close(back.losses[loss], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MULTI_MODAL)
def test_order_of_shots_and_queries_does_not_matter(name):
    model, episode = small_model(name), partly_missing(random_episode(E=3))
    turned = mapped(episode, support=lambda value: value.flip(2), query=lambda value: value.flip(1))
    there, back = model(episode), model(turned)
    torch.testing.assert_close(back.logits.flip(1), there.logits, atol=1e-4, rtol=1e-5)
    for loss, value in there.losses.items():
        torch.testing.assert_close(back.losses[loss], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MULTI_MODAL)
def test_evaluation_has_no_randomness_and_training_has(name):
    model, episode = small_model(name), random_episode()
    torch.testing.assert_close(model(episode).logits, model(episode).logits, atol=0, rtol=0)
    model.train()
    assert not torch.equal(model(episode).logits, model(episode).logits)


@pytest.mark.parametrize("name", MULTI_MODAL)
def test_labels_change_no_answer(name):
    model, episode = small_model(name), random_episode()
    blind = model(replace(episode, query_labels=None))
    torch.testing.assert_close(blind.logits, model(episode).logits, atol=0, rtol=0)
    assert set(blind.losses) == {"distill_loss"}
    assert set(model(episode).losses) == {"distill_loss", "cross_entropy_loss"}


@pytest.mark.parametrize("name", SELECTING)
@pytest.mark.parametrize("modality", SOURCES)
def test_a_single_modality_is_the_branch_alone(name, modality):
    episode = random_episode()
    model, both = small_model(name, modalities=(modality,), temperature=2.0), small_model(name)
    model.branches[modality].load_state_dict(both.branches[modality].state_dict())
    output = model(
        replace(episode, support={modality: episode.support[modality]}, query={modality: episode.query[modality]})
    )
    torch.testing.assert_close(output.branch_logits[modality], both(episode).branch_logits[modality], atol=1e-6, rtol=0)
    torch.testing.assert_close(output.logits * 2, output.branch_logits[modality], atol=1e-6, rtol=0)
    assert list(model.branches) == list(output.branch_logits) == [modality]
    assert (output.teacher, output.fusion_weight, output.losses["distill_loss"].item()) == (None, {}, 0)
    model(episode)  # the source that it does not look at may be there


def test_order_of_modalities_is_no_setting():
    there, back = (
        small_model(modalities=modalities)(random_episode()) for modalities in (("rgb", "flow"), ("flow", "rgb"))
    )
    assert list(back.branch_logits) == ["rgb", "flow"]
    assert torch.equal(there.logits, back.logits)
    assert torch.equal(there.teacher, back.teacher)


def head_gradient(model: MultiModal, branch: str, episode: Episode) -> list[Tensor]:
    model.zero_grad()
    model.total_loss(model(episode)).backward()
    return [parameter.grad.clone() for parameter in model.branches[branch].parameters()]


@pytest.mark.parametrize(("name", "untied"), [("late_fusion", True), ("amfar", False), ("amfir", False)])
def test_heads_of_late_fusion_learn_for_themselves(name, untied):
    episode = random_episode()
    changed = replace(
        episode,
        support={**episode.support, "flow": episode.support["flow"].flip(1)},
        query={**episode.query, "flow": episode.query["flow"] * 2},
    )
    model = small_model(name, branch_temperature=0.1)
    pairs = zip(head_gradient(model, "rgb", episode), head_gradient(model, "rgb", changed), strict=True)
    assert all(torch.equal(there, back) for there, back in pairs) == untied


def test_late_fusion_adds_the_distances_and_teaches_nobody():
    output = small_model("late_fusion", temperature=4.0, strategy="mutual")(random_episode())
    expected = (output.branch_logits["rgb"] + output.branch_logits["flow"]) / 4
    torch.testing.assert_close(output.logits, expected, atol=1e-6, rtol=0)
    assert output.losses["distill_loss"].item() == 0
    assert (output.teacher, output.fusion_weight) == (None, {})


@pytest.mark.parametrize("fusion", ["sum", "rgb", "flow"])
def test_other_fusions_by_hand(fusion):
    output = small_model(fusion=fusion)(random_episode())
    rgb, flow = output.branch_logits["rgb"], output.branch_logits["flow"]
    expected = {"sum": rgb + flow, "rgb": rgb, "flow": flow}[fusion]
    torch.testing.assert_close(output.logits, expected, atol=1e-6, rtol=0)
    assert output.teacher is not None  # distillation stays the strategy's affair
    assert output.fusion_weight == {}


@pytest.mark.parametrize("name", ["early_concat", "early_attention"])
def test_early_fusion_is_one_branch_that_uses_both_sources(name):
    model, episode = small_model(name), random_episode()
    there = model(episode)
    assert list(there.branch_logits) == ["joint"]
    torch.testing.assert_close(there.logits, there.branch_logits["joint"], atol=0, rtol=0)
    for source in SOURCES:
        for part in ("support", "query"):
            values = {**getattr(episode, part), source: getattr(episode, part)[source].roll(1, dims=1)}
            assert not torch.allclose(model(replace(episode, **{part: values})).logits, there.logits, atol=1e-4)
    assert all(gradient.any() for gradient in head_gradient(model, "joint", episode)[:2])


@pytest.mark.parametrize("name", TWO_BRANCHES)
@pytest.mark.parametrize(("gone", "kept"), [("flow", "rgb"), ("rgb", "flow")])
def test_a_query_without_one_modality_gets_exactly_the_answer_of_the_other(name, gone, kept):
    model, episode = small_model(name), random_episode()
    output = model(without(episode, gone, queries=[(0, 1), (1, 0)]))
    for query in ((0, 1), (1, 0)):
        assert torch.equal(output.logits[query], output.branch_logits[kept][query])
        assert torch.equal(output.logits[query], model(episode).branch_logits[kept][query])
        assert not output.branch_logits[gone][query].any()
    if name in SELECTING:
        assert output.fusion_weight[kept][0, 1] == 1
        assert (output.teacher[0, 1], output.teacher[1, 0]) == (-1, -1)
    torch.testing.assert_close(output.logits[0, 2:], model(episode).logits[0, 2:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", TWO_BRANCHES)
def test_a_class_without_any_shot_of_a_modality_makes_it_unusable_for_the_episode(name):
    model, episode = small_model(name), random_episode()
    output = model(without(episode, "flow", shots=[(1, 2, 0), (1, 2, 1)]))
    assert torch.equal(output.logits[1], output.branch_logits["rgb"][1])
    assert not output.branch_logits["flow"][1].any()
    torch.testing.assert_close(output.logits[0], model(episode).logits[0], atol=1e-5, rtol=0)
    if name in SELECTING:
        assert (output.teacher[1] == -1).all()


def test_a_shot_without_flow_is_left_out_of_the_prototype():
    """The flow branch of an episode of three shots, one of them missing, is that of the episode of the other two."""
    model, episode = small_model(), random_episode(K=3)
    lacking = without(episode, "flow", shots=[(e, n, 1) for e in range(2) for n in range(3)])
    fewer = mapped(episode, support=lambda value: value[:, :, [0, 2]])
    there, back = model(lacking), model(fewer)
    torch.testing.assert_close(there.branch_logits["flow"], back.branch_logits["flow"], atol=1e-5, rtol=0)
    torch.testing.assert_close(there.branch_logits["rgb"], model(episode).branch_logits["rgb"], atol=0, rtol=0)


@pytest.mark.parametrize("name", MULTI_MODAL)
def test_a_shot_that_is_missing_altogether_is_as_if_never_given(name):
    """Every source of the shot is gone: K = 3 with a hole is K = 2, evidence and all."""
    model, episode = small_model(name), random_episode(K=3)
    hole = [(e, n, 1) for e in range(2) for n in range(3)]
    lacking = without(without(episode, "flow", shots=hole), "rgb", shots=hole)
    there, back = model(lacking), model(mapped(episode, support=lambda value: value[:, :, [0, 2]]))
    torch.testing.assert_close(there.logits, back.logits, atol=1e-5, rtol=0)
    for loss, value in there.losses.items():
        torch.testing.assert_close(back.losses[loss], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["early_concat", "early_attention"])
def test_early_fusion_answers_a_query_that_has_one_source(name):
    model, episode = small_model(name), random_episode()
    output = model(without(episode, "flow", queries=[(0, 1)]))
    assert output.logits[0, 1].std() > 0
    zeros = replace(episode, query=without(episode, "flow", queries=[(0, 1)]).query)
    torch.testing.assert_close(output.logits, model(zeros).logits, atol=1e-6, rtol=0)
    neither = without(without(episode, "flow", queries=[(0, 1)]), "rgb", queries=[(0, 1)])
    assert not model(neither).logits[0, 1].any()


@pytest.mark.parametrize("name", TWO_BRANCHES)
def test_what_stands_for_a_missing_video_is_never_looked_at(name):
    lacking = partly_missing(random_episode(E=3, K=3))
    filled = replace(
        lacking,
        support={s: v + 7 * ~lacking.support_present[s][..., None, None] for s, v in lacking.support.items()},
        query={s: v + 7 * ~lacking.query_present[s][..., None, None] for s, v in lacking.query.items()},
    )
    there, back = small_model(name)(lacking), small_model(name)(filled)
    torch.testing.assert_close(there.logits, back.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(there.losses, back.losses, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", MULTI_MODAL)
def test_all_present_is_the_same_as_nothing_said(name):
    episode = random_episode()
    said = without(without(episode, "flow"), "rgb")
    torch.testing.assert_close(small_model(name)(said).logits, small_model(name)(episode).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", MULTI_MODAL)
@pytest.mark.parametrize("cross_entropy", ["branches", "fused", "all"])
def test_nobody_present_gives_even_answers_and_finite_losses_and_gradients(name, cross_entropy):
    model, episode = small_model(name, cross_entropy=cross_entropy, detach_teacher=False), random_episode(E=1)
    shots, queries = [(0, n, k) for n in range(3) for k in range(2)], [(0, q) for q in range(6)]
    for source in SOURCES:
        episode = without(episode, source, shots=shots, queries=queries)
    output = model(episode)
    assert not output.logits.any()
    n_answers = {"branches": len(output.branch_logits), "fused": 1, "all": len(output.branch_logits) + 1}[cross_entropy]
    assert output.losses["cross_entropy_loss"].item() == pytest.approx(n_answers * math.log(3))
    model.total_loss(output).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", MULTI_MODAL)
def test_partly_missing_trains_with_finite_gradients(name):
    model = small_model(name, detach_teacher=False, cross_entropy="all").train()
    output = model(partly_missing(random_episode(E=3)))
    model.total_loss(output).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(gradients) == len(list(model.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", SELECTING)
def test_partly_missing_stays_finite_without_eps(name):
    model = small_model(name, cosine_eps=0.0)
    output = model(partly_missing(random_episode(E=3)))
    model.total_loss(output).backward()
    assert torch.isfinite(output.logits).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("cross_entropy", ["branches", "fused", "all"])
def test_cross_entropy_is_of_the_answers_named(cross_entropy):
    output = small_model(cross_entropy=cross_entropy)(random_episode())
    labels = random_episode().query_labels.flatten()

    def of(logits: Tensor) -> Tensor:
        return -logits.log_softmax(-1).flatten(0, 1)[torch.arange(len(labels)), labels].mean()

    branches = of(output.branch_logits["rgb"]) + of(output.branch_logits["flow"])
    fused = of(output.logits)
    expected = {"branches": branches, "fused": fused, "all": branches + fused}[cross_entropy]
    torch.testing.assert_close(output.losses["cross_entropy_loss"], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SELECTING)
def test_loss_is_that_of_both_branches_and_weighted_distillation(name):
    """METHODS 3: CE(P_r) + CE(P_f) + λ_kd·L_kd is what is trained by default, λ = 1."""
    episode = random_episode()
    for weight, settings in ((1.0, {}), (0.3, {"distill_weight": 0.3})):
        model = small_model(name, branch_temperature=0.1, **settings)
        output = model(episode)
        losses = output.losses
        assert losses["distill_loss"] > 0
        expected = losses["cross_entropy_loss"] + weight * losses["distill_loss"]
        torch.testing.assert_close(model.total_loss(output), expected, atol=1e-6, rtol=1e-6)
        half = losses["cross_entropy_loss"] + 0.5 * weight * losses["distill_loss"]
        torch.testing.assert_close(model.total_loss(output, distill_ramp=0.5), half, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", SELECTING)
@pytest.mark.parametrize("teacher", SOURCES)
@pytest.mark.parametrize("detach", [True, False])
def test_the_teachers_head_learns_nothing_unless_asked(name, teacher, detach):
    model = small_model(name, strategy=f"{teacher}_teaches", detach_teacher=detach)
    model(random_episode()).losses["distill_loss"].backward()

    def learns(modality: str) -> bool:
        return any(p.grad is not None and p.grad.any() for p in model.branches[modality].parameters())

    student = {"rgb": "flow", "flow": "rgb"}[teacher]
    assert learns(student)
    assert learns(teacher) != detach


def test_precision_is_trained_by_the_fused_answer():
    for cross_entropy in ("fused", "all"):
        model = small_model("amfir", learn_precision=True, cross_entropy=cross_entropy, precision=2.0)
        output = model(random_episode())
        precision = model.get_parameter("selection.selection.precision")
        assert precision.item() == 2
        output.losses["distill_loss"].backward(retain_graph=True)
        assert precision.grad is None
        output.losses["cross_entropy_loss"].backward()
        assert precision.grad.abs() > 0


def test_every_setting_reaches_its_part():
    model = small_model(
        "amfir",
        **{"head_size": 4, "otam_temperature": 0.2, "otam_directions": "query_to_support", "cosine_eps": 0.5},
        **{"branch_temperature": 0.25, "temperature": 3.0, "precision": 0.7, "selection_margin": 0.2},
        **{"strategy": "mutual", "detach_teacher": False, "distill_weight": 0.5, "cross_entropy": "all"},
        **{"tcn_dropout": 0.31, "attention_dropout": 0.32, "dropout": 0.33},
    )
    for modality, branch in model.modality_branches.items():
        assert branch.head.project.weight.shape == (4, SIZES[modality])
        assert branch.head.context.blocks[0].dropout.p == 0.31
        layer = branch.head.layer
        assert (layer.attention.n_heads, layer.feed_forward[0].out_features) == (2, 12)
        assert (layer.attention.dropout.p, layer.feed_forward[2].p, layer.feed_forward[4].p) == (0.32, 0.33, 0.33)
        assert (branch.temperature, branch.wants_evidence, branch.sources) == (0.25, True, (modality,))
    assert (model.selection.strategy, model.fusion.temperature) == ("mutual", 3.0)
    assert model.selection.selection.precision.item() == pytest.approx(0.7)
    assert model.selection.selection.margin == 0.2
    assert (model.detach_teacher, model.loss_weights.distill, model.cross_entropy) == (False, 0.5, "all")


def test_settings_of_the_distance_reach_it():
    """One frame, one shot, one direction: the distance is the cosine distance, with this eps, of the tokens."""
    settings = {"otam_directions": "query_to_support", "cosine_eps": 0.5, "branch_temperature": 0.25}
    model, episode = small_model(**settings), random_episode(T=1, K=1)
    videos = episode.query["flow"][0, 0], episode.support["flow"][0, 0, 0]
    x, y = (model.branches["flow"].embed({"flow": video[None]})[0, 0] for video in videos)
    expected = -(1 - (x @ y) / (x.norm() * y.norm() + 0.5)) / 0.25
    torch.testing.assert_close(model(episode).branch_logits["flow"][0, 0, 0], expected, atol=1e-5, rtol=0)
    soft, hard = (small_model(otam_temperature=value)(random_episode()).logits for value in (0.5, 0.05))
    assert not torch.allclose(soft, hard, atol=1e-2)


@pytest.mark.parametrize("distance", ["otam", "prototype", "frame_wise", "bi_mhm"])
def test_each_distance_gives_its_own_answer(distance):
    episode = random_episode()
    logits = {
        name: small_model(distance=name)(episode).logits for name in ("otam", "prototype", "frame_wise", "bi_mhm")
    }
    assert torch.isfinite(logits[distance]).all()
    assert all(not torch.allclose(logits[distance], logits[name], atol=1e-3) for name in logits if name != distance)


def test_tests_of_sample_selection_reach_it():
    for tests in ("both", "absolute", "relative"):
        assert small_model(sample_tests=tests).selection.selection.tests == tests
    assert small_model().selection.strategy == "active"


@pytest.mark.parametrize("name", ["early_concat", "early_attention"])
def test_early_heads_have_the_size_asked_or_that_of_the_first_source(name):
    episode = random_episode()
    for settings, size in (({}, 8), ({"head_size": 4}, 4)):
        branch = small_model(name, **settings).modality_branches["joint"]
        features = {source: episode.query[source][0] for source in SOURCES}
        assert branch.embed(features).shape == (6, 3, size)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("amfur", {}, "unknown multi-modal model 'amfur'"),
        ("amfar", {"modalities": ("rgb", "audio")}, "modalities must be one or both of"),
        ("amfar", {"modalities": ()}, "modalities must be one or both of"),
        ("amfar", {"modalities": ("rgb", "rgb")}, "modalities must be one or both of"),
        ("late_fusion", {"modalities": ("rgb",)}, "late_fusion fuses both modalities.*name amfar"),
        ("early_concat", {"modalities": ("flow",)}, "early_concat fuses both modalities"),
        ("early_attention", {"modalities": ("flow",)}, "early_attention fuses both modalities"),
        ("amfar", {"fusion": "product"}, "fusion must be one of"),
        ("amfar", {"strategy": "all"}, "strategy must be one of"),
        ("amfar", {"sample_tests": "some"}, "tests of sample selection must be one of"),
        ("amfar", {"distance": "dtw"}, "distance must be one of"),
        ("amfar", {"cross_entropy": "none"}, "cross_entropy must be one of"),
        ("amfar", {"learn_precision": True, "cross_entropy": "fused"}, "it needs name amfir"),
        ("amfir", {"learn_precision": True}, "cross_entropy fused or all; got amfir, .*active and branches"),
        ("amfir", {"learn_precision": True, "cross_entropy": "all", "fusion": "sum"}, "fusion active"),
        ("amfar", {"head_size": 5}, "feature size 5 is not divisible by n_heads=2"),
    ],
)
def test_refuses_what_does_not_go_together(name, settings, message):
    with pytest.raises(ValueError, match=message):
        small_model(name, **settings)


def test_refuses_to_learn_a_precision_that_nothing_uses():
    with pytest.raises(ValueError, match="learn_precision"):
        small_model("amfir", learn_precision=True, cross_entropy="fused", modalities=("rgb",))


@pytest.mark.parametrize("name", MULTI_MODAL)
def test_says_which_source_an_episode_lacks(name):
    episode = random_episode()
    rgb = replace(episode, support={"rgb": episode.support["rgb"]}, query={"rgb": episode.query["rgb"]})
    with pytest.raises(ValueError, match=r"expected features of \['flow', 'rgb'\], got \['rgb'\]"):
        small_model(name)(rgb)
