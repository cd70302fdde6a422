"""A run folder, or that of a test without a run, as a report sees it: nothing in it is run, and no model is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mdmf.results import (
    EVIDENCE_PARTS,
    Arrays,
    Episodes,
    Evidence,
    Result,
    ResultFiles,
    find_tests,
    read_episodes,
    read_evidence,
    read_result,
)
from mdmf.training_log import Metrics, TrainingSummary, read_environment, read_metrics, read_training


@dataclass(frozen=True)
class RunFiles:
    """All that a report knows of a run, each file read once.

    Attributes:
        files: of the test that is looked at in detail.
        label: name of the run in the page.
        results: protocol name -> result of the test.
        episodes: of that test; None where they cannot be read, for the reason `episodes_problem`.
        evidence: of that test; where none was gathered, all its parts are missing.
        training: None for an unfinished training, and for a test without any.
        environment: versions and hardware of the training, or of the test.
    """

    files: ResultFiles
    label: str
    results: dict[str, Result]
    episodes: Episodes | None = None
    episodes_problem: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    evidence_arrays: Arrays = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
    training: TrainingSummary | None = None
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def result(self) -> Result:
        """Result of the test that is looked at in detail."""
        return self.results[self.files.protocol]

    @property
    def model(self) -> str:
        """Name of the tested model; the others are its baselines."""
        return self.result.model

    @property
    def classes(self) -> list[str]:
        """The classes of the test, in the order of their ids."""
        return self.result.classes

    @property
    def branches(self) -> list[str]:
        """Branches of the model."""
        return list(self.result.models[self.model].branches)

    @property
    def source(self) -> str:
        """Name of the file that the numbers are from."""
        return self.files.result.name


def find_results(folder: Path) -> dict[str, Result]:
    """All test results of a folder by the name of their protocol.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if one is not a whole result.
    """
    tests = find_tests(folder)
    if not tests:
        raise FileNotFoundError(f"{folder} holds no test result (test_*.json); test it first with tools/test.py")
    return {files.protocol: read_result(files.result) for files in tests}


def choose_protocol(folder: Path, results: Mapping[str, Result], wanted: str | None = None) -> str:
    """The protocol to look at in detail: the wanted one, else the plainest.

    Plain is: nothing corrupted, the run's own data and model, test classes, the way and shot that the run is set to.

    Raises:
        ValueError: if the wanted one is not there.
    """
    if wanted is not None:
        if wanted not in results:
            raise ValueError(f"{folder} has no test {wanted!r}; it has {', '.join(results)}")
        return wanted
    episode = _episode_settings(folder)

    def oddness(name: str) -> tuple[Any, ...]:
        protocol = results[name].protocol
        changes = [bool(change) for change in (protocol.corrupt, protocol.other_data, protocol.other_model)]
        sizes = [
            size != episode.get(key, size) for key, size in (("n_way", protocol.n_way), ("n_shot", protocol.n_shot))
        ]
        return *changes, protocol.split != "test", *sizes, -protocol.n_episodes, name

    return min(results, key=oddness)


def _episode_settings(folder: Path) -> dict[str, Any]:
    """The section `episode` of a run's config; empty for a test without a run."""
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        return dict(config["episode"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        return {}


def read_run(folder: Path, *, protocol: str | None = None, label: str | None = None) -> RunFiles:
    """Read a folder; only a test result must be there.

    Raises:
        FileNotFoundError: if no test result is there.
        ValueError: if a result is damaged, or the wanted protocol is not there.
    """
    results = find_results(folder)
    files = ResultFiles(folder, choose_protocol(folder, results, protocol))
    result = results[files.protocol]
    episodes, problem = _episodes(files, result)
    evidence, arrays = _evidence(files)
    return RunFiles(
        files=files,
        label=label or folder.resolve().name,
        results=results,
        episodes=episodes,
        episodes_problem=problem,
        evidence=evidence,
        evidence_arrays=arrays,
        metrics=read_metrics(folder / "metrics.jsonl"),
        training=read_training(folder / "training.json"),
        environment=read_environment(folder / "environment.json") or result.environment,
    )


def _episodes(files: ResultFiles, result: Result) -> tuple[Episodes | None, str]:
    try:
        return read_episodes(files.episodes, result), ""
    except (OSError, ValueError) as error:
        return None, str(error)


def _evidence(files: ResultFiles) -> tuple[Evidence, Arrays]:
    try:
        return read_evidence(files)
    except FileNotFoundError:
        reason = "no evidence was gathered for this test"
    except (OSError, ValueError) as error:
        reason = str(error)
    return Evidence(missing=dict.fromkeys(EVIDENCE_PARTS, reason)), {}
