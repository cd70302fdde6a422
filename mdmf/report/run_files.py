"""The files of a run, or of a test without a run, that a report shows; read without model or code of the run."""

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
    """Contents of the files of a run.

    Attributes:
        files: paths of the test that is shown in detail.
        label: name of the run in the page.
        results: protocol name -> result of the test.
        episodes: episodes of the detailed test; None if they cannot be read, because of `episodes_problem`.
        evidence: evidence of the detailed test; without evidence, all its parts are missing.
        evidence_arrays: arrays of the evidence.
        metrics: rows of the training log.
        training: summary of the training; None for an unfinished training and for a test without a run.
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
        """Result of the detailed test."""
        return self.results[self.files.protocol]

    @property
    def model(self) -> str:
        """Name of the tested model."""
        return self.result.model

    @property
    def classes(self) -> list[str]:
        """Classes of the test, in the order of their ids."""
        return self.result.classes

    @property
    def branches(self) -> list[str]:
        """Names of the branches of the model."""
        return list(self.result.models[self.model].branches)

    @property
    def source(self) -> str:
        """File name of the result."""
        return self.files.result.name


def find_results(folder: Path) -> dict[str, Result]:
    """Protocol name -> result, of all tests in a folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if one is damaged.
    """
    tests = find_tests(folder)
    if not tests:
        raise FileNotFoundError(f"{folder} has no test result (test_*.json); test it first: mdmf test --run {folder}")
    return {files.protocol: read_result(files.result) for files in tests}


def choose_protocol(folder: Path, results: Mapping[str, Result], requested: str | None = None) -> str:
    """Name of the protocol to show in detail: the requested one, else the one closest to the run's settings.

    Preferred are, in this order, clean input, the data and the model of the run, test classes, way and shot of the run,
    and many episodes.

    Raises:
        ValueError: if the requested one does not exist.
    """
    if requested is not None:
        if requested not in results:
            raise ValueError(f"{folder} has no test {requested!r}; it has {', '.join(results)}")
        return requested
    episode = _episode_settings(folder)

    def difference(name: str) -> tuple[Any, ...]:
        protocol = results[name].protocol
        changes = [bool(change) for change in (protocol.corrupt, protocol.other_data, protocol.other_model)]
        sizes = [
            episode.get(key, size) != size for key, size in protocol.model_dump(include={"n_way", "n_shot"}).items()
        ]
        return *changes, protocol.split != "test", *sizes, -protocol.n_episodes, name

    return min(results, key=difference)


def _episode_settings(folder: Path) -> dict[str, Any]:
    """Section `episode` of the config of a run; empty for a test without a run."""
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        return dict(config["episode"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        return {}


def read_run(folder: Path, *, protocol: str | None = None, label: str | None = None) -> RunFiles:
    """The files of a folder; all but a test result may be missing.

    Args:
        folder: folder of a run, or of a test without a run.
        protocol: name of the test to show in detail; default: see `choose_protocol`.
        label: name of the run in the page; default: name of the folder.

    Raises:
        FileNotFoundError: if there is no test result.
        ValueError: if a result is damaged, or the protocol does not exist.
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
