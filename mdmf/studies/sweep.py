"""One checkpoint tested at many ways and shots: what do more classes cost, and what do more examples bring?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mdmf.engine.run_folder import RunFolder
from mdmf.engine.tester import Protocol, check_corruptions, find_result, run_test
from mdmf.engine.workspace import Workspace
from mdmf.files import file_sha256, json_sha256, write_json
from mdmf.results import Result, ResultFiles
from mdmf.settings import Settings

_SET_HERE = ("evaluation.n_way=", "evaluation.n_shot=", "evaluation.n_query=")


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

    Each combination is an ordinary test, kept in the run folder. Tests that are there already are not made again. A
    combination that the data cannot give is left out, and the reason is kept.

    Args:
        folder: of the run.
        ways, shots: to be combined.
        n_query: query videos per class.
        out: folder of the result.

    Returns:
        The result as it is written: `models` {model: {way: {shot: numbers}}}, and `impossible`, a list.

    Raises:
        ValueError: for an unfinished run, overrides of what the options set, or data that give no combination.
        FileNotFoundError: for a folder that is no run.
    """
    ways, shots = sorted(set(ways)), sorted(set(shots))
    for override in overrides:
        if override.startswith(_SET_HERE):
            raise ValueError(f"{override.split('=')[0]} is set by --ways, --shots and --queries of this command")
    run = RunFolder.open(folder)
    if not run.finished:
        raise ValueError(f"{run.folder} has not finished training; finish it with train.py --resume first")
    settings_of = {(way, shot): _settings(run, overrides, way, shot, n_query) for way in ways for shot in shots}
    first = next(iter(settings_of.values()))
    run.check_same_features(first)
    workspace = Workspace(first, progress=False, allow_code=allow_code)
    check_corruptions(workspace)
    reasons = _impossible(workspace, run, settings_of)
    models: dict[str, dict[str, dict[str, Any]]] = {}
    bar = tqdm(
        total=len(settings_of) - len(reasons), desc=f"sweep of {run.folder.name}", unit="test", disable=not progress
    )
    with bar:
        for (way, shot), settings in settings_of.items():
            if (way, shot) in reasons:
                continue
            tested = _test(workspace, run, settings)
            for name, numbers in tested.models.items():
                accuracy = {"accuracy_percent": numbers.accuracy_percent, "interval": numbers.interval}
                models.setdefault(name, {}).setdefault(str(way), {})[str(shot)] = accuracy
            bar.update()
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
        "models": models,
        "our_reading": [name for name in models if tested.is_our_reading(name)],
        "impossible": [{"n_way": way, "n_shot": shot, "reason": why} for (way, shot), why in reasons.items()],
        "overrides": list(overrides),
        "file": str(file),
    }
    write_json(file, result)
    return result


def _settings(run: RunFolder, overrides: Sequence[str], way: int, shot: int, n_query: int) -> Settings:
    """Of one combination; what the run asks for anyway is not said again, so that its own tests are found."""
    protocol = Protocol.of(run.settings(list(overrides)))
    wanted = {"n_way": way, "n_shot": shot, "n_query": n_query}
    words = [f"evaluation.{name}={value}" for name, value in wanted.items() if getattr(protocol, name) != value]
    return run.settings([*overrides, *words])


def _impossible(
    workspace: Workspace, run: RunFolder, settings_of: dict[tuple[int, int], Settings]
) -> dict[tuple[int, int], str]:
    """(way, shot) -> why the data do not give such episodes.

    Raises:
        ValueError: if they give none of them.
    """
    _ = workspace.index  # what is wrong with the data themselves is no matter of ways and shots
    reasons = _refusals(workspace, settings_of, usable=False)
    if len(reasons) < len(settings_of):
        _ = workspace.stores.readers
        reasons |= _refusals(
            workspace, {key: settings_of[key] for key in settings_of if key not in reasons}, usable=True
        )
    if len(reasons) == len(settings_of):
        lines = [f"  {way}-way {shot}-shot: {why}" for (way, shot), why in reasons.items()]
        raise ValueError("\n".join([f"the data of {run.folder} give none of these episodes:", *lines]))
    return {key: reasons[key] for key in settings_of if key in reasons}


def _refusals(
    workspace: Workspace, settings_of: dict[tuple[int, int], Settings], *, usable: bool
) -> dict[tuple[int, int], str]:
    """What the sampler says against some of the episodes: of all listed videos, or of those that could be read."""
    reasons = {}
    for key, settings in settings_of.items():
        protocol = Protocol.of(settings)
        check: Callable[..., Any] = (
            partial(workspace.sampler, seed=protocol.seed, of_test=True) if usable else workspace.check_episodes
        )
        try:
            check(protocol.split, n_way=protocol.n_way, n_shot=protocol.n_shot, n_query=protocol.n_query)
        except ValueError as error:
            first, *others = str(error).split("\n  ")  # a line for each class that is too small, and what to do
            reasons[key] = f"{first}, and others likewise" if len(others) > 1 else first
    return reasons


def _test(workspace: Workspace, run: RunFolder, settings: Settings) -> Result:
    """The result of one combination: its file, if it is of these settings and weights, or a new test."""
    protocol = Protocol.of(settings, trained_with=run.settings())
    result = find_result(ResultFiles(run.folder, protocol.name), settings)
    if result is None or result.checkpoint_sha256 != file_sha256(run.best):
        workspace.settings = settings  # way and shot alone differ: index, features and text stay open
        result = run_test(workspace, checkpoint=run.best, folder=run.folder, protocol=protocol)
    return result
