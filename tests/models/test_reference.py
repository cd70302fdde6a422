import numpy as np
import pytest
import torch

from mdmf.models.reference import load_clip_mdmf
from mdmf.models.zoo.m2df import M2df
from mdmf.structures import Episode


@pytest.fixture(scope="module")
def golden(shared_data):
    case = np.load(shared_data / "golden" / "clip_mdmf_case.npz")
    return {name: torch.from_numpy(case[name]) for name in case.files if case[name].dtype.kind in "fi"} | {
        name: str(case[name]) for name in ("otam_directions", "condition")
    }


@pytest.fixture
def state(golden):
    return {name.removeprefix("state/"): value for name, value in golden.items() if name.startswith("state/")}


def episode_of(golden) -> Episode:
    return Episode(
        {"rgb": golden["support"]},
        {"rgb": golden["query"]},
        golden["class_text"],
        golden["query_labels"],
        golden["class_ids"],
    )


@pytest.mark.parametrize("selector", ["argmax", "sample"])
def test_golden_case(golden, state, selector):
    model = load_clip_mdmf(
        state,
        otam_directions=golden["otam_directions"],
        condition=golden["condition"],
        direction="both",
        preset="released",
    )
    model.selector.test_mode = selector  # its posteriors are sharp: the draw takes the likeliest class
    output = model(episode_of(golden))
    torch.testing.assert_close(output.logits, golden["logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(output.losses["distill_loss"], golden["distill_loss"], atol=1e-4, rtol=0)


def test_golden_video_text_logits(golden, state):
    model = load_clip_mdmf(state, preset="released")
    model.video_text.set_classes(golden["all_class_text"])
    episode = episode_of(golden)
    logits = model.video_text(model._input_videos(episode))
    expected = [golden["video_text_logits_support_in_class_order"], golden["video_text_logits_query"]]
    torch.testing.assert_close(logits, torch.cat(expected, dim=1), atol=1e-4, rtol=0)
    assert "video_text_loss" in model(episode).losses


def test_what_is_given_wins_over_the_preset(state):
    def distilled(model: M2df) -> tuple[str, str, bool]:
        return model.selection.condition, model.selection.direction, model.detach_teacher

    assert distilled(load_clip_mdmf(state, preset="released")) == ("text", "global_to_local", False)
    given = load_clip_mdmf(state, preset="released", condition="visual", direction="local_to_global")
    assert distilled(given) == ("visual", "local_to_global", False)
    paper = load_clip_mdmf(state)
    assert distilled(paper) == ("both", "both", True)
    assert paper.selector.mode == "argmax"


def test_data_parallel_prefix_and_visual_tower_are_no_obstacle(state):
    renamed = {f"module.{name}": tensor for name, tensor in state.items()}
    renamed["module.backbone.conv1.weight"] = torch.zeros(3)
    for one, other in zip(load_clip_mdmf(renamed).parameters(), load_clip_mdmf(state).parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


def test_says_what_is_wrong_with_a_state(state):
    with pytest.raises(ValueError, match=r"unknown tensor 'head\.weight'"):
        load_clip_mdmf(state | {"head.weight": torch.zeros(1)})
    del state["tcn.network.1.conv2.bias"]
    with pytest.raises(ValueError, match=r"lacks .*branches\.global\.context\.blocks\.1\.second\.bias"):
        load_clip_mdmf(state)
    with pytest.raises(ValueError, match="not the state dict of a CLIP-MDMF checkpoint"):
        load_clip_mdmf({})
    with pytest.raises(ValueError, match="preset must be one of"):
        load_clip_mdmf(state, preset="best")
