"""The embedded world: real files, the same from the same seed, resumable, and gone with a killed parent."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from mdmf.resources import resource_folder
from mdmf.shapes import world
from mdmf.shapes.actions import ACTIONS
from mdmf.shapes.disguises import DISGUISES, Scene
from mdmf.shapes.drawing import Sprites, draw_background, draw_sprites, random_distractors
from mdmf.shapes.world import (
    FRAME_SIZE,
    N_FRAMES,
    SHAPES_SPLIT,
    action_sprites,
    render_video,
    video_disguise,
    video_path,
    write_shapes_world,
)

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def few_actions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A world of three classes, so that a test writes it in a moment."""
    names = ["move_left", "gather", "blink"]
    monkeypatch.setattr(world, "ACTIONS", {name: ACTIONS[name] for name in names})
    return names


def write(root: Path, **settings: float) -> None:
    write_shapes_world(root, **{"n_videos_per_class": 2, "n_workers": 1, "progress": False} | settings)


def disguises(camouflage_share: float, shake_share: float, n_videos: int = 50) -> dict[tuple[str, int], str]:
    shares = {"camouflage_share": camouflage_share, "shake_share": shake_share}
    return {
        (name, number): video_disguise(name, seed=0, number=number, **shares)
        for name in ACTIONS
        for number in range(n_videos)
    }


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


def plain_video_by_hand(class_name: str, *, seed: int, number: int) -> np.ndarray:
    """A video as the world drew it before there were disguises, draw by draw."""
    rng = np.random.default_rng([seed, zlib.crc32(class_name.encode()), number])
    n_frames = int(rng.integers(24, 33))
    shift = world._camera_shake(rng, n_frames)
    wide = draw_background(rng, 72 + 2 * 2)
    canvas = np.stack([wide[2 - y : 74 - y, 2 - x : 74 - x] for x, y in shift])
    objects = action_sprites(class_name, np.linspace(0.0, 1.0, n_frames), rng)
    still = random_distractors(rng)
    distractors = Sprites(**{name: np.repeat(values, n_frames, axis=0) for name, values in vars(still).items()})
    for sprites in (distractors, objects):
        moved = {**vars(sprites), "centre": sprites.centre + (shift / 72)[:, None]}
        draw_sprites(canvas, Sprites(**moved))
    return np.round(canvas * 255).astype(np.uint8)


@pytest.mark.parametrize("class_name", ["move_left", "gather", "grow", "blink", "spin_clockwise"])
def test_plain_videos_are_those_from_before_the_disguises(class_name: str) -> None:
    for seed, number in ((0, 0), (7, 3)):
        drawn = render_video(class_name, seed=seed, number=number)
        np.testing.assert_array_equal(drawn, plain_video_by_hand(class_name, seed=seed, number=number))
        np.testing.assert_array_equal(drawn, render_video(class_name, seed=seed, number=number, disguise="plain"))


@pytest.mark.parametrize(
    ("class_name", "seed", "number", "n_frames", "colour", "contrast"),
    [
        # Made with render_video before there were disguises; a hash might change with numpy's sine.
        ("move_left", 0, 0, 26, (68.165, 79.727, 64.663), 20.097),
        ("gather", 7, 1, 32, (75.344, 77.75, 67.145), 27.342),
        ("spin_clockwise", 3, 2, 25, (134.449, 136.989, 152.287), 14.779),
    ],
)
def test_plain_videos_have_the_frozen_means(
    class_name: str, seed: int, number: int, n_frames: int, colour: tuple[float, ...], contrast: float
) -> None:
    drawn = render_video(class_name, seed=seed, number=number).astype(float)
    assert len(drawn) == n_frames
    np.testing.assert_allclose(drawn.mean(axis=(0, 1, 2)), colour, atol=0.01)
    assert drawn.std() == pytest.approx(contrast, abs=0.01)


def test_a_disguise_changes_nothing_of_the_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes: list[Scene] = []

    def remember(scene: Scene, rng: np.random.Generator) -> np.ndarray:
        scenes.append(scene)
        return np.zeros((1, 1, 1, 3))

    monkeypatch.setattr(world, "DISGUISES", dict.fromkeys(DISGUISES, remember))
    for disguise in DISGUISES:
        render_video("chase", seed=3, number=4, disguise=disguise)
    plain, *disguised = scenes
    assert len(disguised) == 2
    for scene in disguised:
        np.testing.assert_array_equal(scene.camera, plain.camera)
        np.testing.assert_array_equal(scene.background, plain.background)
        for layer, plain_layer in zip(scene.layers, plain.layers, strict=True):
            for name, values in vars(plain_layer).items():
                np.testing.assert_array_equal(vars(layer)[name], values)


def test_disguised_videos_are_functions_of_seed_class_number_and_disguise() -> None:
    videos = {disguise: render_video("chase", seed=1, number=5, disguise=disguise) for disguise in DISGUISES}
    for disguise, frames in videos.items():
        np.testing.assert_array_equal(frames, render_video("chase", seed=1, number=5, disguise=disguise))
        assert frames.shape == videos["plain"].shape
        assert frames.dtype == np.uint8
    assert np.abs(videos["camouflage"].astype(int) - videos["plain"]).mean() > 10
    assert np.abs(videos["shake"].astype(int) - videos["plain"]).mean() > 5


def test_shares_are_those_of_the_videos() -> None:
    kinds = Counter(disguises(0.3, 0.45).values())
    n_videos = kinds.total()
    for disguise, share in (("camouflage", 0.3), ("shake", 0.45), ("plain", 0.25)):
        deviation = np.sqrt(share * (1 - share) / n_videos)
        assert kinds[disguise] / n_videos == pytest.approx(share, abs=3.5 * deviation)


def test_disguises_are_drawn_per_video_and_not_per_class() -> None:
    drawn = disguises(1 / 3, 1 / 3)
    counts = {name: Counter(kind for (its_class, _), kind in drawn.items() if its_class == name) for name in ACTIONS}
    for name, kinds in counts.items():
        assert min(kinds[disguise] for disguise in DISGUISES) >= 5, (name, kinds)  # of 50, 16.7 expected
    by_number = [Counter(drawn[name, number] for name in ACTIONS) for number in range(50)]
    assert all(len(kinds) == 3 for kinds in by_number)


def test_shares_only_relabel() -> None:
    small, large = disguises(0.2, 0.1), disguises(0.6, 0.4)
    assert all(large[video] == kind for video, kind in small.items() if kind != "plain")
    assert set(disguises(0.0, 0.0).values()) == {"plain"}
    assert set(disguises(1.0, 0.0).values()) == {"camouflage"}
    assert set(disguises(0.0, 1.0).values()) == {"shake"}
    assert "plain" not in large.values()


@pytest.mark.parametrize(
    ("camouflage_share", "shake_share"), [(-0.1, 0.0), (0.0, -0.1), (0.6, 0.5), (1.1, 0.0), (float("nan"), 0.0)]
)
def test_impossible_shares_are_refused(tmp_path: Path, camouflage_share: float, shake_share: float) -> None:
    shares = {"camouflage_share": camouflage_share, "shake_share": shake_share}
    with pytest.raises(ValueError, match=rf"together at most 1, got {camouflage_share} and {shake_share}"):
        video_disguise("chase", seed=0, number=0, **shares)
    with pytest.raises(ValueError, match="together at most 1"):
        write(tmp_path, **shares)
    assert contents(tmp_path) == {}


def test_complementary_world_holds_each_video_under_its_disguise(tmp_path: Path, few_actions: list[str]) -> None:
    shares = {"camouflage_share": 0.35, "shake_share": 0.35}
    write(tmp_path / "plain", n_videos_per_class=3)
    write(tmp_path / "both", n_videos_per_class=3, **shares)
    seen = set()
    for name in few_actions:
        for number in range(3):
            disguise = video_disguise(name, seed=0, number=number, **shares)
            seen.add(disguise)
            path = video_path(tmp_path / "both", name, number)
            drawn = render_video(name, seed=0, number=number, disguise=disguise)
            assert np.abs(read(path).astype(int) - drawn).mean() < 12
            same_file = path.read_bytes() == video_path(tmp_path / "plain", name, number).read_bytes()
            assert same_file == (disguise == "plain")
    assert seen == set(DISGUISES)


def test_world_from_before_the_disguises_is_one_without_them(tmp_path: Path, few_actions: list[str]) -> None:
    write(tmp_path)
    path = tmp_path / "world.json"
    settings = json.loads(path.read_text())
    assert settings.pop("camouflage_share") == settings.pop("shake_share") == 0.0
    path.write_text(json.dumps(settings))
    before = contents(tmp_path)
    write(tmp_path)
    with pytest.raises(ValueError, match=r"shake_share: 0\.0 in the folder, 0\.5 requested"):
        write(tmp_path, shake_share=0.5)
    assert contents(tmp_path) == before


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
    write(tmp_path / "one", camouflage_share=0.4, shake_share=0.4)
    write(tmp_path / "two", camouflage_share=0.4, shake_share=0.4, n_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_failed_video_leaves_nothing_under_its_name(
    tmp_path: Path, few_actions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(frames: np.ndarray, path: Path, codec: str) -> None:
        path.write_bytes(b"half a video")
        raise OSError("disk full")

    monkeypatch.setattr(world, "_encode", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path)
    assert list(contents(tmp_path)) == ["world.json"]


@pytest.mark.parametrize(
    "settings", [{"seed": 1}, {"n_videos_per_class": 3}, {"camouflage_share": 0.5}, {"shake_share": 0.5}]
)
def test_world_of_other_settings_is_refused(tmp_path: Path, few_actions: list[str], settings: dict[str, float]) -> None:
    write(tmp_path)
    before = contents(tmp_path)
    (name,) = settings
    with pytest.raises(ValueError, match=rf"has other settings \({name}: .* requested\).*another folder"):
        write(tmp_path, **settings)
    assert contents(tmp_path) == before


def test_world_of_an_older_version_is_refused(tmp_path: Path, few_actions: list[str]) -> None:
    write(tmp_path)
    settings = json.loads((tmp_path / "world.json").read_text())
    (tmp_path / "world.json").write_text(json.dumps(settings | {"version": 0}))
    with pytest.raises(ValueError, match="version: 0 in the folder"):
        write(tmp_path)


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"has no world\.json"):
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


def test_unknown_disguise_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown disguise 'fog'; expected one of"):
        render_video("chase", seed=0, number=0, disguise="fog")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the workers in /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "make.py"
    script.write_text(
        "from pathlib import Path\nfrom mdmf.shapes.world import write_shapes_world\n"
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
