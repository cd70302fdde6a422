"""Chosen prompts and feature maps on features in memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from method_cases import small_method
from small_world import D, MemoryStore, small_bank, small_sampler

from mdmf.config import check_settings
from mdmf.evidence.feature_maps import _mapped_videos, feature_maps, principal_components, selector_choices
from mdmf.evidence.opened_test import DoesNotApply, OpenedTest


def open_small(mode: str = "argmax", *, bad: tuple[int, ...] = ()) -> OpenedTest:
    """CLIP-M2DF on the small world's first 130 episodes: more than a batch of the selector's."""
    store = MemoryStore(bad=bad)
    model = small_method("m2df", sizes={"rgb": D}, selector_test=mode)
    return OpenedTest(
        settings=None,
        result=SimpleNamespace(protocol=SimpleNamespace(n_episodes=130, split="test"), text_weight=0),
        saved=None,
        workspace=None,
        model=model,
        bank=small_bank(store),
        sampler=small_sampler(store, split="test"),
    )


@pytest.mark.parametrize("mode", ["argmax", "sample"])
def test_the_prompts_named_are_those_that_the_model_takes(mode):
    """The text that the model's own selector gives out, query by query, is that of the class named."""
    one = open_small(mode)
    record, arrays = selector_choices(one)
    assert record == {"mode": mode}
    chosen = arrays["selector/chosen"]
    assert chosen.shape == (130, 6)
    episode = one.bank.episode(one.rows)
    given = one.model.selector(episode.class_text, episode.query["rgb"], episode.query_draws).numpy()
    named = np.take_along_axis(episode.class_text.numpy(), chosen[..., None].astype(np.int64), axis=1)
    np.testing.assert_array_equal(named, given)
    assert len(np.unique(chosen)) == 3
    assert arrays["selector/text"].tolist() == list(range(6))


def test_classes_of_the_same_sentences_have_one_text():
    """Also in another order, which moves the last bits of their mean."""
    one = open_small()
    one.bank.class_text[4] = one.bank.class_text[1] * (1 + 1e-6)
    assert selector_choices(one)[1]["selector/text"].tolist() == [0, 1, 2, 3, 1, 5]


def test_a_query_without_frames_is_given_no_prompt():
    bad = (3, 12, 40)
    one = open_small(bad=bad)
    chosen = selector_choices(one)[1]["selector/chosen"]
    np.testing.assert_array_equal(chosen == -1, np.isin(one.rows.query_rows, bad))
    assert (chosen == -1).any()


@pytest.mark.parametrize("mode", ["expect", "off"])
def test_a_selector_that_chooses_no_single_prompt_does_not_apply(mode):
    with pytest.raises(DoesNotApply, match=f"selector_test={mode}"):
        selector_choices(open_small(mode))


def test_principal_components_by_hand():
    """Points on a cross: 4 along (0, 1), 2 along (1, 0); the sign makes the largest weight positive."""
    points = np.array([[0, 4.0], [0, -4], [2, 0], [-2, 0]]) + np.array([10, -3])
    found, explained = principal_components(points)
    np.testing.assert_allclose(found, [[4, 0], [-4, 0], [0, 2], [0, -2]], atol=1e-12)
    np.testing.assert_allclose(explained, [0.8, 0.2])


def test_principal_components_keep_distances_of_flat_data_and_do_not_depend_on_place():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 7))
    found, explained = principal_components(flat + 100)
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (flat, found)]
    np.testing.assert_allclose(distances[0], distances[1], atol=1e-9)
    assert sum(explained) == pytest.approx(1)
    assert explained[0] >= explained[1]


def test_principal_components_of_points_that_are_all_one():
    found, explained = principal_components(np.ones((3, 4)))
    np.testing.assert_allclose(found, 0, atol=1e-12)
    assert explained == [0, 0]
    assert principal_components(np.array([[0.0], [2.0]]))[0].shape == (2, 2)  # one feature


@pytest.mark.parametrize("bad", [(), (3, 12, 40)])
def test_maps_show_each_video_as_a_support_video_of_its_own_class(bad):
    """Before: its mean frame; after: the mean fused frame token of each view, given its own class's prompt."""
    one = open_small(bad=bad)
    names = np.array([f"class {number}" for number in range(6)])
    of_video = one.bank.sources["rgb"].store.class_ids
    table = SimpleNamespace(class_name=names[of_video])
    store = SimpleNamespace(table=table, rows_of=lambda ids: np.array(ids))
    one.workspace = SimpleNamespace(stores=SimpleNamespace(first=store), index=SimpleNamespace(classes={"test": names}))
    one.settings = SimpleNamespace(model=check_settings({"model": {"name": "m2df"}}, source="test").model)
    one.saved = SimpleNamespace(video_ids=np.arange(48))
    maps, arrays = feature_maps(one)
    there = np.setdiff1d(np.arange(48), bad)
    assert [(found["when"], found["of"], found["n_videos"], found["prompted"]) for found in maps] == [
        ("before", "rgb", len(there), False),
        ("after", "local", len(there), True),
        ("after", "global", len(there), True),
    ]
    frames = one.bank.features_at(there)["rgb"]
    means = [frames.mean(dim=1)]
    for view in ("local", "global"):
        branch, prompts = one.model.branches[view], one.bank.class_text[of_video[there]]
        with torch.inference_mode():
            means.append(branch.fusion(prompts, branch.context(frames), frames)[:, 1:].mean(dim=1))
    for number, mean in enumerate(means):
        points, explained = principal_components(mean.numpy())
        np.testing.assert_allclose(arrays[f"embeddings/{number}/points"], points, atol=1e-3)
        assert maps[number]["explained"] == pytest.approx(explained, abs=1e-4)
        np.testing.assert_array_equal(arrays[f"embeddings/{number}/classes"], of_video[there])


def test_a_map_of_many_videos_takes_them_from_all_over_a_class(monkeypatch):
    """18 marks for 6 classes of 8 videos: the first, a middle and the last one of each."""
    monkeypatch.setattr("mdmf.evidence.feature_maps.MAX_MAPPED_VIDEOS", 18)
    names = [f"class {number}" for number in range(6)]
    table = SimpleNamespace(class_name=np.repeat(names, 8))
    store = SimpleNamespace(table=table, rows_of=lambda ids: np.array(ids))
    one = SimpleNamespace(
        workspace=SimpleNamespace(stores=SimpleNamespace(first=store)),
        saved=SimpleNamespace(video_ids=np.arange(48)),
        class_names=names,
    )
    rows, classes = _mapped_videos(one)
    assert rows.reshape(6, 3).tolist() == [[8 * c, 8 * c + 4, 8 * c + 7] for c in range(6)]
    assert classes.tolist() == np.repeat(np.arange(6), 3).tolist()


def test_a_baseline_gives_no_prompt():
    one = open_small()
    one.model, one.settings = small_method("otam"), check_settings({"model": {"name": "otam"}}, source="test")
    with pytest.raises(DoesNotApply, match="otam gives no prompt"):
        selector_choices(one)
