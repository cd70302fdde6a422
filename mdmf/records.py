"""Typed records of JSON files, and their one reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """Part of a JSON file. Keys that it does not know are kept: a later version may have added them."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, populate_by_name=True)

    def as_json(self) -> dict[str, Any]:
        """Plain values with the keys of the file; fields that were never set are left out."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class AccuracyRecord(Record):
    """Mean accuracy over episodes and half the width of its 95 % interval, in percent."""

    accuracy_percent: float
    interval: float


AnyRecord = TypeVar("AnyRecord", bound=Record)


def read_record(record: type[AnyRecord], path: Path, *, what: str, remedy: str) -> AnyRecord:
    """A JSON file as a record.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not `what`; the message has the first reason, and ends with the remedy.
    """
    try:
        return record.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}"
    except (ValueError, KeyError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise ValueError(f"{path} is not {what} ({reason}); {remedy}")
