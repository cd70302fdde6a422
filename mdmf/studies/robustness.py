"""Robustness: the accuracy of trained runs against the strength of a corruption."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mdmf.corruptions import Corruption
from mdmf.engine.run_folder import RunFolder
from mdmf.engine.tester import Protocol, result_of_run
from mdmf.engine.workspace import Workspace
from mdmf.files import json_sha256, write_json
from mdmf.report.table import Row, Table, number, row_label
from mdmf.results import Result
from mdmf.settings import Settings
from mdmf.statistics import mean_and_spread

_NO_CORRUPTION = "''"  # an empty text in YAML
_SEED_OF_NAME = re.compile(r"-seed\d+$")


def run_robustness(
    folders: Sequence[Path],
    *,
    source: str,
    kind: str,
    strengths: Sequence[float],
    out: Path,
    overrides: Sequence[str] = (),
    progress: bool = True,
    allow_code: bool = False,
) -> dict[str, Any]:
    """Test every run at every strength of one corruption; write `<source>_<kind>_<protocol>_<key>.json` and return it.

    All runs answer the same episodes and, at one strength, see the same corrupted videos. Existing tests are reused.
    Runs whose names differ only in `-seed<number>` form one row.

    Args:
        folders: run folders.
        source: `rgb` or `flow`.
        kind: a kind of corruption (`mdmf/corruptions.py`).
        strengths: strengths of the corruption; at 0 nothing is corrupted.
        out: folder of the result.
        overrides: settings of all tests.

    Raises:
        ValueError: for an unknown kind, an invalid strength, or runs that do not fit into one table.
        FileNotFoundError: for a folder that is not a run folder.
    """
    if any(override.startswith(f"corrupt.{source}=") for override in overrides):
        raise ValueError(f"corrupt.{source} is set by --kind and --strengths of this command; remove it")
    corruptions = {strength: Corruption(kind, strength) if strength else None for strength in strengths}
    runs = [RunFolder.open(folder) for folder in folders]
    protocol = _check_runs(runs, [*overrides, f"corrupt.{source}={_NO_CORRUPTION}"])
    out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[float, list[Result]]] = {}
    open_workspace = partial(Workspace, progress=False, allow_code=allow_code)
    bar = tqdm(total=len(runs) * len(corruptions), desc=f"{kind} of {source}", unit="test", disable=not progress)
    with bar:
        for run in runs:
            name = _SEED_OF_NAME.sub("", run.folder.name)
            row = rows.setdefault(name, {strength: [] for strength in strengths})
            for strength, corruption in corruptions.items():
                settings = _settings(run, overrides, source, corruption)
                row[strength].append(result_of_run(run, settings, open_workspace))
                bar.update()
    key = json_sha256([[str(run.folder) for run in runs], list(strengths), list(overrides)])[:6]
    file = out / f"{source}_{kind}_{protocol.name}_{key}.json"
    result = {
        "source": source,
        "kind": kind,
        "strengths": list(strengths),
        "rows": {name: _summary(row) for name, row in rows.items()},
        "runs": [str(run.folder) for run in runs],
        "overrides": list(overrides),
        "file": str(file),
    }
    write_json(file, result)
    return result


def _settings(run: RunFolder, overrides: Sequence[str], source: str, corruption: Corruption | None) -> Settings:
    """Settings of one test of the run without baselines; a source that the run does not use stays clean."""
    settings = run.settings([*overrides, "evaluation.baselines=[]"])
    text = _NO_CORRUPTION if corruption is None or source not in settings.model.used_sources else corruption
    settings = run.settings([*overrides, "evaluation.baselines=[]", f"corrupt.{source}={text}"])
    run.check_same_features(settings)
    return settings


def _check_runs(runs: Sequence[RunFolder], overrides: Sequence[str]) -> Protocol:
    """The protocol of all runs.

    Raises:
        ValueError: for an unfinished or repeated run, different protocols or data, or different models in one row.
    """
    settings = [run.settings(list(overrides)) for run in runs]
    models: dict[str, Any] = {}
    for run, settings_of_run in zip(runs, settings, strict=True):
        if not run.finished:
            raise ValueError(f"{run.folder} has not finished training; finish it with mdmf train --resume")
        if _tested_data(settings_of_run) != _tested_data(settings[0]):
            raise ValueError(
                f"{run.folder} is tested on other episodes than {runs[0].folder}; call the command once for each"
            )
        name = _SEED_OF_NAME.sub("", run.folder.name)
        if models.setdefault(name, settings_of_run.model) != settings_of_run.model:
            raise ValueError(f"runs named {name} have different models, but only runs of different seeds form a row")
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise ValueError("a run is given twice")
    return Protocol.of(settings[0])


def _tested_data(settings: Settings) -> tuple[Any, ...]:
    return Protocol.of(settings), settings.data.name, settings.data.shapes


def _summary(results: Mapping[float, Sequence[Result]]) -> dict[str, Any]:
    """One row: strength -> mean and standard deviation of the accuracy over runs."""
    strengths = {}
    for strength, of_runs in results.items():
        mean, spread = mean_and_spread([result.models[result.model].accuracy_percent for result in of_runs])
        strengths[str(strength)] = {"mean": mean, "spread": spread, "n_runs": len(of_runs)}
    first = next(iter(results.values()))[0]
    return {"model": first.model, "our_reading": first.is_our_reading(first.model), "strengths": strengths}


def robustness_table(result: Mapping[str, Any]) -> Table:
    """A row per config, a column per strength: accuracy, mean ± standard deviation over runs."""
    strengths = [str(strength) for strength in result["strengths"]]
    rows: list[Row] = []
    for name, row in result["rows"].items():
        cells = [number(row["strengths"][s]["mean"], spread=row["strengths"][s]["spread"]) for s in strengths]
        rows.append([row_label(name, our_reading=row["our_reading"]), *cells])
    caption = f"accuracy in percent against the strength of {result['kind']} of {result['source']}"
    return Table("robustness", caption, ["run", *strengths], rows)
