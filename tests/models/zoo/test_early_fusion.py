from dataclasses import replace

import pytest
import torch
from method_cases import EARLY_FUSIONS, SIZES, random_episode, small_method, without

from mdmf.models.build import build_model
from mdmf.models.zoo.early_fusion import CoAttention, Concatenation
from mdmf.settings import method_settings

SOURCES = ("rgb", "flow")

EQUAL = {"rgb": 8, "flow": 8}


@pytest.mark.parametrize("name", EARLY_FUSIONS)
def test_one_branch_uses_both_sources(name):
    model, episode = small_method(name), random_episode()
    there = model(episode)
    assert list(there.branch_logits) == ["joint"]
    torch.testing.assert_close(there.logits, there.branch_logits["joint"], atol=0, rtol=0)
    for source in SOURCES:
        for part in ("support", "query"):
            values = {**getattr(episode, part), source: getattr(episode, part)[source].roll(1, dims=1)}
            assert not torch.allclose(model(replace(episode, **{part: values})).logits, there.logits, atol=1e-4)
    model.total_loss(there).backward()
    assert all(parameter.grad.any() for parameter in list(model.branch("joint").parameters())[:2])


@pytest.mark.parametrize("of", [{}, {"of": "otam"}], ids=["head", "of otam"])
@pytest.mark.parametrize("name", EARLY_FUSIONS)
def test_answers_a_query_that_has_one_source(name, of):
    model, episode = _method(name, **of), random_episode(sizes=EQUAL)
    output = model(without(episode, "flow", queries=[(0, 1)]))
    assert output.logits[0, 1].std() > 0
    zeros = replace(episode, query=without(episode, "flow", queries=[(0, 1)]).query)
    torch.testing.assert_close(output.logits, model(zeros).logits, atol=1e-6, rtol=0)
    neither = without(without(episode, "flow", queries=[(0, 1)]), "rgb", queries=[(0, 1)])
    assert not model(neither).logits[0, 1].any()


def _method(name: str, **settings):
    if "of" in settings:
        torch.manual_seed(0)
        return build_model(method_settings({"name": name, **settings}), feature_sizes=EQUAL).eval()
    return small_method(name, sizes=EQUAL, **settings)


@pytest.mark.parametrize("name", EARLY_FUSIONS)
def test_tokens_have_the_size_asked_or_that_of_the_first_source(name):
    episode = random_episode()
    for settings, size in (({}, 8), ({"head_size": 4}, 4)):
        branch = small_method(name, **settings).branch("joint")
        features = {source: episode.query[source][0] for source in SOURCES}
        assert branch.embed(features)["frames"].shape == (6, 3, size)


def test_concatenation_puts_frames_side_by_side():
    x, y = torch.ones(2, 3, 4), torch.zeros(2, 3, 5)
    assert torch.equal(Concatenation()(x, y), torch.cat([x, y], dim=-1))


def test_co_attention_by_hand():
    """One frame of each of two sources: each adds the value of the other's only frame."""
    join = CoAttention(2, 2)
    with torch.no_grad():
        join.v[0].weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        join.v[1].weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    joined = join(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[5.0, 7.0]]]))
    torch.testing.assert_close(joined, torch.tensor([[[1.0 + 7, 3.0 + 5, 5.0 + 2, 7.0 + 3]]]), atol=1e-6, rtol=0)


def test_of_three_sources_each_looks_at_the_frames_of_both_others():
    torch.manual_seed(0)
    join, frames = CoAttention(4, 3), [torch.randn(1, 2, 4) for _ in range(3)]
    joined = join(*frames)
    for source in range(3):
        others = [other for other in range(3) if other != source]
        keys = torch.cat([join.k[other](frames[other]) for other in others], dim=1)[0]
        values = torch.cat([join.v[other](frames[other]) for other in others], dim=1)[0]
        for t in range(2):
            scores = torch.stack([join.q[source](frames[source])[0, t] @ key / 2 for key in keys])
            expected = frames[source][0, t] + scores.softmax(0) @ values
            torch.testing.assert_close(joined[0, t, 4 * source : 4 * source + 4], expected, atol=1e-6, rtol=0)


def test_co_attention_is_trained_whatever_it_wraps():
    concat, attention = (method_settings({"name": name, "of": "otam"}) for name in ("early_concat", "early_attention"))
    assert (concat.is_trained, attention.is_trained) == (False, True)
    assert (concat.table_name, attention.table_name) == ("concat_otam", "attention_otam")
    assert build_model(attention, feature_sizes=EQUAL).has_weights


def test_refuses_sources_that_do_not_go_together():
    def build(sizes, **settings):
        return build_model(method_settings({"name": "early_attention", **settings}), feature_sizes=sizes)

    with pytest.raises(
        ValueError, match=r"co-attention needs sources of one feature size, got \{'rgb': 8, 'flow': 6\}"
    ):
        build(SIZES, of="otam")
    with pytest.raises(ValueError, match=r"joins two sources, got \['rgb', 'flow', 'depth'\]; or give `of`"):
        build({**EQUAL, "depth": 8}, sources=["rgb", "flow", "depth"])
    for settings in ({}, {"of": "otam"}):
        with pytest.raises(ValueError, match=r"early_attention joins .* sources, got \['rgb'\]"):
            build(EQUAL, sources=["rgb"], **settings)
