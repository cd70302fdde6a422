"""A method's answers from kept tokens are those that it gives when it is called."""

from dataclasses import replace

import pytest
import torch
from method_cases import TRAINED, TRAINING_FREE, adapting_method, small_method
from small_world import FLOW_D, D, MemoryStore, T, small_bank, small_sampler, two_source_bank
from torch import nn

from mdmf.data.features.bank import FeatureBank
from mdmf.engine.answerers import CachedAnswerer, EpisodeBatch, answerer
from mdmf.engine.evaluator import evaluate
from mdmf.layers.selector import PromptSelector
from mdmf.models.branch import Branch, PrototypeBranch, logits_from_distance
from mdmf.models.method import Method
from mdmf.models.text_at_test import TextAtTest, text_model
from mdmf.models.zoo.m2df import ViewBranch
from mdmf.settings import method_settings
from mdmf.structures import BranchOutput

COMPOSITIONS = [{"name": name, "of": "temporal_head"} for name in ("amfir", "late_fusion", "early_concat")]
BAD = {"bad_rgb": (4, 12, 30), "bad_flow": (0, 9, 10, 33, 47)}


def method(name: str, **settings) -> Method:
    return small_method(name, sizes={"rgb": D, "flow": FLOW_D}, n_frames=T, **settings)


def text_answer() -> nn.Module:
    return text_model(method_settings("otam"), logit_scale=10.0, feature_size=D)


def limit_cache(monkeypatch: pytest.MonkeyPatch, max_bytes: int) -> None:
    monkeypatch.setitem(CachedAnswerer.__init__.__kwdefaults__, "max_bytes", max_bytes)


def assert_answers_as_the_model(
    model: nn.Module, bank: FeatureBank, *, n_shot: int = 1, is_cached: bool = True, prepares: bool = False
) -> None:
    """Everything that a model says of an episode, batch after batch."""
    sampler = small_sampler(MemoryStore(), split="test", n_shot=n_shot)
    answer = answerer(model, bank)
    assert isinstance(answer, CachedAnswerer) == is_cached
    with torch.inference_mode():
        if prepares:
            answer.precompute(sampler.batch(0, 15))
        for start in range(0, 15, 5):
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
@pytest.mark.parametrize(
    "values", [*({"name": name} for name in TRAINED), *COMPOSITIONS], ids=lambda values: " of ".join(values.values())
)
def test_answers_from_the_cache_are_those_of_any_trained_method(values, n_shot, missing):
    assert_answers_as_the_model(method(**values), two_source_bank(**missing), n_shot=n_shot)


@pytest.mark.parametrize("name", TRAINING_FREE)
def test_a_method_without_weights_has_nothing_to_keep(name):
    assert_answers_as_the_model(method(name), two_source_bank(**BAD), is_cached=False)


@pytest.mark.parametrize("selector", ["argmax", "sample", "off"])
@pytest.mark.parametrize("max_bytes", [2**30, 20_000, 1])
def test_prompts_are_chosen_as_the_model_chooses_them(selector, max_bytes, monkeypatch):
    """With room for all pairs of video and prompt, for a part, and for none; prepared or not."""
    limit_cache(monkeypatch, max_bytes)
    model, bank = method("m2df", selector_test=selector), small_bank(MemoryStore(bad=(3, 20)))
    for prepares in (False, True):
        assert_answers_as_the_model(model, bank, prepares=prepares)


@pytest.mark.parametrize("max_bytes", [3000, 1])
@pytest.mark.parametrize("name", ["amfir", "early_concat"])
def test_a_cache_too_small_for_all_or_for_any_gives_the_same_answers(name, max_bytes, monkeypatch):
    limit_cache(monkeypatch, max_bytes)
    assert_answers_as_the_model(method(name), two_source_bank(**BAD), n_shot=2)


def test_what_cannot_be_kept_is_asked_of_the_model():
    """A mixture of prompts is another one for each episode, and variants of a video are no single video."""
    assert_answers_as_the_model(method("m2df", selector_test="expect"), two_source_bank(), is_cached=False)
    silent = two_source_bank()
    silent.class_text = None
    assert not isinstance(answerer(method("m2df"), silent), CachedAnswerer)
    assert not isinstance(answerer(method("amfar"), two_source_bank(n_variants=2)), CachedAnswerer)


def test_one_source_needs_no_features_of_the_other():
    model = small_method("amfar", sizes={"rgb": D}, sources=["rgb"])
    assert_answers_as_the_model(model, small_bank(MemoryStore(bad=(4, 12))))


@pytest.mark.parametrize("name", ["m2df", "amfar"])
def test_text_at_test_is_combined_with_the_cached_answer(name):
    model, bank = method(name), two_source_bank(**BAD)
    wrapped = TextAtTest(model, text_answer(), weight=0.4).eval()
    rows = small_sampler(MemoryStore(), split="test").batch(0, 4)
    with torch.inference_mode():
        cached, plain = answerer(wrapped, bank)(EpisodeBatch(rows, bank)).logits, wrapped(bank.episode(rows)).logits
    torch.testing.assert_close(cached, plain, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(plain, model(bank.episode(rows)).logits)


def count_embedded(monkeypatch: pytest.MonkeyPatch, branch: Branch, function: str) -> list[int]:
    """Videos (or pairs of video and prompt) of each call."""
    sizes: list[int] = []
    plain = getattr(branch, function)

    def counting(*given):
        tokens = plain(*given)
        sizes.append(len(tokens["frames"]))
        return tokens

    monkeypatch.setattr(branch, function, counting)
    return sizes


@pytest.mark.parametrize("prepares", [False, True])
def test_each_video_is_embedded_once(prepares, monkeypatch):
    model, bank = method("amfar"), two_source_bank(**BAD)
    sampler, answer = small_sampler(MemoryStore(), split="test"), answerer(model, bank)
    embedded = {name: count_embedded(monkeypatch, model.branch(name), "embed") for name in model.branches}
    with torch.inference_mode():
        if prepares:
            answer.precompute(sampler.batch(0, 300))
            n_ahead = {name: sum(sizes) for name, sizes in embedded.items()}
        for start in range(0, 300, 50):
            answer(EpisodeBatch(sampler.batch(start, 50), bank))
    n_embedded = {name: sum(sizes) for name, sizes in embedded.items()}
    assert n_embedded == {"rgb": bank.n_videos, "flow": bank.n_videos}
    if prepares:
        assert n_ahead == n_embedded


def test_each_pair_of_video_and_prompt_is_embedded_once(monkeypatch):
    model, bank = method("m2df"), small_bank(MemoryStore())
    sampler, answer = small_sampler(MemoryStore(), split="test"), answerer(model, bank)
    embedded = count_embedded(monkeypatch, model.branch("local"), "embed_prompted")
    with torch.inference_mode():
        for start in range(0, 600, 50):
            answer(EpisodeBatch(sampler.batch(start, 50), bank))
    n_asked = 600 * (3 + 6)
    assert sum(embedded) <= 48 * 6 < n_asked / 10
    assert embedded[-1] < embedded[0]


@pytest.mark.parametrize("max_bytes", [20_000, 1])
def test_what_is_prepared_is_at_most_what_the_cache_holds(max_bytes, monkeypatch):
    limit_cache(monkeypatch, max_bytes)
    model, bank = method("m2df"), small_bank(MemoryStore())
    embedded = count_embedded(monkeypatch, model.branch("global"), "embed_prompted")
    with torch.inference_mode():
        answerer(model, bank).precompute(small_sampler(MemoryStore(), split="test").batch(0, 60))
    assert sum(embedded) <= 128  # one chunk tells how large a token is


class TestPartsOfAUsersOwn:
    """A subclass of what is shipped answers from the cache as when it is called."""

    def test_a_branch_that_compares_otherwise(self):
        class Doubling(ViewBranch):
            def compare(self, support, query, task):
                output = super().compare(support, query, task)
                return replace(output, logits=2 * output.logits)

        class Opposite(PrototypeBranch):
            def compare(self, support, query, task):
                return BranchOutput(-super().compare(support, query, task).logits)

        for name, branch, kind in (("m2df", "local", Doubling), ("amfar", "flow", Opposite)):
            model = method(name)
            model.branches[branch].__class__ = kind
            assert_answers_as_the_model(model, two_source_bank(**BAD), n_shot=2)

    def test_a_branch_that_embeds_otherwise(self):
        class Shifted(ViewBranch):
            def embed(self, features, prompts=None):
                tokens = super().embed(features, prompts)
                return {**tokens, "frames": tokens["frames"] + prompts[:, None]}

        class Shorter(PrototypeBranch):
            def embed(self, features, prompts=None):
                return {"frames": super().embed(features)["frames"][:, ::2]}

        for name, branch, kind in (("m2df", "global", Shifted), ("amfar", "rgb", Shorter)):
            model = method(name)
            model.branches[branch].__class__ = kind
            assert_answers_as_the_model(model, two_source_bank(**BAD), n_shot=2)

    def test_a_method_that_compares_or_concludes_otherwise(self):
        class Reversed(Method):
            def compare(self, tokens, **known):
                outputs = super().compare(tokens, **known)
                return {name: replace(output, logits=-output.logits) for name, output in outputs.items()}

        class First(Method):
            def conclude(self, outputs, **known):
                return replace(super().conclude(outputs, **known), logits=next(iter(outputs.values())).logits)

        for kind in (Reversed, First):
            model = method("amfar")
            model.__class__ = kind
            assert_answers_as_the_model(model, two_source_bank(**BAD), n_shot=2)

    def test_a_method_that_goes_another_way_is_called(self):
        class Squared(Method):
            def forward(self, episode):
                return super().forward(replace(episode, query={s: v**2 for s, v in episode.query.items()}))

        class Scaled(Method):
            def embed(self, episode):
                return super().embed(replace(episode, support={s: 2 * v for s, v in episode.support.items()}))

        for kind in (Squared, Scaled):
            model = method("amfar")
            model.__class__ = kind
            assert_answers_as_the_model(model, two_source_bank(), is_cached=False)

    def test_a_selector_that_chooses_otherwise(self):
        class LeastLikely(PromptSelector):
            def choose(self, posterior, draws=None):
                return posterior.argmin(dim=-1)

        class Stubborn(PromptSelector):
            """Everybody gets the prompt of the first class."""

            def forward(self, class_text, query, draws=None):
                return class_text[:, :1].expand(-1, query.shape[1], -1)

        for selector, is_cached in ((LeastLikely(), True), (Stubborn(), False)):
            model = method("m2df")
            model.selector = selector
            assert_answers_as_the_model(model.eval(), two_source_bank(), is_cached=is_cached)

    def test_a_branch_with_tokens_of_its_own_names(self):
        class Statistics(Branch):
            """Means and largest values of the frames; tokens without frames."""

            def __init__(self):
                super().__init__(sources=["flow"])
                self.project = nn.Linear(FLOW_D, 3)

            def embed(self, features, prompts=None):
                frames = self.project(features["flow"])
                return {"mean": frames.mean(1), "largest": frames.amax(1)}

            def compare(self, support, query, task):
                distance = sum(torch.cdist(query[name], support[name].mean(2)) for name in ("mean", "largest"))
                return BranchOutput(logits_from_distance(distance))

        torch.manual_seed(0)
        assert_answers_as_the_model(Method({"statistics": Statistics()}), two_source_bank(), n_shot=2)


class TestAMethodThatAdaptsToAnEpisode:
    def test_it_is_called_with_gradients_and_keeps_none(self):
        model, bank = adapting_method(), two_source_bank()
        evaluation = evaluate(
            {"adapting": model, "amfar": method("amfar")},
            bank,
            small_sampler(MemoryStore(), split="test").batch(0, 4),
            batch_episodes=2,
        )
        assert evaluation.answers["adapting"].posterior.shape == (4, 6, 3)
        batch = EpisodeBatch(small_sampler(MemoryStore(), split="test").batch(0, 2), bank)
        with torch.no_grad():
            output = answerer(model, bank)(batch)
        for tensor in (output.logits, output.branch_logits["rgb"], output.certainty["rgb"]):
            assert not tensor.requires_grad
        expected = model(batch.episode).logits
        assert expected.requires_grad
        torch.testing.assert_close(output.logits, expected.detach(), atol=1e-6, rtol=0)
        assert model.branch("rgb").scale.grad is None

    def test_text_beside_it_too(self):
        model, bank = TextAtTest(adapting_method(), text_answer(), weight=0.4), two_source_bank()
        sampler = small_sampler(MemoryStore(), split="test")
        evaluation = evaluate({"both": model}, bank, sampler.batch(0, 4), batch_episodes=2)
        assert evaluation.answers["both"].posterior.shape == (4, 6, 3)


@pytest.mark.parametrize("name", ["m2df", "amfar"])
def test_half_precision_moves_logits_a_little_and_distances_stay_float32(name):
    model, bank = method(name), two_source_bank()
    batch = EpisodeBatch(small_sampler(MemoryStore(), split="test").batch(0, 40), bank)
    with torch.inference_mode():
        half, full = (answerer(model, bank, precision=precision)(batch) for precision in ("bfloat16", "float32"))
    assert half.logits.dtype == torch.float32
    assert not torch.equal(half.logits, full.logits)
    torch.testing.assert_close(half.logits, full.logits, atol=0.3, rtol=0.02)
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
