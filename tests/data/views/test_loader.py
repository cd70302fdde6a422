"""Views of a made-up video, a folder of flat or sloping images whose brightness says which frame they are."""

import hashlib
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mdmf.data.sources.frames import FramesSource
from mdmf.data.video.opening import VideoError
from mdmf.data.views import loader
from mdmf.data.views.frame_choice import choose_frames, jitter_frames
from mdmf.data.views.loader import ClipViews, SourceView, load_clip_views
from mdmf.data.views.preprocess import draw_box, random_crop, resize_crop
from mdmf.structures import Preprocess, ViewRule

N_AVAILABLE = 24
SMALL = Preprocess(crop_size=8, resize_size=8)
RGB = {"rgb": SourceView(FramesSource(), SMALL)}


def load(path: Path, *, video_id: str, sources: Mapping[str, SourceView] = RGB, **rule: Any) -> ClipViews:
    return load_clip_views(path, video_id=video_id, sources=sources, rule=ViewRule(n_frames=4, **rule))


def write_flat_frames(folder: Path, n_frames: int) -> Path:
    """Frame number i is flat grey of value 10 * i."""
    folder.mkdir()
    for number in range(n_frames):
        Image.fromarray(np.full((20, 30, 3), 10 * number, np.uint8)).save(folder / f"{number:03d}.png")
    return folder


def write_sloping_frames(folder: Path, n_frames: int) -> Path:
    """All frames alike; red grows to the right, green downwards."""
    folder.mkdir()
    frame = np.zeros((60, 90, 3), np.uint8)
    frame[..., 0], frame[..., 1] = np.linspace(0, 255, 90)[None], np.linspace(0, 255, 60)[:, None]
    for number in range(n_frames):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flat_frames(tmp_path_factory.mktemp("flat") / "video", N_AVAILABLE)


@pytest.fixture(scope="module")
def sloping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sloping_frames(tmp_path_factory.mktemp("sloping") / "video", 4)


def frame_numbers(view: np.ndarray) -> list[int]:
    assert view.reshape(len(view), -1).std(axis=1).max() == 0
    return (view[:, 0, 0, 0] // 10).tolist()


def test_view_0_is_the_test_view(flat):
    clip = load(flat, video_id="v")
    assert clip.views["rgb"].shape == (1, 4, 8, 8, 3)
    assert clip.views["rgb"].dtype == np.uint8
    assert (clip.n_frames, clip.fps) == (N_AVAILABLE, None)
    assert frame_numbers(clip.views["rgb"][0]) == [3, 9, 15, 21]
    assert frame_numbers(load(flat, video_id="v", frame_rule="linspace_inner").views["rgb"][0]) == [1, 8, 15, 22]


def test_a_view_does_not_depend_on_how_many_there_are(sloping):
    many = load(sloping, video_id="v", n_variants=5, flip=True).views["rgb"]
    for n_variants in (1, 2, 4):
        np.testing.assert_array_equal(
            load(sloping, video_id="v", n_variants=n_variants, flip=True).views["rgb"], many[:n_variants]
        )


def test_views_depend_on_seed_video_and_variant_only(sloping):
    views = load(sloping, video_id="v", n_variants=3).views["rgb"]
    np.testing.assert_array_equal(load(sloping, video_id="v", n_variants=3).views["rgb"], views)
    assert not np.array_equal(views[1], views[2])
    for changes in ({"video_id": "w"}, {"video_id": "v", "seed": 1}):
        changed = load(sloping, n_variants=3, **changes).views["rgb"]
        np.testing.assert_array_equal(changed[0], views[0])
        assert not np.array_equal(changed[1], views[1])
        assert not np.array_equal(changed[2], views[2])


def test_ids_that_read_alike_when_joined_get_different_views(sloping):
    """seed 1 of variant 1 of `2`, and of variant 12 of an empty name, must not be one text."""
    one = load(sloping, video_id="2\n1", seed=1, n_variants=2).views["rgb"][1]
    other = load(sloping, video_id="1", seed=1, n_variants=3).views["rgb"][2]
    assert not np.array_equal(one, other)


def test_random_views_are_frozen(flat):
    """Frozen numbers (seed 0, video id `kick/a.mp4`): a store made today must match one made tomorrow."""
    views = load(flat, video_id="kick/a.mp4", n_variants=3).views["rgb"]
    assert [frame_numbers(view) for view in views] == [[3, 9, 15, 21], [3, 10, 12, 20], [1, 6, 13, 18]]


def test_views_are_the_same_in_spawned_workers_in_any_order(flat, sloping):
    tasks = [(flat, "a"), (sloping, "b"), (flat, "c")]
    here = [load(path, video_id=name, n_variants=3, flip=True) for path, name in tasks]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(load, path, video_id=name, n_variants=3, flip=True) for path, name in tasks[::-1]]
        there = [future.result() for future in futures][::-1]
    for mine, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(other.views["rgb"], mine.views["rgb"])
        assert (other.n_frames, other.fps) == (mine.n_frames, mine.fps)


def test_jitter_stays_within_its_segments(flat):
    views = load(flat, video_id="v", n_variants=40).views["rgb"]
    numbers = np.array([frame_numbers(view) for view in views[1:]])
    assert (numbers // 6 == np.arange(4)).all()  # segments of 24 / 4 frames
    assert len(np.unique(numbers)) > 20


def test_without_jitter_random_views_show_the_frames_of_the_rule(flat):
    views = load(flat, video_id="v", n_variants=3, jitter=False).views["rgb"]
    assert [frame_numbers(view) for view in views] == [[3, 9, 15, 21]] * 3


def test_all_frames_of_a_view_share_one_box(sloping):
    views = load(sloping, video_id="v", n_variants=6).views["rgb"]
    for view in views:
        assert (view == view[0]).all()
    assert len({view.tobytes() for view in views}) == 6


def test_boxes_have_the_scale_asked_for(sloping):
    """Red grows 255 over 90 pixels: a box of side s spans about 255 * s / 90 of it."""
    views = load(sloping, video_id="v", n_variants=30, crop_scale_min=0.5).views["rgb"][1:, 0].astype(int)
    sides = (views[:, :, -1, 0] - views[:, :, 0, 0]).mean(axis=1) * 90 / 255 * 8 / 7
    assert sides.min() > 0.5 * 60 * 0.9
    assert sides.max() < 60 * 1.1
    assert sides.max() - sides.min() > 15


def test_only_flip_mirrors(sloping):
    def are_mirrored(flip: bool) -> np.ndarray:
        views = load(sloping, video_id="v", n_variants=30, flip=flip).views["rgb"].astype(int)
        return views[:, 0, 0, 0, 0] > views[:, 0, 0, -1, 0]

    assert not are_mirrored(False).any()
    assert not are_mirrored(True)[0]
    assert 5 < are_mirrored(True).sum() < 25


def test_the_union_of_frames_is_read_once(flat, monkeypatch):
    asked = []
    open_folder = loader.open_video

    def open_and_listen(path, *, decoder):
        reader = open_folder(path, decoder=decoder)
        read = reader.read
        reader.read = lambda indices: asked.append(list(indices)) or read(indices)
        return reader

    monkeypatch.setattr(loader, "open_video", open_and_listen)
    views = load(flat, video_id="v", n_variants=4).views["rgb"]
    assert asked == [sorted({number for view in views for number in frame_numbers(view)})]


def test_a_video_of_one_frame_has_views(tmp_path):
    folder = write_sloping_frames(tmp_path / "still", 1)
    clip = load(folder, video_id="v", n_variants=3)
    assert clip.n_frames == 1
    assert clip.views["rgb"].shape == (3, 4, 8, 8, 3)
    assert (clip.views["rgb"] == clip.views["rgb"][:, :1]).all()


def test_short_videos_and_bad_ones_are_refused(tmp_path):
    folder = write_flat_frames(tmp_path / "short", 3)
    assert load(folder, video_id="v").views["rgb"].shape[1] == 4
    with pytest.raises(ValueError, match="3 frames, fewer than the T = 4"):
        load(folder, video_id="v", short="refuse")
    with pytest.raises(VideoError, match="no such file"):
        load(tmp_path / "absent.mp4", video_id="v")


def plain_rgb_views(path: Path, *, video_id: str, n_frames: int, n_variants: int, flip: bool) -> np.ndarray:
    """The loader as it was before there was flow, in one piece."""
    digests = [hashlib.sha256(f"0\n{variant}\n{video_id}".encode()).digest() for variant in range(1, n_variants)]
    generators = [
        np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little"))) for digest in digests
    ]
    with loader.open_video(path) as reader:
        test_numbers = choose_frames(reader.n_frames, n_frames)
        numbers = [test_numbers] + [jitter_frames(reader.n_frames, n_frames, rng=rng) for rng in generators]
        wanted, places = np.unique(numbers, return_inverse=True)
        frames = reader.read(wanted)
    test_places, *random_places = places.reshape(n_variants, n_frames)
    views = [np.stack([resize_crop(frames[place], SMALL) for place in test_places])]
    for rng, view_places in zip(generators, random_places, strict=True):
        box = draw_box(frames.shape[1], frames.shape[2], SMALL, scale_min=0.5, rng=rng)
        mirrored = flip and rng.random() < 0.5
        views.append(np.stack([random_crop(frames[place], SMALL, box, flip=mirrored) for place in view_places]))
    return np.stack(views)


@pytest.mark.parametrize("flip", [False, True])
def test_rgb_views_are_those_of_the_loader_before_there_was_flow(sloping, flat, flip):
    for path in (sloping, flat):
        views = load(path, video_id="kick/a.mp4", n_variants=6, flip=flip).views["rgb"]
        expected = plain_rgb_views(path, video_id="kick/a.mp4", n_frames=4, n_variants=6, flip=flip)
        np.testing.assert_array_equal(views, expected)


def test_frames_alone_do_not_import_opencv(sloping):
    code = (
        "import sys\nfrom pathlib import Path\nfrom mdmf.data.sources.frames import FramesSource\n"
        "from mdmf.data.views.loader import SourceView, load_clip_views\n"
        "from mdmf.structures import Preprocess, ViewRule\n"
        "sources = {'rgb': SourceView(FramesSource(), Preprocess(8, 8), 'noise:0.1')}\n"
        "load_clip_views(Path(sys.argv[1]), video_id='v', sources=sources, rule=ViewRule(n_frames=4))\n"
        "print('cv2' in sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(loader.__file__).parents[3])}
    command = [sys.executable, "-c", code, str(sloping)]
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout == "False\n"
