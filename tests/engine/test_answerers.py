from dataclasses import replace

import pytest
import torch
from mdmf.models.baselines import ZeroShotBaseline
from mdmf.models.multi_modal import ModalityBranch
from small_world import FLOW_D, D, MemoryStore, small_bank, small_sampler, two_source_bank

from mdmf.data.features.bank import FeatureBank
from mdmf.engine.answerers import EmbeddingCache, EpisodeBatch, FusionCache, answerer
from mdmf.layers.selector import PromptSelector
from mdmf.models.branch import ViewBranch
from mdmf.models.build import build_model
from mdmf.models.text_at_test import TextAtTest
from mdmf.settings import ModelSettings


def small_model(**settings):
    torch.manual_seed(0)
    settings = ModelSettings(hidden_size=16, n_heads=2, **settings)
    return build_model(settings, feature_sizes={"rgb": D}, logit_scale=10.0).eval()


@pytest.mark.parametrize("selector", ["argmax", "sample", "off", "expect"])
@pytest.mark.parametrize("max_bytes", [2**30, 20_000, 1])
def test_answers_are_those_of_the_model(selector, max_bytes, monkeypatch):
    """With room for everything, for a part, and for nothing; the same answers batch after batch."""
    monkeypatch.setitem(FusionCache.__init__.__kwdefaults__, "max_bytes", max_bytes)
    store, model = MemoryStore(), small_model(selector_test=selector)
    bank, sampler = small_bank(store), small_sampler(store, split="test")
    answer = answerer(model, bank)
    with torch.inference_mode():
        for start in (0, 5, 10):
            batch = EpisodeBatch(sampler.batch(start, 5), bank)
            cached, plain = answer(batch), model(batch.episode)
            torch.testing.assert_close(cached.logits, plain.logits, atol=1e-5, rtol=1e-5)
            assert torch.equal(cached.teacher, plain.teacher)
            for view in ("local", "global"):
                torch.testing.assert_close(cached.certainty[view], plain.certainty[view], atol=1e-5, rtol=0)


def test_each_pair_is_fused_once(monkeypatch):
    store, model = MemoryStore(), small_model()
    bank, sampler = small_bank(store), small_sampler(store, split="test")
    fused = []
    fusion = model.branches["local"].fusion
    plain_fuse = fusion.forward
    monkeypatch.setattr(fusion, "forward", lambda prompt, *rest: fused.append(len(prompt)) or plain_fuse(prompt, *rest))
    answer = answerer(model, bank)
    with torch.inference_mode():
        for start in range(0, 600, 50):
            rows = sampler.batch(start, 50)
            answer(EpisodeBatch(rows, bank))
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
        cached, plain = answerer(wrapped, bank)(EpisodeBatch(rows, bank)).logits, wrapped(episode).logits
    torch.testing.assert_close(cached, plain, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(plain, model(episode).logits)


BAD = {"bad_rgb": (4, 12, 30), "bad_flow": (0, 9, 10, 33, 47)}
MULTI_MODAL = ["amfar", "amfir", "late_fusion", "early_concat", "early_attention"]


def multi_modal(name: str, **settings):
    torch.manual_seed(0)
    settings = ModelSettings(name=name, hidden_size=16, n_heads=1, **settings)
    return build_model(settings, feature_sizes={"rgb": D, "flow": FLOW_D}).eval()


def assert_answers_as_the_model(model, bank: FeatureBank, *, n_shot: int, n_batches: int = 3) -> None:
    """Everything that a model says of an episode, batch after batch."""
    sampler = small_sampler(MemoryStore(), split="test", n_shot=n_shot)
    answer = answerer(model, bank)
    with torch.inference_mode():
        for start in range(0, 5 * n_batches, 5):
            batch = EpisodeBatch(sampler.batch(start, 5), bank)
            cached, plain = answer(batch), model(batch.episode)
            torch.testing.assert_close(cached.logits, plain.logits, atol=1e-5, rtol=1e-5)
            for name in ("branch_logits", "certainty", "fusion_weight"):
                first, second = getattr(cached, name), getattr(plain, name)
                assert list(first) == list(second)
                for branch in first:
                    torch.testing.assert_close(first[branch], second[branch], atol=1e-5, rtol=1e-5)
            assert (cached.teacher is None) == (plain.teacher is None)
            assert plain.teacher is None or torch.equal(cached.teacher, plain.teacher)


@pytest.mark.parametrize("missing", [{}, BAD], ids=["complete", "missing"])
@pytest.mark.parametrize("n_shot", [1, 2])
@pytest.mark.parametrize("name", MULTI_MODAL)
def test_embeddings_from_the_cache_give_the_answers_of_the_model(name, n_shot, missing):
    """AMFIR with two shots also weighs the branches by their support."""
    assert_answers_as_the_model(multi_modal(name), two_source_bank(**missing), n_shot=n_shot)


@pytest.mark.parametrize("max_bytes", [3000, 1])
@pytest.mark.parametrize("name", ["amfir", "early_concat"])
def test_a_cache_too_small_for_all_or_for_any_gives_the_same_answers(name, max_bytes, monkeypatch):
    monkeypatch.setitem(EmbeddingCache.__init__.__kwdefaults__, "max_bytes", max_bytes)
    assert_answers_as_the_model(multi_modal(name), two_source_bank(**BAD), n_shot=2)


def test_one_modality_needs_no_features_of_the_other():
    torch.manual_seed(0)
    settings = ModelSettings(name="amfar", modalities=("rgb",), hidden_size=16, n_heads=1)
    model = build_model(settings, feature_sizes={"rgb": D}).eval()
    assert_answers_as_the_model(model, small_bank(MemoryStore(bad=(4, 12))), n_shot=1)


def test_each_video_is_embedded_once(monkeypatch):
    model, bank = multi_modal("amfar"), two_source_bank(**BAD)
    sampler = small_sampler(MemoryStore(), split="test")
    answer = answerer(model, bank)
    assert isinstance(answer, EmbeddingCache)
    embedded = dict.fromkeys(model.modality_branches, 0)
    for name, branch in model.modality_branches.items():

        def counting(features, *, name=name, plain=branch.embed):
            embedded[name] += len(next(iter(features.values())))
            return plain(features)

        monkeypatch.setattr(branch, "embed", counting)
    with torch.inference_mode():
        for start in range(0, 300, 50):
            rows = sampler.batch(start, 50)
            answer(EpisodeBatch(rows, bank))
    assert embedded == {"rgb": bank.n_videos, "flow": bank.n_videos}


def test_text_at_test_is_combined_with_cached_embeddings():
    model, bank = multi_modal("amfar"), two_source_bank(**BAD)
    wrapped = TextAtTest(model, ZeroShotBaseline(logit_scale=10.0), weight=0.4).eval()
    assert_answers_as_the_model(wrapped, bank, n_shot=1)
    rows = small_sampler(MemoryStore(), split="test").batch(0, 4)
    episode = bank.episode(rows)
    with torch.inference_mode():
        assert not torch.allclose(answerer(wrapped, bank)(EpisodeBatch(rows, bank)).logits, model(episode).logits)


def test_training_variants_are_never_answered_from_the_cache():
    """Tokens are kept by video: a bank that gives several variants of one must not be answered so."""
    model, bank = multi_modal("amfar"), two_source_bank(n_variants=2)
    assert not isinstance(answerer(model, bank), EmbeddingCache)


class Doubling(ViewBranch):
    """A branch of a user's own: what a cache knows of a view is not all that it does."""

    def forward(self, episode):
        output = super().forward(episode)
        return replace(output, logits=2 * output.logits)


class Stubborn(PromptSelector):
    """A selector of a user's own: everybody gets the prompt of the first class."""

    def forward(self, class_text, query, draws=None):
        return class_text[:, :1].expand(-1, query.shape[1], -1)


class Opposite(ModalityBranch):
    def forward(self, episode):
        output = super().forward(episode)
        return replace(output, logits=-output.logits)


@pytest.mark.parametrize("part", ["branch", "selector", "modality"])
def test_a_part_of_a_users_own_in_a_shipped_method_is_asked_itself(part):
    model = multi_modal("amfar") if part == "modality" else small_model()
    if part == "selector":
        model.selector = Stubborn()
    else:
        name, kind = ("local", Doubling) if part == "branch" else ("flow", Opposite)
        model.branches[name].__class__ = kind
    assert_answers_as_the_model(model.eval(), two_source_bank(), n_shot=1)


@pytest.mark.parametrize("max_bytes", [2**30, 20_000, 3_000, 1])
def test_preparing_changes_no_answer_and_leaves_nothing_to_make(max_bytes, monkeypatch):
    monkeypatch.setitem(FusionCache.__init__.__kwdefaults__, "max_bytes", max_bytes)
    store, model = MemoryStore(bad=(3, 20)), small_model()
    bank, sampler = small_bank(store), small_sampler(store, split="test")
    made = []
    fusion = model.branches["global"].fusion
    plain_fuse = fusion.forward
    monkeypatch.setattr(fusion, "forward", lambda prompt, *rest: made.append(len(prompt)) or plain_fuse(prompt, *rest))
    prepared = answerer(model, bank)
    with torch.inference_mode():
        prepared.prepare(sampler.batch(0, 60))
        n_ahead = sum(made)
        for start in range(0, 60, 7):
            batch = EpisodeBatch(sampler.batch(start, min(7, 60 - start)), bank)
            torch.testing.assert_close(prepared(batch).logits, model(batch.episode).logits, atol=1e-5, rtol=1e-5)
    if max_bytes == 2**30:
        assert n_ahead > 100
        assert sum(made) - n_ahead == 60 * (3 + 6)  # what the model itself was asked, and no more
    else:
        assert n_ahead <= 128  # one chunk tells how large a token is


@pytest.mark.parametrize("name", ["m2df", "amfar"])
def test_half_precision_moves_logits_a_little_and_distances_stay_float32(name):
    model = small_model() if name == "m2df" else multi_modal("amfar")
    bank = small_bank(MemoryStore()) if name == "m2df" else two_source_bank()
    batch = EpisodeBatch(small_sampler(MemoryStore(), split="test").batch(0, 40), bank)
    with torch.inference_mode():
        half, full = (answerer(model, bank, precision=precision)(batch) for precision in ("bfloat16", "float32"))
    assert half.logits.dtype == torch.float32
    assert not torch.equal(half.logits, full.logits)
    torch.testing.assert_close(half.logits, full.logits, atol=0.3, rtol=0.02)
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
