from dataclasses import replace

import pytest
import torch
from small_world import D, MemoryStore, small_bank, small_sampler

from mdmf.config import ModelSettings
from mdmf.engine.fusion_cache import FusionCache, answerer
from mdmf.models.baselines import ZeroShotBaseline
from mdmf.models.build import build_model
from mdmf.models.text_at_test import TextAtTest


def small_model(**settings):
    torch.manual_seed(0)
    settings = ModelSettings(hidden_size=16, n_heads=2, **settings)
    return build_model(settings, feature_sizes={"rgb": D}, logit_scale=10.0).eval()


@pytest.mark.parametrize("selector", ["argmax", "sample", "off", "expect"])
@pytest.mark.parametrize("max_bytes", [2**30, 20_000, 1])
def test_answers_are_those_of_the_model(selector, max_bytes, monkeypatch):
    """With room for everything, for a part, and for nothing; the same answers batch after batch."""
    monkeypatch.setattr(FusionCache.__init__, "__kwdefaults__", {"max_bytes": max_bytes})
    store, model = MemoryStore(), small_model(selector_test=selector)
    bank, sampler = small_bank(store), small_sampler(store, split="test")
    answer = answerer(model, bank)
    with torch.inference_mode():
        for start in (0, 5, 10):
            rows = sampler.batch(start, 5)
            blind = replace(bank.episode(rows), query_labels=None, class_ids=None)
            cached, plain = answer(blind, rows), model(blind)
            torch.testing.assert_close(cached.logits, plain.logits, atol=1e-5, rtol=1e-5)
            assert torch.equal(cached.teacher, plain.teacher)
            for view in ("local", "global"):
                torch.testing.assert_close(cached.certainty[view], plain.certainty[view], atol=1e-5, rtol=0)


def test_each_pair_is_fused_once(monkeypatch):
    store, model = MemoryStore(), small_model()
    bank, sampler = small_bank(store), small_sampler(store, split="test")
    fused = []
    branch = model.branches["local"]
    plain_fuse = branch.fuse
    monkeypatch.setattr(
        branch, "fuse", lambda features, prompt: fused.append(len(prompt)) or plain_fuse(features, prompt)
    )
    answer = answerer(model, bank)
    with torch.inference_mode():
        for start in range(0, 600, 50):
            rows = sampler.batch(start, 50)
            answer(bank.episode(rows), rows)
    n_asked = 600 * (3 + 6)
    assert sum(fused) <= 48 * 6 < n_asked / 10
    assert fused[-1] < fused[0]


def test_text_at_test_is_combined_with_the_cached_answer():
    store, model = MemoryStore(), small_model()
    bank, sampler = small_bank(store), small_sampler(store, split="test")
    wrapped = TextAtTest(model, ZeroShotBaseline(logit_scale=10.0), weight=0.4).eval()
    rows = sampler.batch(0, 4)
    episode = bank.episode(rows)
    with torch.inference_mode():
        cached, plain = answerer(wrapped, bank)(episode, rows).logits, wrapped(episode).logits
    torch.testing.assert_close(cached, plain, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(plain, model(episode).logits)
