from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.plain import PlainMultiView
from mdmf.models.multi_view import MultiView, make_multi_view
from mdmf.structures import Episode, EpisodeOutput

SMALL = {"hidden_size": 16, "n_heads": 2, "logit_scale": 10.0}


def random_episode(E=2, N=3, K=2, T=4, D=8, queries_per_class=2, seed=0, n_classes=7) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    Q = N * queries_per_class
    return Episode(
        support={"rgb": torch.randn(E, N, K, T, D, generator=generator) * 3},
        query={"rgb": torch.randn(E, Q, T, D, generator=generator) * 3},
        class_text=torch.randn(E, N, D, generator=generator) * 3,
        query_labels=torch.arange(N).repeat_interleave(queries_per_class).expand(E, Q),
        class_ids=torch.stack([torch.randperm(n_classes, generator=generator)[:N] for _ in range(E)]),
        query_draws=torch.rand(E, Q, generator=generator),
    )


def small_model(seed=0, **settings) -> MultiView:
    torch.manual_seed(seed)
    model = make_multi_view(8, **SMALL, **settings).eval()
    model.video_text.set_classes(torch.randn(7, 8, generator=torch.Generator().manual_seed(1)))
    return model


def permute_classes(episode: Episode, order: list[int]) -> Episode:
    inverse = torch.tensor(order).argsort()
    return replace(
        episode,
        support={"rgb": episode.support["rgb"][:, order]},
        class_text=episode.class_text[:, order],
        query_labels=inverse[episode.query_labels],
        class_ids=episode.class_ids[:, order],
    )


def assert_equals_plain(model: MultiView, episode: Episode, *, tolerance: float = 1e-5) -> None:
    """Answers, losses and gradients of a batch against the plain version, one episode at a time, in float64.

    In float64, because a query at which the two views tie to the last bit of a float32 may be taught by either.
    """
    model, episode = model.double(), in_double(episode)
    plain = PlainMultiView(model)
    output = model(episode)
    model.total_loss(output).backward()
    ours = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    E, total = len(episode.class_text), 0.0
    losses: dict[str, float] = dict.fromkeys(output.losses, 0.0)
    for e in range(E):
        answer = plain.answer(
            episode.support["rgb"][e],
            episode.query["rgb"][e],
            episode.class_text[e],
            labels=episode.query_labels[e],
            class_ids=episode.class_ids[e],
            draws=episode.query_draws[e],
        )
        total = total + plain.total_loss(answer) / E
        losses = {name: value + answer.losses[name].item() / E for name, value in losses.items()}
        torch.testing.assert_close(output.logits[e], answer.logits, atol=tolerance, rtol=tolerance)
        for view, logits in answer.view_logits.items():
            torch.testing.assert_close(output.branch_logits[view][e], logits, atol=tolerance, rtol=tolerance)
    for name, expected in losses.items():
        assert output.losses[name].item() == pytest.approx(expected, rel=tolerance, abs=tolerance), name
    total.backward()
    for name, weight in model.named_parameters():
        scale = max(1.0, weight.grad.abs().max().item())
        torch.testing.assert_close(ours[name] / scale, weight.grad / scale, atol=tolerance, rtol=0, msg=name)


def in_double(episode: Episode) -> Episode:
    return replace(
        episode,
        support={"rgb": episode.support["rgb"].double()},
        query={"rgb": episode.query["rgb"].double()},
        class_text=episode.class_text.double(),
        query_draws=episode.query_draws.double(),
    )


@settings(max_examples=8, deadline=None)
@given(
    N=st.integers(2, 24),
    K=st.integers(1, 10),
    T=st.integers(1, 32),
    temperature=st.floats(0.05, 2),
    queries_per_class=st.integers(1, 3),
    training=st.booleans(),
    seed=st.integers(0, 1000),
)
@example(N=2, K=1, T=1, temperature=0.05, queries_per_class=1, training=False, seed=0)
@example(N=24, K=10, T=3, temperature=0.5, queries_per_class=1, training=True, seed=1)
@example(N=2, K=1, T=32, temperature=0.05, queries_per_class=1, training=True, seed=2)
def test_equals_the_plain_version_in_answers_losses_and_gradients(
    N, K, T, temperature, queries_per_class, training, seed
):
    """Sampled prompts in training, the likeliest in evaluation; no dropout, which is another draw in each."""
    N, E = min(N, max(2, 120 // T)), 2 if N * K * T < 100 else 1  # what the plain version can do in a second
    no_dropout = {"attention_dropout": 0.0, "dropout": 0.0, "tcn_dropout": 0.0}
    model = small_model(seed, otam_temperature=temperature, **no_dropout).train(training)
    model.video_text.set_classes(torch.randn(30, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    episode = random_episode(E, N, K, T, queries_per_class=queries_per_class, seed=seed, n_classes=30)
    assert_equals_plain(model, episode)


def test_equals_the_plain_version_in_float32():
    model, episode = small_model(), random_episode(N=4, K=2, T=6)
    output, plain = model(episode), PlainMultiView(model)
    for e in range(2):
        one = plain.answer(episode.support["rgb"][e], episode.query["rgb"][e], episode.class_text[e])
        torch.testing.assert_close(output.logits[e], one.logits, atol=1e-5, rtol=1e-5)


def test_a_batch_equals_its_episodes_one_by_one():
    model, episode = small_model(selector_test="sample"), random_episode(E=3)
    whole = model(episode)
    for e in range(3):
        one = slice(e, e + 1)
        single = model(
            Episode(
                {"rgb": episode.support["rgb"][one]},
                {"rgb": episode.query["rgb"][one]},
                episode.class_text[one],
                episode.query_labels[one],
                episode.class_ids[one],
                episode.query_draws[one],
            )
        )
        torch.testing.assert_close(single.logits, whole.logits[one], atol=1e-4, rtol=1e-5)
        assert torch.equal(single.teacher, whole.teacher[one])


def test_swapping_classes_swaps_logits_and_changes_no_loss():
    model, episode, order = small_model(), random_episode(), [2, 0, 1]
    there, back = model(episode), model(permute_classes(episode, order))
    torch.testing.assert_close(back.logits, there.logits[..., order], atol=1e-4, rtol=1e-5)
    assert set(there.losses) == {"distill_loss", "cross_entropy_loss", "video_text_loss"}
    for name, loss in there.losses.items():
        torch.testing.assert_close(back.losses[name], loss, atol=1e-4, rtol=1e-4)


def test_order_of_shots_and_queries_does_not_matter():
    model, episode = small_model(), random_episode()
    turned = replace(
        episode,
        support={"rgb": episode.support["rgb"].flip(2)},
        query={"rgb": episode.query["rgb"].flip(1)},
        query_labels=episode.query_labels.flip(1),
    )
    torch.testing.assert_close(model(turned).logits.flip(1), model(episode).logits, atol=1e-4, rtol=1e-5)


def test_labels_change_no_answer():
    model, episode = small_model(), random_episode()
    blind = replace(episode, query_labels=None, class_ids=None)
    torch.testing.assert_close(model(blind).logits, model(episode).logits, atol=0, rtol=0)
    assert set(model(blind).losses) == {"distill_loss"}


def test_evaluation_has_no_randomness_and_training_has():
    model, episode = small_model(), random_episode()
    torch.testing.assert_close(model(episode).logits, model(episode).logits, atol=0, rtol=0)
    model.train()
    assert not torch.equal(model(episode).logits, model(episode).logits)


def test_one_view_has_nobody_to_teach():
    output = small_model(views=("local",))(random_episode())
    assert output.teacher is None
    assert output.losses["distill_loss"].item() == 0
    torch.testing.assert_close(output.logits, output.branch_logits["local"], atol=0, rtol=0)


@pytest.mark.parametrize("direction", ["local_to_global", "global_to_local"])
def test_one_direction_teaches_one_view(direction):
    model = small_model(direction=direction, condition="none")
    teacher, student = direction.split("_to_")
    model(random_episode()).losses["distill_loss"].backward()

    def learns(view: str) -> bool:
        return any(p.grad is not None and p.grad.any() for p in model.branches[view].parameters())

    assert learns(student)
    assert not learns(teacher)


def test_order_of_views_is_no_setting():
    there, back = (small_model(views=views)(random_episode()) for views in (("local", "global"), ("global", "local")))
    assert list(back.branch_logits) == ["local", "global"]
    assert torch.equal(there.teacher, back.teacher)


def test_one_direction_names_the_view_that_teaches():
    output = small_model(direction="global_to_local", condition="visual")(random_episode(E=8))
    assert set(output.teacher.unique().tolist()) == {-1, 1}


def test_directions_add_up_to_both():
    parts = [
        small_model(direction=direction)(random_episode()).losses["distill_loss"]
        for direction in ("local_to_global", "global_to_local", "both")
    ]
    torch.testing.assert_close(parts[0] + parts[1], parts[2], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cross_entropy", ["fused", "branches", "all"])
def test_cross_entropy_is_of_the_answers_named(cross_entropy):
    episode = random_episode()
    output = small_model(cross_entropy=cross_entropy)(episode)

    def of(logits: torch.Tensor) -> torch.Tensor:
        return -logits.log_softmax(-1).gather(-1, episode.query_labels[..., None]).mean()

    branches = of(output.branch_logits["local"]) + of(output.branch_logits["global"])
    expected = {"fused": of(output.logits), "branches": branches, "all": of(output.logits) + branches}[cross_entropy]
    torch.testing.assert_close(output.losses["cross_entropy_loss"], expected, atol=1e-5, rtol=1e-5)


def test_the_views_have_fixed_weights_and_so_no_shares():
    assert small_model()(random_episode()).fusion_weight == {}


@pytest.mark.parametrize("ways_to_distill", [0, 1])
def test_total_loss_weighs_each_part(ways_to_distill):
    model = small_model(distill_weight=2.0, video_text_weight=0.25, distill_per_query=bool(ways_to_distill))
    output = model(random_episode())
    losses = output.losses
    divisor = 6 if ways_to_distill else 1  # Q = 6 queries
    expected = (
        losses["cross_entropy_loss"] + 0.5 * 2.0 / divisor * losses["distill_loss"] + 0.25 * losses["video_text_loss"]
    )
    torch.testing.assert_close(model.total_loss(output, distill_ramp=0.5), expected, atol=1e-6, rtol=1e-6)


def test_input_video_text_trains_nothing_but_its_scale():
    model = small_model(video_text_input="input")
    model(random_episode()).losses["video_text_loss"].backward()
    moved = [
        name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()
    ]
    assert moved == ["video_text.scale"]


def test_prompt_matters_to_both_views():
    model, episode = small_model(), random_episode()
    other = replace(episode, class_text=episode.class_text.flip(1))
    for view in ("local", "global"):
        assert not torch.allclose(model(other).branch_logits[view], model(episode).branch_logits[view], atol=1e-3)


def test_output_says_who_taught():
    output: EpisodeOutput = small_model()(random_episode(E=8))
    visual = {view: logits.softmax(-1).amax(-1) for view, logits in output.branch_logits.items()}
    assert set(output.teacher.unique().tolist()) <= {-1, 0, 1}
    assert (visual["local"] >= visual["global"])[output.teacher == 0].all()
    assert (visual["local"] < visual["global"])[output.teacher == 1].all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": ("near",)}, "views must be one or both"),
        ({"views": ("local", "local")}, "views must be one or both"),
        ({"condition": "all"}, "condition must be one of"),
        ({"direction": "up"}, "direction must be one of"),
        ({"certainty_token": "last"}, "certainty_token must be one of"),
        ({"video_text_input": "both"}, "video-text input must be one of"),
        ({"cross_entropy": "views"}, "cross_entropy must be one of"),
    ],
)
def test_refuses_unknown_parts(settings, message):
    with pytest.raises(ValueError, match=message):
        small_model(**settings)


def test_says_what_an_episode_lacks():
    with pytest.raises(ValueError, match="needs the class text"):
        small_model()(replace(random_episode(), class_text=None))
    flow = random_episode()
    with pytest.raises(ValueError, match="expected features of source 'rgb'"):
        small_model()(replace(flow, support={"flow": flow.support["rgb"]}, query={"flow": flow.query["rgb"]}))
