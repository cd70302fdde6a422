"""Sweeps: the accuracy of one checkpoint against the number of ways and shots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mdmf.engine.run_folder import RunFolder
from mdmf.engine.tester import Protocol, check_corruptions, result_of_run
from mdmf.engine.workspace import Workspace
from mdmf.files import json_sha256, write_json
from mdmf.results import Result
from mdmf.settings import Settings

_SIZES = ("evaluation.n_way=", "evaluation.n_shot=", "evaluation.n_query=")


def run_sweep(
    folder: Path,
    *,
    ways: Sequence[int],
    shots: Sequence[int],
    n_query: int,
    out: Path,
    overrides: Sequence[str] = (),
    progress: bool = True,
    allow_code: bool = False,
) -> dict[str, Any]:
    """Test a run's best weights, and its baselines, at every way and shot; write `sweep_<run>_<key>.json`.

    Each combination is an ordinary test, saved in the run folder; existing tests are reused. Combinations that the
    data are too small for are left out and listed with the reason.

    Args:
        folder: run folder.
        ways, shots: every pair of them is tested.
        n_query: query videos per class.
        out: folder of the result.
        overrides: settings of all tests.

    Returns:
        The written result, with `models` {model: {way: {shot: numbers}}} and the list `impossible`.

    Raises:
        ValueError: for an unfinished run, overrides of way, shot or queries, or data too small for every combination.
        FileNotFoundError: for a folder that is not a run folder.
    """
    ways, shots = sorted(set(ways)), sorted(set(shots))
    run = _finished_run(folder, overrides)
    settings_of = {(way, shot): _settings(run, overrides, way, shot, n_query) for way in ways for shot in shots}
    first = next(iter(settings_of.values()))
    run.check_same_features(first)
    workspace = Workspace(first, progress=False, allow_code=allow_code)
    check_corruptions(workspace)
    reasons = _impossible(workspace, run, settings_of)
    possible = {size: settings for size, settings in settings_of.items() if size not in reasons}
    bar = tqdm(possible.items(), desc=f"sweep of {run.folder.name}", unit="test", disable=not progress)
    results = {size: result_of_run(run, settings, workspace.with_episodes_of) for size, settings in bar}
    tested = next(iter(results.values()))
    key = json_sha256([str(run.folder), ways, shots, n_query, list(overrides)])[:6]
    file = out / f"sweep_{run.folder.resolve().name}_{key}.json"
    result = {
        "run": str(run.folder),
        "data": first.data.name,
        "model": first.model.table_name,
        "split": first.evaluation.split,
        "ways": ways,
        "shots": shots,
        "n_query": n_query,
        "n_episodes": first.evaluation.n_episodes,
        "seed": first.evaluation.seed,
        "models": {name: _accuracies(results, name) for name in tested.models},
        "our_reading": [name for name in tested.models if tested.is_our_reading(name)],
        "impossible": [{"n_way": way, "n_shot": shot, "reason": why} for (way, shot), why in reasons.items()],
        "overrides": list(overrides),
        "file": str(file),
    }
    write_json(file, result)
    return result


def _finished_run(folder: Path, overrides: Sequence[str]) -> RunFolder:
    """The run of a folder.

    Raises:
        ValueError: if it is unfinished, or an override sets way, shot or queries.
        FileNotFoundError: if the folder is not a run folder.
    """
    for override in overrides:
        if override.startswith(_SIZES):
            raise ValueError(
                f"{override.split('=')[0]} is set by --ways, --shots and --queries of this command; remove it"
            )
    run = RunFolder.open(folder)
    if not run.finished:
        raise ValueError(f"{run.folder} has not finished training; finish it with mdmf train --resume")
    return run


def _accuracies(results: Mapping[tuple[int, int], Result], model: str) -> dict[str, dict[str, Any]]:
    """way -> shot -> accuracy and interval of one model."""
    accuracies: dict[str, dict[str, Any]] = {}
    for (way, shot), result in results.items():
        numbers = result.models[model]
        accuracy = {"accuracy_percent": numbers.accuracy_percent, "interval": numbers.interval}
        accuracies.setdefault(str(way), {})[str(shot)] = accuracy
    return accuracies


def _settings(run: RunFolder, overrides: Sequence[str], way: int, shot: int, n_query: int) -> Settings:
    """Settings of one combination; only differences are set, so that the tests of the run itself are reused."""
    protocol = Protocol.of(run.settings(list(overrides)))
    wanted = {"n_way": way, "n_shot": shot, "n_query": n_query}
    words = [f"evaluation.{name}={value}" for name, value in wanted.items() if getattr(protocol, name) != value]
    return run.settings([*overrides, *words])


def _impossible(
    workspace: Workspace, run: RunFolder, settings_of: Mapping[tuple[int, int], Settings]
) -> dict[tuple[int, int], str]:
    """(way, shot) -> why the data are too small for such episodes.

    Raises:
        ValueError: if they are too small for all of them.
    """
    _ = workspace.index  # raises the errors of the listing, which do not depend on way and shot
    reasons = {}
    for key, settings in settings_of.items():
        if reason := _sampling_error(workspace, Protocol.of(settings), readable=False):
            reasons[key] = reason
    if len(reasons) < len(settings_of):
        _ = workspace.stores.readers  # encodes what is missing
        for key in settings_of.keys() - reasons.keys():
            if reason := _sampling_error(workspace, Protocol.of(settings_of[key]), readable=True):
                reasons[key] = reason
    if len(reasons) == len(settings_of):
        lines = [f"  {way}-way {shot}-shot: {reasons[way, shot]}" for way, shot in settings_of]
        raise ValueError("\n".join([f"the data of {run.folder} are too small for all of these episodes:", *lines]))
    return {key: reasons[key] for key in settings_of if key in reasons}


def _sampling_error(workspace: Workspace, protocol: Protocol, *, readable: bool) -> str | None:
    """Why episodes cannot be drawn from all listed videos, or from the readable ones; None if they can."""
    try:
        if readable:
            workspace.split(protocol.split, role="test").sampler(protocol.request)
        else:
            workspace.check_episodes(protocol.split, protocol.request)
    except ValueError as error:
        first, *others = str(error).split("\n  ")  # a line for each class that is too small, and the remedy
        return f"{first}, and others likewise" if len(others) > 1 else first
    return None
