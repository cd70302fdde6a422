"""Files that are there whole or not at all."""

import os
from pathlib import Path

_PARTIAL = ".part"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a kill at any moment, finds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def is_partial(path: Path) -> bool:
    """Whether a file is what a killed `write_atomic` left behind."""
    return path.suffix == _PARTIAL
