"""What a test result on disk must hold (`test_<protocol>.json`): seen once, where it is read, by all that read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Numbers(_Part):
    accuracy_percent: float
    interval: float


class _Model(_Numbers):
    per_class_percent: dict[str, float | None]
    branches: dict[str, _Numbers]


class _Protocol(_Part):
    split: str
    n_way: int
    n_shot: int
    n_query: int
    n_episodes: int
    seed: int
    group_disjoint: bool


class _Result(_Part):
    data: str
    protocol: _Protocol
    checkpoint: str | None
    checkpoint_sha256: str | None
    settings: dict[str, dict[str, Any]]
    text_weight: float
    notes: list[str]
    missing: dict[str, float]
    models: dict[str, _Model]
    environment: dict[str, Any]


def result_model(result: Mapping[str, Any]) -> str:
    """Name of the tested model in `models`; the other ones are its baselines. 0.1 wrote it into the settings alone."""
    return str(result.get("model", result["settings"]["model"]["name"]))


def read_test_result(path: Path) -> dict[str, Any]:
    """A test result as it was written.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not what a test writes: it is damaged, or of another version.
    """
    try:
        result: dict[str, Any] = json.loads(path.read_bytes())
        _Result.model_validate(result)
        if result_model(result) not in result["models"]:
            raise ValueError(f"it has no numbers of {result_model(result)!r}")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise ValueError(f"{path} is not the result of a test ({place}: {first['msg']}); test again") from None
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is not the result of a test ({type(error).__name__}: {error}); test again") from None
    return result
