"""Settings of version 0.1 are read as today's; whole configs of old runs: tests/golden."""

import logging

import pytest

from mdmf.config import check_settings
from mdmf.old_settings import current_method, with_settings
from mdmf.settings import method_settings

# What 0.1 wrote into the config of every run, whatever its model.
FLAT = {
    **{"preset": "paper", "views": ["local", "global"], "modalities": ["rgb", "flow"], "options": {}, "module": None},
    **{"alphas": {}, "selector_test": "argmax", "strategy": "active", "fusion": "active", "cross_entropy": None},
    **{"otam_temperature": 0.3, "otam_directions": "both", "cosine_eps": 0.02, "text_weight": 0.1, "hidden_size": 64},
}


@pytest.mark.parametrize("kind", ["prototype", "frame_wise", "otam", "bi_mhm"])
def test_names_that_became_compositions(kind, caplog):
    with caplog.at_level(logging.INFO):
        assert current_method({"name": f"flow_{kind}"}) == {"name": kind, "source": "flow"}
        assert current_method({"name": f"late_{kind}"}) == {"name": "late_fusion", "of": {"name": kind}}
    assert [record.message for record in caplog.records] == [
        f"note: the method 'flow_{kind}' of version 0.1 is now written {{name: {kind}, source: flow}}",
        f"note: the method 'late_{kind}' of version 0.1 is now written {{name: late_fusion, of: {kind}}}",
    ]


def test_names_that_only_look_alike_stay():
    for name in ("late_fusion", "flow_amfar", "otam", "late_"):
        assert current_method({"name": name}) == {"name": name}


def test_settings_of_the_distance_go_to_the_method_that_is_wrapped():
    given = {"name": "late_otam", "otam_temperature": 0.2, "cosine_eps": 0.5, "text_weight": 0.3}
    assert current_method(given) == {
        "name": "late_fusion",
        "of": {"name": "otam", "otam_temperature": 0.2, "cosine_eps": 0.5},
        "text_weight": 0.3,
    }
    settings = method_settings(given)
    assert (settings.of.otam_temperature, settings.of.cosine_eps, settings.text_weight) == (0.2, 0.5, 0.3)


def test_modalities_are_sources_in_the_order_that_0_1_numbered_them():
    assert method_settings({"name": "amfar", "modalities": ["flow", "rgb"]}).sources == ("rgb", "flow")
    assert method_settings({"name": "amfar", "modalities": ["flow"]}).sources == ("flow",)
    assert method_settings({"name": "amfar", "sources": ["flow", "rgb"]}).sources == ("flow", "rgb")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m2df", {"otam_temperature": 0.3, "cosine_eps": 0.02, "hidden_size": 64, "cross_entropy": "fused"}),
        (
            "amfar",
            {"sources": ("rgb", "flow"), "otam_temperature": 0.3, "hidden_size": 64, "cross_entropy": "branches"},
        ),
        ("late_fusion", {"otam_temperature": 0.3, "hidden_size": 64, "fusion": "logits", "cross_entropy": "branches"}),
        ("otam", {"otam_temperature": 0.3, "source": "rgb"}),
        ("zero_shot", {"cosine_eps": 0.02}),
        ("flow_otam", {"name": "otam", "source": "flow", "cosine_eps": 0.02}),
    ],
)
def test_of_a_flat_section_a_method_takes_what_is_its_own(name, expected):
    settings = method_settings({"name": name, **FLAT})
    assert {key: getattr(settings, key) for key in expected} == expected
    assert settings.text_weight == 0.1


def test_of_a_flat_section_late_otam_takes_those_of_its_distance_alone():
    """As 0.1 did: it fused both sources at temperature 1, whatever was set for other methods."""
    settings = method_settings({"name": "late_otam", **FLAT, "modalities": ["rgb"], "temperature": 3.0})
    assert (settings.of.otam_temperature, settings.of.cosine_eps, settings.text_weight) == (0.3, 0.02, 0.1)
    assert (settings.sources, settings.temperature) == (("rgb", "flow"), 1.0)


def test_a_key_that_no_method_has_is_refused_beside_a_flat_section_too():
    with pytest.raises(ValueError, match="fuson"):
        method_settings({"name": "amfar", **FLAT, "fuson": "sum"})


def test_a_section_that_is_not_a_whole_one_of_0_1_is_held_to_its_method():
    partial = {key: value for key, value in FLAT.items() if key != "options"}
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        method_settings({"name": "otam", **partial})


def test_with_settings_takes_what_the_method_has():
    settings = {"otam_temperature": 0.2, "hidden_size": 16, "depth": 2}
    assert with_settings("otam", settings) == {"name": "otam", "otam_temperature": 0.2}
    assert with_settings("late_otam", settings) == {
        "name": "late_fusion",
        "of": {"name": "otam", "otam_temperature": 0.2},
    }
    assert with_settings("unknown", settings) == {"name": "unknown"}


def test_an_old_experiment_with_baselines_is_read():
    old = {"model": {"name": "amfar", **FLAT}, "evaluation": {"baselines": ["otam", "flow_otam", "late_otam"]}}
    baselines = check_settings(old, source="old run").evaluation.baselines
    assert [baseline.table_name for baseline in baselines] == ["otam", "flow_otam", "late_otam"]
    assert [getattr(one, "of", one).cosine_eps for one in baselines] == [0.02] * 3
