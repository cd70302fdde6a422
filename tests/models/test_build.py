import pytest
import torch

from mdmf.config import ModelSettings, Settings, check_settings
from mdmf.models.build import build_model, is_trained
from mdmf.models.multi_view import MultiView
from mdmf.presets import MODEL_PRESETS


def test_every_setting_of_the_model_reaches_its_part():
    settings = ModelSettings(
        **{"views": ("global", "local"), "alphas": {"local": 0.5}, "temperature": 2.0, "selector_train": "expect"},
        **{"selector_test": "off", "top_k": 2, "selector_scale": 50.0, "otam_temperature": 0.1, "depth": 2},
        **{"otam_directions": "query_to_support", "cosine_eps": 0.0, "certainty_token": "first_frame"},
        **{"condition": "text", "direction": "local_to_global", "detach_teacher": False, "distill_weight": 3.0},
        **{"distill_per_query": True, "video_text_weight": 0.1, "video_text_input": "input", "video_text_scale": 7.0},
        **{"n_heads": 2, "hidden_size": 24, "attention_dropout": 0.3, "dropout": 0.4, "tcn_dropout": 0.6},
    )
    model = build_model(settings, feature_sizes={"rgb": 16}, logit_scale=99.0)
    assert isinstance(model, MultiView)
    assert list(model.branches) == ["local", "global"]
    assert (model.fusion.weights, model.fusion.temperature) == ({"local": 0.5, "global": 1.0}, 2.0)
    selector = model.selector
    assert (selector.train_mode, selector.test_mode, selector.top_k, selector.scale) == ("expect", "off", 2, 50.0)
    local = model.views["local"]
    assert (local.otam_temperature, local.otam_directions, local.eps) == (0.1, "query_to_support", 0.0)
    assert (local.certainty_token, len(local.fusion.layers)) == ("first_frame", 2)
    layer = local.fusion.layers[0]
    assert (layer.attention.n_heads, layer.feed_forward[0].out_features) == (2, 24)
    assert (layer.attention.dropout.p, layer.feed_forward[2].p, layer.feed_forward[4].p) == (0.3, 0.4, 0.4)
    assert model.views["global"].context.blocks[0].dropout.p == 0.6
    assert (model.condition_kind, model.direction, model.detach_teacher) == ("text", "local_to_global", False)
    weights = model.loss_weights
    assert (weights.distill, weights.video_text, weights.distill_per_query) == (3.0, 0.1, True)
    assert (model.video_text.source, model.video_text.scale.item()) == ("input", 7.0)


def test_presets_are_what_the_methods_say():
    released = build_model(ModelSettings(preset="released"), feature_sizes={"rgb": 16})
    assert released.video_text.scale.item() == 1.0
    assert released.loss_weights.video_text == 0
    paper = build_model(ModelSettings(), feature_sizes={"rgb": 16}, logit_scale=42.0)
    assert paper.video_text.scale.item() == 42.0  # the encoder's own
    for key, value in MODEL_PRESETS["paper"].items():
        assert getattr(ModelSettings(), key) == value, key


def test_takes_all_settings_or_their_model_section():
    settings = check_settings({"model": {"name": "otam"}}, source="test")
    for given in (settings, settings.model):
        assert not list(build_model(given, feature_sizes={"rgb": 16}).parameters())
    assert not is_trained("otam")
    assert is_trained(Settings().model.name)


def test_says_which_features_are_missing():
    with pytest.raises(ValueError, match=r"needs features of source 'rgb', got \['flow'\]"):
        build_model(ModelSettings(), feature_sizes={"flow": 16})
    with pytest.raises(ValueError, match="feature size 12 is not divisible by n_heads=8"):
        build_model(ModelSettings(), feature_sizes={"rgb": 12})


def test_same_seed_same_weights():
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build_model(ModelSettings(hidden_size=8), feature_sizes={"rgb": 16}))
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))
