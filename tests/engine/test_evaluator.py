import numpy as np
import pytest
import torch
from method_cases import small_settings_of
from small_world import FLOW_D, D, MemoryStore, small_bank, small_sampler, two_source_bank
from torch import nn

from mdmf.engine.evaluator import evaluate
from mdmf.models.build import build_model
from mdmf.structures import Episode, EpisodeOutput


class Blind(nn.Module):
    """Fails the moment it is shown what it must not see."""

    def forward(self, episode: Episode) -> EpisodeOutput:
        assert episode.query_labels is None
        assert episode.class_ids is None
        assert not self.training
        return EpisodeOutput(logits=torch.zeros(episode.sizes["E"], episode.sizes["Q"], episode.sizes["N"]))


def models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    settings = small_settings_of({"name": "m2df", "selector_test": "sample"})
    return {
        "m2df": build_model(settings, feature_sizes={"rgb": D}, logit_scale=10.0),
        "otam": build_model(small_settings_of("otam"), feature_sizes={"rgb": D}),
    }


def run(batch_episodes: int, n_episodes: int = 30, sampler_split: str = "test"):
    store = MemoryStore()
    return evaluate(
        models(),
        small_bank(store),
        small_sampler(store, split=sampler_split).batch(0, n_episodes),
        batch_episodes=batch_episodes,
    )


def test_batch_size_changes_no_answer_even_where_prompts_are_drawn():
    one, many = run(1), run(13)
    for name in ("m2df", "otam"):
        np.testing.assert_allclose(one.answers[name].posterior, many.answers[name].posterior, atol=1e-5)
    assert np.array_equal(one.answers["m2df"].teacher, many.answers["m2df"].teacher)
    assert np.array_equal(one.episodes.query_rows, many.episodes.query_rows)


def test_all_models_answer_the_same_episodes_and_accuracy_is_that_of_the_answers():
    evaluation = run(7)
    labels = evaluation.episodes.query_labels
    for name, answers in evaluation.answers.items():
        assert answers.posterior.shape == (30, 6, 3)
        np.testing.assert_allclose(answers.posterior.sum(-1), 1, atol=1e-5)
        assert evaluation.accuracy(name).percent == pytest.approx(100 * (answers.predictions == labels).mean())
    assert evaluation.accuracy("otam").percent > 60
    assert set(evaluation.branch_accuracies("m2df")) == {"local", "global"}
    assert evaluation.branch_accuracies("otam") == {}


def test_models_see_no_labels_and_get_their_mode_back():
    store, model = MemoryStore(), Blind()
    model.train()
    evaluation = evaluate({"blind": model}, small_bank(store), small_sampler(store).batch(0, 4), batch_episodes=3)
    assert model.training
    assert evaluation.accuracy("blind").n_episodes == 4


def test_two_sources_with_missing_videos_answer_alike_in_any_batch():
    torch.manual_seed(0)
    settings = small_settings_of({"name": "amfar", "n_heads": 1})
    model = build_model(settings, feature_sizes={"rgb": D, "flow": FLOW_D})

    def answers(batch_episodes: int):
        bank, sampler = two_source_bank(bad_rgb=(3,), bad_flow=(0, 9)), small_sampler(MemoryStore(), split="test")
        return evaluate({"amfar": model}, bank, sampler.batch(0, 20), batch_episodes=batch_episodes).answers["amfar"]

    one, many = answers(1), answers(7)
    np.testing.assert_allclose(one.posterior, many.posterior, atol=1e-5)
    assert np.array_equal(one.teacher, many.teacher)
    assert set(one.fusion_weights) == set(one.branch_posteriors) == {"rgb", "flow"}
    for branch, weights in one.fusion_weights.items():
        assert weights.shape == (20, 6)
        np.testing.assert_allclose(weights, many.fusion_weights[branch], atol=1e-5)
    np.testing.assert_allclose(sum(one.fusion_weights.values()), 1, atol=1e-5)
