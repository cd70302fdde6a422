"""Files of a training: `environment.json`, `metrics.jsonl` and, when it has finished, `training.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, TypeAdapter, ValidationError

from mdmf.files import write_atomic, write_json
from mdmf.records import AccuracyRecord, Record, read_record


class TrainRow(Record):
    """A training step with its loss, and other numbers by name."""

    __pydantic_extra__: dict[str, float]
    kind: Literal["train"]
    step: NonNegativeInt
    loss: float

    @property
    def numbers(self) -> dict[str, float]:
        """Name -> value of the loss and the other numbers."""
        return {"loss": self.loss, **self.__pydantic_extra__}


class ValRow(AccuracyRecord):
    """A validation; `is_best` if its accuracy is higher than before."""

    kind: Literal["val"]
    step: NonNegativeInt
    is_best: bool


@dataclass(frozen=True)
class Metrics:
    """Rows of training steps and of validations, in order."""

    train: list[TrainRow] = field(default_factory=list)
    val: list[ValRow] = field(default_factory=list)


class TrainingSummary(Record):
    """Number of steps, and step and accuracy on val of the saved weights."""

    n_steps: int
    best_step: int
    best_val_accuracy_percent: float
    stopped_early: bool


_ROW: TypeAdapter[TrainRow | ValRow] = TypeAdapter(Annotated[TrainRow | ValRow, Field(discriminator="kind")])


def append_metrics(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row to `metrics.jsonl`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")


def cut_metrics(path: Path, last_step: int) -> None:
    """Remove the rows of `metrics.jsonl` after a step, and an incomplete last line."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        write_atomic(path, "".join(f"{line}\n" for line in lines if _step_of(line) <= last_step).encode())


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def read_metrics(path: Path) -> Metrics:
    """The rows of `metrics.jsonl` without an incomplete last line; no rows if the file does not exist."""
    metrics = Metrics()
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            row = _ROW.validate_json(line)
        except ValidationError:
            continue
        if isinstance(row, TrainRow):
            metrics.train.append(row)
        else:
            metrics.val.append(row)
    return metrics


def write_training(path: Path, summary: TrainingSummary) -> None:
    """Write `training.json`, which marks a training as finished."""
    write_json(path, summary.as_json())


def read_training(path: Path) -> TrainingSummary | None:
    """Summary of a training; None if it has not finished.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.is_file():
        return None
    return read_record(TrainingSummary, path, what="the summary of a training", remedy="train again")


def read_environment(path: Path) -> dict[str, Any]:
    """Versions and hardware of `environment.json`; empty if the file does not exist.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.is_file():
        return {}
    return read_record(Record, path, what="a record of versions and hardware", remedy="delete it").as_json()
