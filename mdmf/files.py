"""Files that are there whole or not at all, and their names by content."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PARTIAL = ".part"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a kill at any moment, finds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; a number that is not finite is an error, not `NaN`."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def json_sha256(value: Any, more: bytes = b"") -> str:
    """Names plain values, and bytes beside them, by their content; the order of keys does not count."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode() + more).hexdigest()


def file_sha256(path: Path) -> str:
    """Names a file by its content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; -1 for what cannot be looked at, such as a dangling link."""
    try:
        if path.is_dir():
            return sum(entry.stat().st_size for entry in os.scandir(path))
        return path.stat().st_size
    except OSError:
        return -1


def content_sample(path: Path, *, n_blocks: int = 16, block_bytes: int = 4096) -> str:
    """Identifies a file by its size and some blocks of it: fast for large files; "" for a file that cannot be read."""
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            for block in range(n_blocks):
                file.seek(max(size - block_bytes, 0) * block // (n_blocks - 1))
                digest.update(file.read(block_bytes))
    except OSError:
        return ""
    return digest.hexdigest()[:16]


def check_outputs(paths: Sequence[Path]) -> None:
    """See before any long work whether files can be written there.

    Raises:
        ValueError: if two are one file, one is a folder, or lies in what is no folder.
    """
    for number, path in enumerate(paths):
        if path.is_dir():
            raise ValueError(f"{path} is a folder; give the name of a file")
        if path.resolve() in [other.resolve() for other in paths[:number]]:
            raise ValueError(f"{path} is asked for twice; the second would take the place of the first")
        above = next(folder for folder in (path.absolute(), *path.absolute().parents)[1:] if folder.exists())
        if not above.is_dir():
            raise ValueError(f"{path} cannot be written: {above} is no folder")


def is_partial(path: Path) -> bool:
    """Whether a file is what a killed `write_atomic` left behind."""
    return path.suffix == _PARTIAL
