"""Results that no change may alter without saying so: methods, feature folders, weights' names, report files.

The bytes depend on the processor and on PyTorch's version: they are compared where both are those of the stored values;
elsewhere sums are compared to 1e-3.
"""

import json

import pytest
import torch
from golden_cases import (
    HERE,
    METHODS,
    REPORTED,
    config_values,
    identify,
    machine,
    method_values,
    report_files,
    shipped_configs,
    state_names,
)

from mdmf.config import load_settings

EXPECTED = json.loads((HERE / "methods.json").read_text())


@pytest.fixture(autouse=True)
def _one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize("name", METHODS)
def test_posteriors_logits_losses_and_gradients_are_unchanged(name):
    result, expected = identify(method_values(name)), EXPECTED["cases"][name]
    assert result["sums"] == pytest.approx(expected["sums"], abs=1e-3, rel=1e-3)
    if machine() == EXPECTED["machine"]:
        assert result["sha256"] == expected["sha256"]


def test_every_case_is_stored():
    assert set(METHODS) == set(EXPECTED["cases"])


def test_feature_folders_and_weights_keep_their_names():
    expected = json.loads((HERE / "configs.json").read_text())
    assert len(expected) > 50
    results = {name: config_values(settings) for name, settings in shipped_configs()}
    assert {name: results[name] for name in expected} == expected


def test_report_files_are_unchanged(tmp_path):
    files = report_files(tmp_path)
    assert files == {path.name: path.read_text() for path in (HERE / "report").iterdir()}


@pytest.mark.parametrize("name", REPORTED)
def test_settings_of_an_old_run_are_read(name):
    old = load_settings(HERE / "old_runs" / f"{name}.yaml")
    assert state_names(old) == json.loads((HERE / "configs.json").read_text())[f"{name}.yaml"]["weights"]
