from dataclasses import replace

import pytest
import torch
from method_cases import SIZES, random_episode, without

from mdmf.models.build import build_model
from mdmf.models.method import Method
from mdmf.settings import method_settings
from mdmf.structures import Episode


def zero_shot(**settings) -> Method:
    return build_model(method_settings({"name": "zero_shot", **settings}), feature_sizes=SIZES, logit_scale=10.0)


def test_equals_the_plain_version():
    """The encoder's own scale times the cosine of the mean frame and the class text."""
    episode = random_episode()
    logits = zero_shot(cosine_eps=0.5)(episode).logits
    for e in range(2):
        for q, frames in enumerate(episode.query["rgb"][e]):
            for n, text in enumerate(episode.class_text[e]):
                mean = frames.mean(0)
                expected = 10 * (mean @ text) / (mean.norm() * text.norm() + 0.5)
                torch.testing.assert_close(logits[e, q, n], expected, atol=1e-5, rtol=0)


def test_the_support_changes_nothing_not_even_where_it_is_missing():
    episode, method = random_episode(), zero_shot()
    assert not method.compares_support
    shots = [(e, n, k) for e in range(2) for n in range(3) for k in range(2)]
    expected = method(episode)
    for other in (without(episode, "rgb", shots=shots), replace(episode, support=random_episode(seed=1).support)):
        assert torch.equal(method(other).logits, expected.logits)
    assert (expected.branch_logits, list(expected.certainty)) == ({}, ["all"])


def test_a_query_without_frames_gets_even_logits():
    logits = zero_shot()(without(random_episode(), "rgb", queries=[(0, 1)])).logits
    assert not logits[0, 1].any()
    assert logits[0, 0].any()


def test_needs_text():
    episode = random_episode()
    with pytest.raises(ValueError, match="needs the class text of an episode"):
        zero_shot()(Episode(episode.support, episode.query))
    assert method_settings("zero_shot").reads_text
    assert not method_settings("zero_shot").is_trained
