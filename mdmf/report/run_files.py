"""The files of one run or test folder, read for a report. Nothing in them is run, and no model is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mdmf.files import file_sha256
from mdmf.results import read_test_result, result_model

_PREFIX = "test_"
_ALL_EVIDENCE = ("calibration", "selector", "embeddings", "boards")


@dataclass(frozen=True)
class RunFiles:
    """What a report knows of a run.

    Attributes:
        folder: of the run, or of a test without a run.
        label: its name in the page.
        results: protocol name -> `test_<protocol>.json`.
        protocol: the one that is looked at in detail.
        episodes: arrays of `test_<protocol>_episodes.npz`; empty if it is not there.
        evidence: `evidence_<protocol>.json`; its arrays in `evidence_arrays`.
        metrics: rows of `metrics.jsonl`; empty for a test without training.
        training: `training.json`; empty likewise.
        environment: `environment.json`, or that of the test.
    """

    folder: Path
    label: str
    results: dict[str, dict[str, Any]]
    protocol: str
    episodes: dict[str, np.ndarray] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    evidence_arrays: dict[str, np.ndarray] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def result(self) -> dict[str, Any]:
        """The result that is looked at in detail."""
        return self.results[self.protocol]

    @property
    def model(self) -> str:
        """Name of the model that was tested; the others are its baselines."""
        return result_model(self.result)

    @property
    def classes(self) -> list[str]:
        """The classes of the test, in the order of their ids."""
        return list(self.result["models"][self.model]["per_class_percent"])

    @property
    def branches(self) -> list[str]:
        """Of the model."""
        return list(self.result["models"][self.model]["branches"])

    @property
    def source(self) -> str:
        """Name of the file that the numbers are from."""
        return f"{_PREFIX}{self.protocol}.json"


def find_results(folder: Path) -> dict[str, dict[str, Any]]:
    """All test results of a folder by the name of their protocol.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if one is not a whole result.
    """
    paths = sorted(folder.glob(f"{_PREFIX}*.json")) if folder.is_dir() else []
    if not paths:
        raise FileNotFoundError(f"{folder} holds no test result ({_PREFIX}*.json); test it first with tools/test.py")
    return {path.stem.removeprefix(_PREFIX): read_test_result(path) for path in paths}


def choose_protocol(folder: Path, results: Mapping[str, Any], asked: str | None = None) -> str:
    """The protocol to look at in detail: the one asked for, else the plainest.

    Plain is: nothing corrupted, the run's own data and model, test classes, the way and shot that the run is set to.

    Raises:
        ValueError: if the one asked for is not there.
    """
    if asked is not None:
        if asked not in results:
            raise ValueError(f"{folder} has no test {asked!r}; it has {', '.join(results)}")
        return asked
    episode = _settings_of(folder).get("episode", {})

    def oddness(name: str) -> tuple[Any, ...]:
        protocol = results[name]["protocol"]
        odd = [bool(protocol.get(key)) for key in ("corrupt", "other_data", "other_model")]
        sizes = [protocol[key] != episode.get(key, protocol[key]) for key in ("n_way", "n_shot")]
        return *odd, protocol["split"] != "test", *sizes, -protocol["n_episodes"], name

    return min(results, key=oddness)


def _settings_of(folder: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return {key: part for key, part in found.items() if isinstance(part, dict)} if isinstance(found, dict) else {}


def read_run(folder: Path, *, protocol: str | None = None, label: str | None = None) -> RunFiles:
    """Read what a folder holds; only a test result must be there.

    Raises:
        FileNotFoundError: if no test result is there.
        ValueError: if a result is damaged, or the protocol asked for is not there.
    """
    results = find_results(folder)
    chosen = choose_protocol(folder, results, protocol)
    evidence, arrays = _read_evidence(folder, chosen)
    return RunFiles(
        folder=folder,
        label=label or folder.resolve().name,
        results=results,
        protocol=chosen,
        episodes=_read_episodes(folder / f"{_PREFIX}{chosen}_episodes.npz", results[chosen]),
        evidence=evidence,
        evidence_arrays=arrays,
        metrics=_read_metrics(folder / "metrics.jsonl"),
        training=_read_mapping(folder / "training.json"),
        environment=_read_mapping(folder / "environment.json") or results[chosen].get("environment", {}),
    )


def _is_row(row: Mapping[str, Any]) -> bool:
    """Whether a line of metrics is one of ours; a run of years has no 10**15 steps, and a plot could not show them."""
    needed = {"train": ("loss",), "val": ("accuracy_percent", "interval", "is_best")}.get(str(row.get("kind")))
    step = row.get("step")
    return needed is not None and type(step) is int and 0 <= step < 10**15 and all(key in row for key in needed)


def _read_evidence(folder: Path, protocol: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Evidence of exactly this result; else a record that says why there is none."""
    lacking: dict[str, Any] = {"not_applicable": {}}
    record = _read_mapping(folder / f"evidence_{protocol}.json")
    if not record:
        return lacking | {"missing": dict.fromkeys(_ALL_EVIDENCE, "no evidence was gathered for this test")}, {}
    path, result = folder / f"evidence_{protocol}.npz", folder / f"{_PREFIX}{protocol}.json"
    digests = {
        "result_sha256": file_sha256(result),
        "arrays_sha256": file_sha256(path) if path.is_file() else None,
    }
    if any(record.get(key) != digest for key, digest in digests.items()):
        return lacking | {"missing": dict.fromkeys(_ALL_EVIDENCE, "the evidence is that of another test result")}, {}
    return record, _read_arrays(path)


def _read_episodes(path: Path, result: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The answers of a test; none if they are not those of this result, in kind, shape and range."""
    arrays, n_way = _read_arrays(path), result["protocol"]["n_way"]
    n_classes = max(len(numbers["per_class_percent"]) for numbers in result["models"].values())
    answers = [f"{model}/predictions" for model in result["models"]]
    limits = {"class_ids": n_classes, "query_labels": n_way} | dict.fromkeys(answers, n_way)
    if not set(limits) <= set(arrays):
        return {}
    shape = arrays["query_labels"].shape
    same = len(shape) == 2 and all(arrays[name].shape == shape for name in answers)
    same = same and arrays["class_ids"].shape == (shape[0], n_way)
    return arrays if same and all(_is_below(arrays[name], limit) for name, limit in limits.items()) else {}


def _is_below(numbers: np.ndarray, limit: int) -> bool:
    """Whether these are whole numbers from 0 on."""
    return numbers.dtype.kind in "iu" and numbers.min(initial=0) >= 0 and numbers.max(initial=0) < limit


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Plain arrays of an `.npz`; none if it is not there or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except Exception:  # zipfile and zlib have errors of their own; a section without its arrays says so
        return {}


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl; a half-written last line is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and _is_row(row):
            rows.append(row)
    return rows
