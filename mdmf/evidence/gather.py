"""What a report shows beside a test's numbers and needs the model for: prompts chosen, story boards, feature maps.

`gather_evidence` reads a test's result, answers some of its episodes again from the feature store, and writes
`evidence_<protocol>.json` and `.npz` beside it. Nothing is encoded or trained, and no world is drawn: what is not there
any more is named, with the reason, and the report says so in its place.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdmf.engine.checkpoint import write_json
from mdmf.engine.diagnostics import calibration_curve
from mdmf.evidence.feature_maps import feature_maps, selector_choices
from mdmf.evidence.opened_test import Arrays, DoesNotApply, open_test
from mdmf.evidence.story_boards import story_boards
from mdmf.files import file_sha256, write_atomic
from mdmf.results import result_model

FORMAT = 2


def evidence_files(folder: Path, protocol: str) -> tuple[Path, Path]:
    """JSON and arrays of a test's evidence."""
    return folder / f"evidence_{protocol}.json", folder / f"evidence_{protocol}.npz"


def gather_evidence(folder: Path, protocol: str, *, allow_code: bool = False) -> dict[str, Any]:
    """Gather and write the evidence of one test; what is whole and of the same test already is left as it is.

    Args:
        folder: a run folder, or that of a test without a run.
        protocol: name of the test, as in `test_<protocol>.json`.
        allow_code: whether a method of the user's own may be imported, which runs its code.

    Returns:
        The JSON part. `missing` {part: reason} and `not_applicable` {part: reason} name what it lacks of `calibration`,
        `selector`, `embeddings` and `boards`.

    Raises:
        FileNotFoundError: if there is no such test.
        ValueError: if its result cannot be read.
    """
    result_path = folder / f"test_{protocol}.json"
    result = _read_result(result_path)
    record_path, arrays_path = evidence_files(folder, protocol)
    made_from: dict[str, Any] = {"format": FORMAT, "result_sha256": file_sha256(result_path)}
    old = _read_old(record_path, arrays_path, made_from)
    if old is not None and not _n_lacking(old):
        return old
    record, arrays = _gather(folder, protocol, result, allow_code=allow_code)
    if old is not None and _n_lacking(old) < _n_lacking(record):
        return old  # what was there when it was made is gone by now
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    record = made_from | {"arrays_sha256": hashlib.sha256(buffer.getvalue()).hexdigest()} | record
    write_atomic(arrays_path, buffer.getvalue())
    write_json(record_path, record)
    return record


def _n_lacking(record: Mapping[str, Any]) -> int:
    """Parts that are missing, and videos without frames."""
    return len(record["missing"]) + len(record.get("boards", {}).get("frame_problems", {}))


def _read_result(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no test result at {path}; run the test first")
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = result["protocol"]["n_episodes"], result_model(result), result["models"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the result of a test ({error}); run the test again") from None
    return result


def _read_old(record_path: Path, arrays_path: Path, made_from: Mapping[str, Any]) -> dict[str, Any] | None:
    """Evidence of the same result, with its own arrays; None if there is none, or it is damaged."""
    try:
        old: dict[str, Any] = json.loads(record_path.read_text(encoding="utf-8"))
        _ = _n_lacking(old)
        is_same = {key: old[key] for key in made_from} == made_from
        return old if is_same and file_sha256(arrays_path) == old["arrays_sha256"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _gather(
    folder: Path, protocol: str, result: Mapping[str, Any], *, allow_code: bool
) -> tuple[dict[str, Any], Arrays]:
    """Every part that can be had; a part that fails names its reason and leaves the others alone."""
    record: dict[str, Any] = {"protocol": protocol, "model": result_model(result)}
    record |= {"not_applicable": {}, "missing": {}}
    arrays: Arrays = {}
    try:
        saved = read_arrays(folder / f"test_{protocol}_episodes.npz")
    except (ValueError, OSError) as error:
        parts = ("calibration", "selector", "embeddings", "boards")
        record["missing"] = dict.fromkeys(parts, f"the test's episodes cannot be read: {error}")
        return record, arrays
    record["calibration"] = calibration(saved, record["model"])
    try:
        opened = open_test(folder, result, saved, allow_code=allow_code)
    except (ValueError, OSError) as error:
        record["missing"] = dict.fromkeys(("selector", "embeddings", "boards"), str(error))
        return record, arrays
    for part, make in (("selector", selector_choices), ("embeddings", feature_maps), ("boards", story_boards)):
        try:
            record[part], found = make(opened)
            arrays |= found
        except DoesNotApply as reason:
            record["not_applicable"][part] = str(reason)
        except (ValueError, OSError) as error:
            record["missing"][part] = str(error)
    return record, arrays


def read_arrays(path: Path) -> Arrays:
    """All arrays of an `.npz`, without pickle.

    Raises:
        OSError: if there is none.
        ValueError: if it is damaged, or holds more than plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except OSError:
        raise
    except Exception as error:  # zipfile and zlib have errors of their own for what is cut off
        raise ValueError(f"{path.name} is damaged ({type(error).__name__})") from None


def calibration(saved: Mapping[str, np.ndarray], model: str) -> dict[str, list[dict[str, Any]]]:
    """`fused` and each branch of a model -> accuracy by confidence, from the test's own answers."""
    posteriors = {"fused": saved[f"{model}/posterior"]}
    posteriors |= {
        key.split("/")[1]: value
        for key, value in saved.items()
        if key.startswith(f"{model}/") and key.endswith("/posterior") and key.count("/") == 2
    }
    return {name: calibration_curve(posterior, saved["query_labels"]) for name, posterior in posteriors.items()}
