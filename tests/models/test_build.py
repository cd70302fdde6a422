import pytest
import torch
from method_cases import small_settings_of

from mdmf.config import check_settings
from mdmf.models.build import build_model
from mdmf.settings import Settings, method_settings


def test_takes_all_settings_or_their_model_section():
    settings = check_settings({"model": {"name": "otam"}}, source="test")
    for given in (settings, settings.model):
        assert not build_model(given, feature_sizes={"rgb": 16}).has_weights
    assert not settings.model.is_trained
    assert Settings().model.is_trained


def test_a_single_source_needs_no_features_of_another():
    model = build_model(small_settings_of({"name": "amfar", "sources": ["flow"]}), feature_sizes={"flow": 8})
    assert list(model.branches) == ["flow"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("m2df", r"model 'm2df' needs features of source 'rgb', got \['flow'\]"),
        ("zero_shot", r"model 'zero_shot' needs features of source 'rgb'"),
        ({"name": "otam", "source": "depth"}, r"model 'depth_otam' needs features of source 'depth'"),
        ("late_otam", r"model 'late_otam' needs features of source 'rgb'"),
    ],
)
def test_says_which_features_are_missing(values, message):
    with pytest.raises(ValueError, match=message):
        build_model(method_settings(values), feature_sizes={"flow": 16})


def test_says_which_part_cannot_be_made():
    with pytest.raises(ValueError, match="feature size 12 is not divisible by n_heads=8"):
        build_model(method_settings("m2df"), feature_sizes={"rgb": 12})


def test_same_seed_same_weights():
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build_model(small_settings_of("m2df"), feature_sizes={"rgb": 16}))
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))
