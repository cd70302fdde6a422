import logging

import pytest

from mdmf.config import load_settings
from mdmf.old_sources import _note, current_sources
from mdmf.settings import Settings

OLD = {
    "data": {"root": "videos", "store": "a", "flow_store": "b", "flow": {"method": "disk", "folder": "flows"}},
    "encoder": {"model": "x", "flow": {"model": "y"}},
}
TODAY = {
    "data": {"root": "videos"},
    "encoder": {"model": "x"},
    "sources": {
        "rgb": {"store": "a"},
        "flow": {"store": "b", "method": "disk", "folder": "flows", "encoder": {"model": "y"}},
    },
}


def test_settings_of_version_0_1_become_settings_of_sources():
    assert current_sources(OLD) == TODAY
    assert current_sources(TODAY) == TODAY
    assert Settings.model_validate(OLD) == Settings.model_validate(TODAY)


def test_what_is_given_in_todays_form_wins():
    both = {"data": {"flow": {"step": 2, "clip": 5}}, "sources": {"flow": {"step": 3}}}
    assert current_sources(both)["sources"] == {"flow": {"step": 3, "clip": 5}}


@pytest.mark.parametrize("values", [{}, {"data": None}, {"data": "videos"}, {"encoder": {"model": "x"}}])
def test_other_settings_stay_as_they_are(values):
    assert current_sources(values) == values


def test_flow_that_is_no_section_is_an_error_of_today():
    with pytest.raises(ValueError, match="expected the settings of a source"):
        Settings.model_validate({"data": {"flow": "dis"}})


@pytest.mark.parametrize("text", ["data: {flow: {step: 2, clip: 6}}\n", "sources: {flow: {step: 2, clip: 6}}\n"])
@pytest.mark.parametrize("override", ["data.flow.step=5", "sources.flow.step=5"])
def test_overrides_in_either_form_are_above_files_in_either_form(tmp_path, text, override):
    (tmp_path / "c.yaml").write_text(text)
    flow = load_settings(tmp_path / "c.yaml", [override]).sources["flow"]
    assert (flow.step, flow.clip) == (5, 6)


def test_each_old_name_is_noted_once(caplog):
    _note.cache_clear()
    with caplog.at_level(logging.INFO):
        current_sources(OLD)
        current_sources(OLD)
    assert [message.split("setting ")[1] for message in caplog.messages] == [
        "data.store of version 0.1 is now sources.rgb.store",
        "data.flow_store of version 0.1 is now sources.flow.store",
        "data.flow of version 0.1 is now sources.flow",
        "encoder.flow of version 0.1 is now sources.flow.encoder",
    ]
