"""The embedded world: real files, the same from the same seed, resumable, and gone with a killed parent."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from mdmf.data import shapes
from mdmf.data.shape_actions import ACTIONS
from mdmf.data.shapes import FRAME_SIZE, N_FRAMES, SHAPES_SPLIT, render_video, video_path, write_shapes_world
from mdmf.resources import resource_folder

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def few_actions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A world of three classes, so that a test writes it in a moment."""
    names = ["move_left", "gather", "blink"]
    monkeypatch.setattr(shapes, "ACTIONS", {name: ACTIONS[name] for name in names})
    return names


def write(root: Path, **settings: int) -> None:
    write_shapes_world(root, **{"n_videos_per_class": 2, "n_workers": 1, "progress": False} | settings)


def read(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_split_is_24_6_10_and_covers_every_action_once() -> None:
    assert {split: len(names) for split, names in SHAPES_SPLIT.items()} == {"train": 24, "val": 6, "test": 10}
    listed = [name for names in SHAPES_SPLIT.values() for name in names]
    assert sorted(listed) == sorted(ACTIONS)


@pytest.mark.parametrize(
    ("word", "mirror"), [("left", "right"), ("up", "down"), ("grow", "shrink"), ("counterclockwise", "clockwise")]
)
def test_mirror_pairs_stand_in_one_split(word: str, mirror: str) -> None:
    split_of = {name: split for split, names in SHAPES_SPLIT.items() for name in names}
    named = {name: name.replace(word, mirror) for name in ACTIONS if word in name.split("_")}
    pairs = {name: other for name, other in named.items() if other in ACTIONS}
    assert pairs
    for name, other in pairs.items():
        assert split_of[name] == split_of[other]


def test_prompts_name_every_class_and_no_unseen_action() -> None:
    classes = yaml.safe_load((resource_folder("prompts") / "shapes.yaml").read_text(encoding="utf-8"))["classes"]
    assert sorted(classes) == sorted(ACTIONS)
    for name in (*SHAPES_SPLIT["val"], *SHAPES_SPLIT["test"]):
        assert "that" not in str(classes[name])  # "a shape that ..." names an action


def test_videos_are_real_files_with_the_stated_size_and_length(tmp_path: Path, few_actions: list[str]) -> None:
    write(tmp_path)
    for name in few_actions:
        for number in range(2):
            frames = read(video_path(tmp_path, name, number))
            assert frames.shape[1:] == (FRAME_SIZE, FRAME_SIZE, 3)
            assert N_FRAMES[0] <= len(frames) <= N_FRAMES[1]
            drawn = render_video(name, seed=0, number=number)
            assert np.abs(frames.astype(int) - drawn).mean() < 8  # compression, no more


def test_a_video_is_a_function_of_seed_class_and_number() -> None:
    same = render_video("chase", seed=1, number=5)
    np.testing.assert_array_equal(same, render_video("chase", seed=1, number=5))
    for seed, number in ((2, 5), (1, 6)):
        other = render_video("chase", seed=seed, number=number)
        assert other.shape != same.shape or np.abs(other.astype(int) - same).mean() > 1


def test_interrupted_world_is_completed_to_the_same_files(tmp_path: Path, few_actions: list[str]) -> None:
    write(tmp_path / "whole")
    write(tmp_path / "broken")
    video_path(tmp_path / "broken", few_actions[1], 1).unlink()
    kept = video_path(tmp_path / "broken", few_actions[0], 0)
    written_at = kept.stat().st_mtime_ns
    write(tmp_path / "broken")
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")
    assert kept.stat().st_mtime_ns == written_at


def test_workers_write_the_same_files_as_one_process(tmp_path: Path, few_actions: list[str]) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two", n_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_failed_video_leaves_nothing_under_its_name(
    tmp_path: Path, few_actions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(frames: np.ndarray, path: Path, codec: str) -> None:
        path.write_bytes(b"half a video")
        raise OSError("disk full")

    monkeypatch.setattr(shapes, "_encode", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path)
    assert list(contents(tmp_path)) == ["world.json"]


@pytest.mark.parametrize("settings", [{"seed": 1}, {"n_videos_per_class": 3}])
def test_world_of_other_settings_is_refused(tmp_path: Path, few_actions: list[str], settings: dict[str, int]) -> None:
    write(tmp_path)
    before = contents(tmp_path)
    (name,) = settings
    with pytest.raises(ValueError, match=rf"made with other settings \({name}: .* asked for\).*another folder"):
        write(tmp_path, **settings)
    assert contents(tmp_path) == before


def test_world_of_an_older_version_is_refused(tmp_path: Path, few_actions: list[str]) -> None:
    write(tmp_path)
    settings = json.loads((tmp_path / "world.json").read_text())
    (tmp_path / "world.json").write_text(json.dumps(settings | {"version": 0}))
    with pytest.raises(ValueError, match="version: 0 there"):
        write(tmp_path)


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holds no world\.json"):
        write(tmp_path)
    assert list(contents(tmp_path)) == ["holiday.mp4"]


@pytest.mark.parametrize("settings", [{"n_videos_per_class": 0}, {"n_workers": 0}])
def test_impossible_numbers_are_refused(tmp_path: Path, settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        write(tmp_path, **settings)
    assert contents(tmp_path) == {}


def test_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown action class 'moonwalk'"):
        render_video("moonwalk", seed=0, number=0)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the workers in /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "make.py"
    script.write_text(
        "from pathlib import Path\nfrom mdmf.data.shapes import write_shapes_world\n"
        "if __name__ == '__main__':\n"
        f"    root = Path({str(tmp_path / 'world')!r})\n"
        "    write_shapes_world(root, n_videos_per_class=500, n_workers=2, progress=False)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
    try:
        _wait_until(lambda: any((tmp_path / "world").glob("*/*.mp4")))
        workers = _descendants(parent.pid)
        assert len(workers) >= 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _wait_until(lambda: not any(_is_running(worker) for worker in workers))


def _wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
