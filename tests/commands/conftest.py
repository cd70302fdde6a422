"""A small world, its features and a run on it, shared by the tests of the commands."""

import contextlib
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_commands import BASELINES, FLOW, TrainedOnBoth, small

from mdmf.cli import main
from mdmf.shapes.world import write_shapes_world


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Two videos of each class of the embedded world, in the layout of anybody's folder of clips."""
    root = tmp_path_factory.mktemp("world") / "videos"
    write_shapes_world(root, n_videos_per_class=2, n_workers=1, progress=False)
    (root / "world.json").unlink()
    return root


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def store(world, tmp_path_factory) -> Path:
    """The features of the small world, made once."""
    folder = tmp_path_factory.mktemp("features") / "store"
    assert main(["extract", "--cfg", "clips", "--quiet", *small(world, store=folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def trained_on_both(world, store, tmp_path_factory) -> TrainedOnBoth:
    """AMFAR on the small world, from its videos to its table."""
    root = tmp_path_factory.mktemp("both")
    stores = [f"data.store={store}", f"data.flow_store={root / 'flow'}"]
    own = [*stores, *FLOW, "model.name=amfar", f"evaluation.baselines=[{', '.join(BASELINES)}]", f"output.root={root}"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["train", "--cfg", "clips", "--quiet", *small(world, *own)]) == 0
    return TrainedOnBoth(root / "clips", stores, said.getvalue())


@pytest.fixture
def run(trained_on_both, place) -> Path:
    """That run, to be tested by one test alone."""
    return Path(shutil.copytree(trained_on_both.folder, place / "run"))


@pytest.fixture(scope="session")
def flows(world, tmp_path_factory) -> Path:
    """Flow of another program's making, an array a video: a class moves in a direction of its own."""
    root = tmp_path_factory.mktemp("disk") / "flows"
    for number, folder in enumerate(sorted(path for path in world.iterdir() if path.is_dir())):
        (root / folder.name).mkdir(parents=True)
        angle = 2 * np.pi * number / 40
        for video in folder.iterdir():
            flow = np.zeros((27, 12, 12, 2), dtype=np.float32)
            flow[:, 2:8, 3:9] = 4 * np.array([np.cos(angle), np.sin(angle)])
            np.save(root / folder.name / f"{video.stem}.npy", flow)
    return root
