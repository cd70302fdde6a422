"""Example videos, written once."""

from pathlib import Path

import av
import pytest
from example_videos import FILES, N_FRAMES, PYAV_ONLY
from video_files import write_video


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the example files for which this PyAV has encoders."""
    folder = tmp_path_factory.mktemp("videos")
    for name, settings in (FILES | PYAV_ONLY).items():
        if settings["codec"] in av.codecs_available:
            write_video(folder / name, N_FRAMES, **settings)
    return folder


@pytest.fixture(params=["pyav", "decord", "auto"])
def decoder(request: pytest.FixtureRequest) -> str:
    if request.param == "decord":
        pytest.importorskip("decord")
    return request.param
