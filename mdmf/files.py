"""Atomic writing of files, hashes of contents, and checks of output paths."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PARTIAL = ".part"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically: at any moment, even if the process is killed, it has its old or its new content."""
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
    """Write JSON atomically; numbers that are not finite raise a `ValueError`."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def json_sha256(value: Any, extra: bytes = b"") -> str:
    """SHA-256 of a JSON value, whatever the order of its keys, and of extra bytes."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode() + extra).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of the content of a file."""
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
    """Check that files can be written to these paths, before any long work.

    Raises:
        ValueError: if two paths are equal, one is a folder, or one is inside a file.
    """
    for number, path in enumerate(paths):
        if path.is_dir():
            raise ValueError(f"expected the path of a file, got the folder {path}")
        if path.resolve() in [other.resolve() for other in paths[:number]]:
            raise ValueError(f"{path} is given for two outputs; give different paths")
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if not parent.is_dir():
            raise ValueError(f"{path} cannot be written: {parent} is not a folder")


def is_partial(path: Path) -> bool:
    """Whether a file is the temporary file of an interrupted `write_atomic`."""
    return path.suffix == _PARTIAL
