"""What training writes into its run folder: `environment.json`, `metrics.jsonl`, and `training.json` at its end."""

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
    """A training step: its loss, and further numbers by name."""

    __pydantic_extra__: dict[str, float]
    kind: Literal["train"]
    step: NonNegativeInt
    loss: float

    @property
    def numbers(self) -> dict[str, float]:
        """The loss and all other numbers of the step."""
        return {"loss": self.loss, **self.__pydantic_extra__}


class ValRow(AccuracyRecord):
    """A validation; `is_best` if no earlier one was as good."""

    kind: Literal["val"]
    step: NonNegativeInt
    is_best: bool


@dataclass(frozen=True)
class Metrics:
    """The rows of training and those of validation, in order."""

    train: list[TrainRow] = field(default_factory=list)
    val: list[ValRow] = field(default_factory=list)


class TrainingSummary(Record):
    """How training ended: steps taken, the step of the kept weights, and their accuracy on val."""

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
    """Drop the rows of `metrics.jsonl` after a step, and a half-written last line."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        write_atomic(path, "".join(f"{line}\n" for line in lines if _step_of(line) <= last_step).encode())


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def read_metrics(path: Path) -> Metrics:
    """The rows of `metrics.jsonl`, none if there is no such file; a half-written last line is left out."""
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
    """Write `training.json`, which says that training has finished."""
    write_json(path, summary.as_json())


def read_training(path: Path) -> TrainingSummary | None:
    """How training ended; None if it has not.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.is_file():
        return None
    return read_record(TrainingSummary, path, what="the summary of a training", remedy="train again")


def read_environment(path: Path) -> dict[str, Any]:
    """Versions and hardware of `environment.json`; empty if there is no such file.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.is_file():
        return {}
    return read_record(Record, path, what="a record of versions and hardware", remedy="delete it").as_json()
