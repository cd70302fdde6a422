"""What a registration says of a method, and what its settings class is held to (mdmf/models/registry.py)."""

import re

import pytest
from method_cases import SIZES

from mdmf.models.method import Method
from mdmf.models.registry import FeatureInfo, make_method, register
from mdmf.registry import METHODS
from mdmf.settings import MethodSettings, SingleSourceSettings, method_settings

SOURCES = ("rgb", "flow")

NAMES = list(METHODS)
BOTH = ("rgb", "flow")


@pytest.mark.parametrize("name", NAMES)
def test_every_method_says_what_it_is(name):
    """Docstring of its file, citation, and a description of every setting."""
    entry = METHODS[name]
    assert entry.name == name
    assert entry.citation
    assert len(re.findall(r"[.:]\s", entry.summary + " ")) >= 3, "three plain sentences"
    assert issubclass(entry.settings, MethodSettings)
    assert entry.settings.__doc__.startswith("Settings of ")
    for key, field in entry.settings.model_fields.items():
        assert field.description, f"{name}.{key}"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "module"])
def test_facts_of_a_method_are_those_of_what_is_made(name):
    settings = method_settings(name)
    model = make_method(settings, FeatureInfo(dict.fromkeys(SIZES, 16), n_frames=8))
    assert isinstance(model, Method)
    assert set(model.sources) == set(settings.used_sources)
    assert model.has_weights == settings.is_trained == METHODS[name].is_trained
    assert settings.reads_text == METHODS[name].reads_text
    assert settings.table_name == settings.name == name


def test_which_sources_a_method_looks_at():
    expected = {"m2df": ("rgb",), "zero_shot": ("rgb",), "otam": ("rgb",), "flow_bi_mhm": ("flow",)}
    expected |= dict.fromkeys(("amfar", "amfir", "late_fusion", "early_concat", "early_attention", "late_otam"), BOTH)
    assert {name: method_settings(name).used_sources for name in expected} == expected
    assert method_settings({"name": "amfir", "sources": ["flow"]}).used_sources == ("flow",)
    assert method_settings({"name": "otam", "source": "depth"}).used_sources == ("depth",)


def test_what_reads_text_and_what_is_our_reading():
    assert [name for name in NAMES if METHODS[name].reads_text] == ["m2df", "module", "zero_shot"]
    assert [name for name in NAMES if METHODS[name].our_reading] == ["amfir"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"name": "otam", "source": "flow"}, "flow_otam"),
        ({"name": "late_fusion", "of": {"name": "otam"}}, "late_otam"),
        ({"name": "early_concat", "of": {"name": "otam"}}, "concat_otam"),
        ({"name": "early_attention", "of": "bi_mhm"}, "attention_bi_mhm"),
        ({"name": "amfar", "of": "temporal_head"}, "amfar_temporal_head"),
        ({"name": "late_fusion"}, "late_fusion"),
        ("flow_otam", "flow_otam"),
        ("late_otam", "late_otam"),
    ],
)
def test_tables_print_the_short_name_of_a_composition(values, name):
    assert method_settings(values).table_name == name


def test_a_registered_name_is_taken():
    with pytest.raises(ValueError, match=r"a method named 'otam' is registered by 'mdmf.models.zoo.nearest' already"):
        register("otam", SingleSourceSettings, citation="mine")(lambda settings, features: None)


def test_a_missing_source_is_named():
    with pytest.raises(ValueError, match=r"model 'amfar' needs features of source 'flow', got \['rgb'\]"):
        make_method(method_settings("amfar"), FeatureInfo({"rgb": 16}))
    assert tuple(SIZES) == SOURCES
