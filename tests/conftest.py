"""Fixtures shared by all tests."""

import os
import shutil
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


@pytest.fixture(scope="session")
def shapes_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of each class of the embedded world, a folder per class; tests read them and write nothing there."""
    from mdmf.shapes.world import write_shapes_world

    root = tmp_path_factory.mktemp("shapes") / "videos"
    write_shapes_world(root, n_videos_per_class=3, n_workers=1, progress=False)
    (root / "world.json").unlink()
    return root


@pytest.fixture(scope="session")
def shapes_world(shapes_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of each of five classes of train, five of val and the ten of test, as anybody's folder of clips."""
    from mdmf.shapes.world import SHAPES_SPLIT

    root = tmp_path_factory.mktemp("shapes") / "world"
    for name in (*SHAPES_SPLIT["train"][:5], *SHAPES_SPLIT["val"][:5], *SHAPES_SPLIT["test"]):
        shutil.copytree(shapes_videos / name, root / name, ignore=shutil.ignore_patterns("002.mp4"))
    return root


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots of reports are empty drawings, which take most of the time: for tests of what else a report says."""
    monkeypatch.setattr("mdmf.report.plots.to_svg", lambda figure: '<svg xmlns="http://www.w3.org/2000/svg"/>')


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
