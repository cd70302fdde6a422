"""Fixtures shared by all tests."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Model hubs are never asked by a test: a missing file must fail at once and in the same way everywhere.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.append(str(REPOSITORY))  # benchmarks/plain.py is the oracle of CLIP-M2DF


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real clips and golden values beside the project; they are not part of it, so tests skip where they are absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared test data is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def short_form() -> bool:
    """Whether tests marked `slow` take their short form (`MDMF_SHORT=1`, as in CI)."""
    return os.environ.get("MDMF_SHORT", "") == "1"


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Writes a Python module of this name; its import and the methods that it registers are forgotten afterwards."""
    from mdmf.registry import METHODS

    monkeypatch.setattr(METHODS, "_entries", {name: METHODS[name] for name in METHODS})
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)
