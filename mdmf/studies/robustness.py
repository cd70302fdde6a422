"""Trained runs tested on input that is corrupted more and more: how much does each lose?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mdmf.corruptions import Corruption
from mdmf.engine.run_folder import RunFolder
from mdmf.engine.tester import Protocol, find_result, run_test
from mdmf.engine.workspace import Workspace
from mdmf.files import file_sha256, json_sha256, write_json
from mdmf.report.table import Row, Table, number, row_label
from mdmf.results import Result, ResultFiles
from mdmf.settings import Settings
from mdmf.statistics import mean_and_spread

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
    """Test every run at every strength of one corruption of one source; write `<source>_<kind>_<protocol>.json`.

    All tests are of the same episodes and, at one strength, of the same corrupted videos. Tests that are there already
    are not made again. Runs whose names differ in `-seed<number>` alone are one row.

    Args:
        folders: run folders.
        source: `rgb` or `flow`.
        kind: a kind of corruption (`mdmf/corruptions.py`).
        strengths: of the corruption; at 0 nothing is corrupted.
        out: folder of the result.

    Raises:
        ValueError: for an unknown kind, a strength that it does not have, or runs that do not go into one table.
        FileNotFoundError: for a folder that is no run.
    """
    if any(override.startswith(f"corrupt.{source}=") for override in overrides):
        raise ValueError(f"corrupt.{source} is set by the kind and strengths of this command")
    corruptions = {strength: Corruption(kind, strength) if strength else "''" for strength in strengths}
    runs = [RunFolder.open(folder) for folder in folders]
    protocol = _check_runs(runs, [*overrides, f"corrupt.{source}=''"])
    out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[float, list[Result]]] = {}
    bar = tqdm(total=len(runs) * len(corruptions), desc=f"{kind} of {source}", unit="test", disable=not progress)
    with bar:
        for run in runs:
            name = _SEED_OF_NAME.sub("", run.folder.name)
            row = rows.setdefault(name, {strength: [] for strength in strengths})
            for strength, corruption in corruptions.items():
                settings = run.settings([*overrides, "evaluation.baselines=[]"])
                seen = corruption if source in settings.model.used_sources else "''"  # else: nothing changes for it
                settings = run.settings([*overrides, "evaluation.baselines=[]", f"corrupt.{source}={seen}"])
                row[strength].append(_result(run, settings, allow_code=allow_code))
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


def _check_runs(runs: Sequence[RunFolder], overrides: Sequence[str]) -> Protocol:
    """The protocol of all runs.

    Raises:
        ValueError: for a run that is unfinished or given twice, runs of different protocols or data, or runs of one
            row that differ in more than their seed.
    """
    settings = [run.settings(list(overrides)) for run in runs]
    models: dict[str, Any] = {}
    for run, own in zip(runs, settings, strict=True):
        if not run.finished:
            raise ValueError(f"{run.folder} has not finished training; finish it with train.py --resume first")
        if _asked(own) != _asked(settings[0]):
            raise ValueError(f"{run.folder} is tested on other episodes than {runs[0].folder}; give each its own table")
        name = _SEED_OF_NAME.sub("", run.folder.name)
        if models.setdefault(name, own.model) != own.model:
            raise ValueError(f"runs named {name} have different models; only seeds make one row")
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise ValueError("a run is given twice")
    return Protocol.of(settings[0])


def _asked(settings: Settings) -> tuple[Any, ...]:
    return Protocol.of(settings), settings.data.name, settings.data.shapes


def _result(run: RunFolder, settings: Settings, *, allow_code: bool) -> Result:
    """The result of a run's best weights, from its file or a new test."""
    run.check_same_features(settings)
    protocol = Protocol.of(settings, trained_with=run.settings())
    result = find_result(ResultFiles(run.folder, protocol.name), settings)
    if result is None or result.checkpoint_sha256 != file_sha256(run.best):  # none yet, or of weights that are gone
        workspace = Workspace(settings, progress=False, allow_code=allow_code)
        result = run_test(workspace, checkpoint=run.best, folder=run.folder, protocol=protocol)
    return result


def _summary(results: Mapping[float, Sequence[Result]]) -> dict[str, Any]:
    """One row: strength -> mean and spread of the accuracy over runs."""
    strengths = {}
    for strength, of_runs in results.items():
        mean, spread = mean_and_spread([result.models[result.model].accuracy_percent for result in of_runs])
        strengths[str(strength)] = {"mean": mean, "spread": spread, "n_runs": len(of_runs)}
    first = next(iter(results.values()))[0]
    return {"model": first.model, "our_reading": first.is_our_reading(first.model), "strengths": strengths}


def robustness_table(result: Mapping[str, Any]) -> Table:
    """Accuracy against the strength of a corruption, a row per config: mean ± standard deviation over its runs."""
    strengths = [str(strength) for strength in result["strengths"]]
    rows: list[Row] = []
    for name, row in result["rows"].items():
        cells = [number(row["strengths"][s]["mean"], spread=row["strengths"][s]["spread"]) for s in strengths]
        rows.append([row_label(name, our_reading=row["our_reading"]), *cells])
    caption = f"accuracy in percent against the strength of {result['kind']} of {result['source']}"
    return Table("robustness", caption, ["run", *strengths], rows)
