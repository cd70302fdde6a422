"""Typed records of JSON files, and their reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """Part of a JSON file. Unknown keys, which a later version may have added, are kept."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, populate_by_name=True)

    def as_json(self) -> dict[str, Any]:
        """Plain values with the keys of the file, without fields that were not set."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class AccuracyRecord(Record):
    """Mean accuracy over episodes, and half the width of its 95 % interval, in percent."""

    accuracy_percent: float
    interval: float


AnyRecord = TypeVar("AnyRecord", bound=Record)


def read_record(record: type[AnyRecord], path: Path, *, what: str, remedy: str) -> AnyRecord:
    """A JSON file as a record.

    Args:
        record: type of the record.
        path: path of the file.
        what: name of the content, for the error message.
        remedy: what to do with a damaged file, for the error message.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if its content does not fit the record.
    """
    try:
        return record.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"
    except (ValueError, KeyError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise ValueError(f"{path} is not {what} ({reason}); {remedy}")
