"""Writes the expected values: `python tests/golden/write_golden.py`. Name and explain every change that it makes."""

import json
import shutil
import tempfile
from pathlib import Path

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
)

from mdmf.config import dump_settings


def write_json(name: str, value: object) -> None:
    (HERE / name).write_text(json.dumps(value, indent=1) + "\n")


torch.set_num_threads(1)
write_json("methods.json", {"machine": machine(), "cases": {name: identify(method_values(name)) for name in METHODS}})
configs = dict(shipped_configs())
write_json("configs.json", {name: config_values(settings) for name, settings in configs.items()})
shutil.rmtree(HERE / "report", ignore_errors=True)
(HERE / "report").mkdir()
with tempfile.TemporaryDirectory() as folder:
    for name, text in report_files(Path(folder)).items():
        (HERE / "report" / name).write_text(text)
old_runs = HERE / "old_runs"
if not old_runs.is_dir():  # made once, by version 0.1: later versions must read them
    old_runs.mkdir()
    for name in REPORTED:
        (old_runs / f"{name}.yaml").write_text(dump_settings(configs[f"{name}.yaml"]))
