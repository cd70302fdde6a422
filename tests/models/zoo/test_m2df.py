import math
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from method_cases import N_TRAINING_CLASSES, mapped, random_episode, single, small_method, with_classes_in_order

from benchmarks.plain import PlainM2df
from mdmf.models.build import build_model
from mdmf.models.zoo.m2df import PRESETS, M2df, VideoText, ViewBranch, mean_of_top_frames
from mdmf.settings import method_settings
from mdmf.structures import Episode

RGB = {"rgb": 8}


def rgb_episode(E=2, N=3, K=2, T=4, **more) -> Episode:
    return random_episode(E, N, K, T, sizes=RGB, **more)


def small_m2df(seed: int = 0, **model_settings) -> M2df:
    return small_method("m2df", sizes=RGB, seed=seed, **model_settings)


def assert_equals_plain(model: M2df, episode: Episode, *, tolerance: float = 1e-5) -> None:
    """Answers, losses and gradients of a batch against the plain version, one episode at a time, in float64.

    In float64, because a query at which the two views tie to the last bit of a float32 may be taught by either.
    """
    model, episode = model.double(), in_double(episode)
    plain = PlainM2df(model)
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


@settings(max_examples=4, deadline=None)
@given(
    N=st.integers(2, 24),
    K=st.integers(1, 10),
    T=st.integers(1, 12),
    temperature=st.floats(0.05, 2),
    queries_per_class=st.integers(1, 3),
    training=st.booleans(),
    seed=st.integers(0, 1000),
)
@example(N=2, K=1, T=1, temperature=0.05, queries_per_class=1, training=False, seed=0)
@example(N=24, K=10, T=3, temperature=0.5, queries_per_class=1, training=True, seed=1)
@example(N=2, K=1, T=20, temperature=0.05, queries_per_class=1, training=True, seed=2)
def test_equals_the_plain_version_in_answers_losses_and_gradients(
    N, K, T, temperature, queries_per_class, training, seed
):
    """Sampled prompts in training, the likeliest in evaluation; no dropout, which is another draw in each."""
    N, E = min(N, max(2, 120 // T)), 2 if N * K * T < 100 else 1  # what the plain version can do in a second
    no_dropout = {"attention_dropout": 0.0, "dropout": 0.0, "tcn_dropout": 0.0}
    model = small_m2df(seed, otam_temperature=temperature, **no_dropout).train(training)
    generator = torch.Generator().manual_seed(seed)
    model.set_training_classes(torch.randn(30, 8, generator=generator, dtype=torch.float64))
    episode = rgb_episode(E, N, K, T, queries_per_class=queries_per_class, seed=seed, n_classes=30)
    assert_equals_plain(model, episode)


def test_equals_the_plain_version_in_float32():
    model, episode = small_m2df(), rgb_episode(N=4, K=2, T=6)
    output, plain = model(episode), PlainM2df(model)
    for e in range(2):
        one = plain.answer(episode.support["rgb"][e], episode.query["rgb"][e], episode.class_text[e])
        torch.testing.assert_close(output.logits[e], one.logits, atol=1e-5, rtol=1e-5)


def test_sampled_prompts_do_not_depend_on_the_batch():
    model, episode = small_m2df(selector_test="sample"), rgb_episode(E=3)
    whole = model(episode)
    for e in range(3):
        one = model(single(episode, e))
        torch.testing.assert_close(one.logits, whole.logits[e : e + 1], atol=1e-4, rtol=1e-5)
        assert torch.equal(one.teacher, whole.teacher[e : e + 1])


def test_swapping_classes_or_shots_changes_no_loss():
    model, episode = small_m2df(), rgb_episode()
    there = model(episode)
    assert set(there.losses) == {"distill_loss", "cross_entropy_loss", "video_text_loss"}
    for turned in (with_classes_in_order(episode, [2, 0, 1]), mapped(episode, support=lambda value: value.flip(2))):
        torch.testing.assert_close(model(turned).losses, there.losses, atol=1e-4, rtol=1e-4)


def test_labels_change_no_answer_and_give_the_losses_that_need_them():
    model, episode = small_m2df(), rgb_episode()
    assert set(model(replace(episode, query_labels=None, class_ids=None)).losses) == {"distill_loss"}
    assert set(model(replace(episode, class_ids=None)).losses) == {"distill_loss", "cross_entropy_loss"}


def test_one_view_has_nobody_to_teach():
    output = small_m2df(views=["local"])(rgb_episode())
    assert output.teacher is None
    assert output.losses["distill_loss"].item() == 0
    torch.testing.assert_close(output.logits, output.branch_logits["local"], atol=0, rtol=0)


@pytest.mark.parametrize("direction", ["local_to_global", "global_to_local"])
def test_one_direction_teaches_one_view(direction):
    model = small_m2df(direction=direction, condition="none")
    teacher, student = direction.split("_to_")
    model(rgb_episode()).losses["distill_loss"].backward()

    def learns(view: str) -> bool:
        return any(p.grad is not None and p.grad.any() for p in model.branch(view).parameters())

    assert learns(student)
    assert not learns(teacher)


def test_order_of_views_is_no_setting():
    there, back = (small_m2df(views=views)(rgb_episode()) for views in (["local", "global"], ["global", "local"]))
    assert list(back.branch_logits) == ["local", "global"]
    assert torch.equal(there.teacher, back.teacher)


def test_one_direction_names_the_view_that_teaches():
    output = small_m2df(direction="global_to_local", condition="visual")(rgb_episode(E=8))
    assert set(output.teacher.unique().tolist()) == {-1, 1}


def test_directions_add_up_to_both():
    parts = [
        small_m2df(direction=direction)(rgb_episode()).losses["distill_loss"]
        for direction in ("local_to_global", "global_to_local", "both")
    ]
    torch.testing.assert_close(parts[0] + parts[1], parts[2], atol=1e-6, rtol=1e-5)


def test_the_views_have_fixed_weights_and_so_no_shares():
    output = small_m2df(alphas={"local": 0.25}, temperature=2.0)(rgb_episode())
    assert output.fusion_weight == {}
    expected = (0.25 * output.branch_logits["local"] + output.branch_logits["global"]) / 2
    torch.testing.assert_close(output.logits, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("per_query", [False, True])
def test_total_loss_weighs_each_part(per_query):
    model = small_m2df(distill_weight=2.0, video_text_weight=0.25, distill_per_query=per_query)
    output = model(rgb_episode())
    losses = output.losses
    divisor = 6 if per_query else 1  # Q = 6 queries
    expected = (
        losses["cross_entropy_loss"] + 0.5 * 2.0 / divisor * losses["distill_loss"] + 0.25 * losses["video_text_loss"]
    )
    torch.testing.assert_close(model.total_loss(output, distill_ramp=0.5), expected, atol=1e-6, rtol=1e-6)


def test_input_video_text_trains_nothing_but_its_scale():
    model = small_m2df(video_text_input="input")
    model(rgb_episode()).losses["video_text_loss"].backward()
    moved = [
        name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()
    ]
    assert moved == ["video_text.scale"]


def test_prompt_matters_to_both_views():
    model, episode = small_m2df(), rgb_episode()
    other = replace(episode, class_text=episode.class_text.flip(1))
    for view in ("local", "global"):
        assert not torch.allclose(model(other).branch_logits[view], model(episode).branch_logits[view], atol=1e-3)


def test_output_says_who_taught():
    output = small_m2df()(rgb_episode(E=8))
    visual = {view: logits.softmax(-1).amax(-1) for view, logits in output.branch_logits.items()}
    assert set(output.teacher.unique().tolist()) <= {-1, 0, 1}
    assert (visual["local"] >= visual["global"])[output.teacher == 0].all()
    assert (visual["local"] < visual["global"])[output.teacher == 1].all()


@pytest.mark.parametrize("token", ["prompt", "first_frame"])
def test_a_view_embeds_frames_and_the_token_of_the_text_certainty(token):
    """Of the fused prompt and frames; a video with several prompts has its context computed once."""
    branch = small_m2df(certainty_token=token).branch("global")
    generator = torch.Generator().manual_seed(0)
    frames, prompts = torch.randn(2, 4, 8, generator=generator), torch.randn(3, 8, generator=generator)
    place = torch.tensor([0, 0, 1])
    tokens = branch.embed({"rgb": frames[place]}, prompts)
    fused = branch.fusion(prompts, branch.context(frames[place]), frames[place])
    assert torch.equal(tokens["frames"], fused[:, 1:])
    assert torch.equal(tokens["text"], fused[:, 0 if token == "prompt" else 1])
    torch.testing.assert_close(branch.embed_prompted({"rgb": frames}, prompts, place), tokens, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="embeds videos with their prompts, got none"):
        branch.embed({"rgb": frames})


def test_another_source_than_the_frames_may_be_looked_at():
    model = build_model(
        method_settings({"name": "m2df", "source": "flow", "hidden_size": 16, "n_heads": 2}), feature_sizes={"flow": 8}
    )
    episode = rgb_episode()
    flow = replace(episode, support={"flow": episode.support["rgb"]}, query={"flow": episode.query["rgb"]})
    assert model.eval()(flow).logits.shape == (2, 6, 3)
    with pytest.raises(ValueError, match=r"expected features of \['flow'\], got \['rgb'\]"):
        model(episode)


def test_every_setting_reaches_its_part():
    given = {
        **{"views": ["global", "local"], "alphas": {"local": 0.5}, "temperature": 2.0, "selector_train": "expect"},
        **{"selector_test": "off", "top_k": 2, "selector_scale": 50.0, "otam_temperature": 0.1, "depth": 2},
        **{"otam_directions": "query_to_support", "cosine_eps": 0.0, "certainty_token": "first_frame"},
        **{"condition": "text", "direction": "local_to_global", "detach_teacher": False, "distill_weight": 3.0},
        **{"distill_per_query": True, "video_text_weight": 0.1, "video_text_input": "input", "video_text_scale": 7.0},
        **{"n_heads": 2, "hidden_size": 24, "attention_dropout": 0.3, "dropout": 0.4, "tcn_dropout": 0.6},
        **{"cross_entropy": "all", "source": "flow"},
    }
    every = method_settings({"name": "m2df", **given})
    assert set(given) | {"name", "preset", "text_weight"} == set(type(every).model_fields)
    model = build_model(every, feature_sizes={"flow": 16}, logit_scale=99.0)
    assert isinstance(model, M2df)
    assert (list(model.branches), model.sources) == (["local", "global"], ("flow",))
    assert (model.fusion.weights, model.fusion.temperature) == ({"local": 0.5, "global": 1.0}, 2.0)
    selector = model.selector
    assert (selector.train_mode, selector.test_mode, selector.top_k, selector.scale) == ("expect", "off", 2, 50.0)
    local = model.branch("local")
    distance = local.distance
    assert (distance.name, distance.otam_temperature, distance.eps) == ("otam", 0.1, 0.0)
    assert (distance.otam_directions, local.certainty_token) == ("query_to_support", "first_frame")
    assert len(local.fusion.layers) == 2
    layer = local.fusion.layers[0]
    assert (layer.attention.n_heads, layer.feed_forward[0].out_features) == (2, 24)
    assert (layer.attention.dropout.p, layer.feed_forward[2].p, layer.feed_forward[4].p) == (0.3, 0.4, 0.4)
    assert model.branch("global").context.blocks[0].dropout.p == 0.6
    assert (model.selection.condition, model.selection.direction) == ("text", "local_to_global")
    assert (model.detach_teacher, model.cross_entropy) == (False, "all")
    weights = model.loss_weights
    assert (weights.distill, weights.video_text, weights.distill_per_query) == (3.0, 0.1, True)
    assert (model.video_text.source, model.video_text.scale.item()) == ("input", 7.0)


@pytest.mark.parametrize(
    ("model_settings", "message"),
    [
        ({"views": ["near"]}, "Input should be 'local' or 'global'"),
        ({"views": ["local", "local"]}, "views must be different"),
        ({"views": []}, "at least 1 item"),
        ({"condition": "all"}, "Input should be 'both', 'visual', 'text' or 'none'"),
        ({"direction": "up"}, "Input should be 'both', 'local_to_global' or 'global_to_local'"),
        ({"certainty_token": "last"}, "Input should be 'prompt' or 'first_frame'"),
        ({"video_text_input": "both"}, "Input should be 'fused' or 'input'"),
        ({"cross_entropy": "views"}, "Input should be 'fused', 'branches' or 'all'"),
        ({"selector_test": "best"}, "Input should be 'sample', 'argmax', 'expect' or 'off'"),
    ],
)
def test_refuses_unknown_choices(model_settings, message):
    with pytest.raises(ValueError, match=message):
        method_settings({"name": "m2df", **model_settings})


class TestPresets:
    def test_they_are_what_paper_and_code_say(self):
        def build(preset: str) -> M2df:
            return build_model(
                method_settings({"name": "m2df", "preset": preset}), feature_sizes={"rgb": 16}, logit_scale=42.0
            )

        released = build("released")
        assert released.video_text.scale.item() == 1.0
        assert released.loss_weights.video_text == 0
        assert build("paper").video_text.scale.item() == 42.0  # the encoder's own

    def test_the_default_is_the_paper(self):
        for key, value in PRESETS["paper"]["model"].items():
            assert getattr(method_settings("m2df"), key) == value, key

    def test_what_is_given_wins_over_the_preset(self):
        given = method_settings({"name": "m2df", "preset": "released", "condition": "visual"})
        assert (given.condition, given.direction) == ("visual", "global_to_local")


class TestVideoText:
    def test_top_frames_by_hand(self):
        frames = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.3], [-1.0, 0.0]])
        chosen = mean_of_top_frames(frames, torch.tensor([2.0, 0.0]), top_k=2, eps=0.0)
        torch.testing.assert_close(chosen, torch.tensor([2.0, 0.15]), atol=1e-6, rtol=0)
        everything = mean_of_top_frames(frames, torch.tensor([2.0, 0.0]), top_k=9)
        torch.testing.assert_close(everything, frames.mean(0), atol=1e-6, rtol=0)

    def test_loss_by_hand(self):
        """One video along the first of two texts: cosines 1 and 0, scale 2."""
        video_text = VideoText(scale=2.0, eps=0.0)
        video_text.set_classes(torch.tensor([[3.0, 0.0], [0.0, 5.0]]))
        video = torch.tensor([[[0.5, 0.0]]])
        torch.testing.assert_close(video_text(video), torch.tensor([[[2.0, 0.0]]]), atol=1e-6, rtol=0)
        expected = math.log(1 + math.exp(-2))
        assert video_text.loss(video, torch.tensor([[0]])).item() == pytest.approx(expected, abs=1e-6)
        assert video_text.loss(video, torch.tensor([[1]])).item() == pytest.approx(expected + 2, abs=1e-6)

    def test_class_text_is_no_part_of_a_checkpoint(self):
        video_text = VideoText(scale=2.0)
        video_text.set_classes(torch.zeros(24, 4))
        assert list(video_text.state_dict()) == ["scale"]

    def test_says_that_classes_are_missing(self):
        with pytest.raises(ValueError, match="call set_classes first"):
            VideoText(scale=1.0)(torch.zeros(1, 4))
        with pytest.raises(ValueError, match="must be one of"):
            VideoText(source="frames", scale=1.0)

    def test_without_training_classes_there_is_no_such_loss(self):
        model = small_m2df()
        assert model.video_text.all_class_text.shape == (N_TRAINING_CLASSES, 8)
        model.set_training_classes(None)
        assert "video_text_loss" not in model(rgb_episode()).losses

    def test_input_videos_need_class_text(self):
        model, episode = small_m2df(video_text_input="input"), rgb_episode()
        silent = replace(episode, class_text=None)
        with pytest.raises(ValueError, match="needs the class text"):
            model(silent)


def test_a_view_refuses_an_unknown_token():
    with pytest.raises(ValueError, match="certainty_token must be one of"):
        ViewBranch(torch.nn.Identity(), torch.nn.Identity(), source="rgb", distance=None, certainty_token="last")
