import math

import pytest
import torch
from torch import nn

from mdmf.models.text_at_test import TextAtTest, combine_with_text, text_model, text_settings
from mdmf.settings import method_settings
from mdmf.structures import Episode, EpisodeOutput


def test_combination_by_hand():
    """p ∝ p_text^a · p_visual^(1-a) with a = 0.25."""
    visual, text = torch.tensor([0.8, 0.2]), torch.tensor([0.3, 0.7])
    got = combine_with_text(visual.log() + 3, text.log() - 1, 0.25).softmax(-1)
    weights = [0.3**0.25 * 0.8**0.75, 0.7**0.25 * 0.2**0.75]
    torch.testing.assert_close(got, torch.tensor([weight / sum(weights) for weight in weights]), atol=1e-6, rtol=0)


class Constant(nn.Module):
    def forward(self, episode: Episode) -> EpisodeOutput:
        return EpisodeOutput(logits=torch.tensor([[[0.0, math.log(4)]]]))


def episode() -> Episode:
    support, query = torch.eye(2)[None, :, None, None], torch.eye(2)[:1][None, :, None]
    return Episode({"rgb": support}, {"rgb": query}, torch.eye(2)[None])


def text_answer(**settings) -> nn.Module:
    return text_model(method_settings({"name": "otam", **settings}), logit_scale=10.0, feature_size=2)


def test_ends_are_text_alone_and_visual_alone():
    visual_only = TextAtTest(Constant(), text_answer(), weight=0).eval()(episode())
    text_only = TextAtTest(Constant(), text_answer(), weight=1).eval()(episode())
    assert visual_only.logits.argmax().item() == 1
    assert text_only.logits.argmax().item() == 0


def test_training_sees_the_model_alone():
    model = TextAtTest(Constant(), text_answer(), weight=1).train()
    assert model(episode()).logits.argmax().item() == 1


def test_refuses_a_weight_that_is_no_share():
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.1"):
        TextAtTest(Constant(), text_answer(), weight=1.1)


def test_the_texts_own_answer_measures_cosines_as_the_method_does():
    for values in ({"name": "amfar", "cosine_eps": 0.5}, {"name": "late_otam", "cosine_eps": 0.5}):
        assert text_settings(method_settings(values)).cosine_eps == 0.5
    assert text_settings(method_settings("amfar")).cosine_eps == 0.01
    (branch,) = text_answer(cosine_eps=0.5).branches.values()
    assert (branch.eps, branch.logit_scale) == (0.5, 10.0)
