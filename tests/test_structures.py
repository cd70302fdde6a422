import pytest
import torch

from mdmf.structures import Episode, Preprocess, ViewRule, check_shape


def test_check_shape_names_what_came_and_what_was_expected():
    assert check_shape("x", torch.zeros(2, 3), ("E", "Q")) == {"E": 2, "Q": 3}
    with pytest.raises(ValueError, match=r"expected x of shape \(E=4, Q\), got \(2, 3\)"):
        check_shape("x", torch.zeros(2, 3), ("E", "Q"), {"E": 4})
    with pytest.raises(ValueError, match=r"expected x of shape \(E, Q, 7\), got \(2, 3\)"):
        check_shape("x", torch.zeros(2, 3), ("E", "Q", 7))


def episode(**changes) -> Episode:
    parts = {
        "support": {"rgb": torch.zeros(2, 3, 1, 4, 5)},
        "query": {"rgb": torch.zeros(2, 6, 4, 5)},
        "class_text": torch.zeros(2, 3, 5),
        "query_labels": torch.zeros(2, 6, dtype=torch.long),
    }
    return Episode(**(parts | changes))


def test_sizes():
    assert episode().sizes == {"E": 2, "N": 3, "K": 1, "Q": 6}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": {"rgb": torch.zeros(3, 6, 4, 5)}}, r"query\['rgb'\]"),
        ({"query": {"rgb": torch.zeros(2, 6, 3, 5)}}, r"query\['rgb'\]"),
        ({"query": {"flow": torch.zeros(2, 6, 4, 5)}}, "the same sources"),
        ({"support": {}, "query": {}}, "at least one"),
        ({"class_text": torch.zeros(2, 4, 5)}, "class_text"),
        ({"query_labels": torch.zeros(2, 5)}, "query_labels"),
        ({"support_present": {"rgb": torch.ones(2, 3)}}, r"support_present\['rgb'\] of shape \(E=2, N=3, K=1\)"),
        ({"query_present": {"rgb": torch.ones(2, 5)}}, r"query_present\['rgb'\] of shape \(E=2, Q=6\)"),
        ({"query_present": {"flow": torch.ones(2, 6)}}, r"query_present names 'flow', and the episode has \['rgb'\]"),
    ],
)
def test_parts_must_fit_together(changes, message):
    with pytest.raises(ValueError, match=message):
        episode(**changes)


def test_sources_may_differ_in_frames_and_size():
    both = episode(
        support={"rgb": torch.zeros(2, 3, 1, 4, 5), "flow": torch.zeros(2, 3, 1, 3, 7)},
        query={"rgb": torch.zeros(2, 6, 4, 5), "flow": torch.zeros(2, 6, 3, 7)},
    )
    assert both.to("cpu").sizes == both.sizes


def test_which_videos_are_there_moves_along_to_another_device():
    masks = {"support_present": {"rgb": torch.ones(2, 3, 1, dtype=torch.bool)}, "query_present": {}}
    moved = episode(**masks).to("meta")
    assert moved.support_present["rgb"].device.type == "meta"
    assert moved.query_present == {}
    assert moved.class_ids is None
    assert moved.query["rgb"].device.type == moved.class_text.device.type == "meta"


def test_two_episodes_share_no_masks():
    assert episode().support_present is not episode().support_present


def test_preprocess_is_checked():
    with pytest.raises(ValueError, match="resize_mode must be"):
        Preprocess(crop_size=4, resize_size=4, resize_mode="stretch")
    with pytest.raises(ValueError, match=r"crop_size must be in 1\.\.resize_size=4, got 5"):
        Preprocess(crop_size=5, resize_size=4)


@pytest.mark.parametrize("bad", [{"n_frames": 0}, {"n_variants": 0}, {"crop_scale_min": 0.0}, {"crop_scale_min": 1.1}])
def test_a_view_rule_is_checked(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ViewRule(**{"n_frames": 8} | bad)


def test_the_test_view_does_not_depend_on_how_random_views_are_made():
    rules = [ViewRule(n_frames=8, n_variants=n, crop_scale_min=0.3, flip=n > 1, seed=n) for n in (1, 4)]
    assert rules[0].test_view == rules[1].test_view
    assert rules[0].test_view.n_variants == 1
