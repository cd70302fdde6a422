"""Pictures beside the frames of a video, such as depth maps: the same crops of the same moments as the frames."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_videos import write_videos

from mdmf.config import check_settings
from mdmf.data.episodes import EpisodeRequest
from mdmf.data.sources.frames import FramesSource
from mdmf.data.sources.images import ImagesSource
from mdmf.data.views.loader import ClipViews, SourceView, load_clip_views
from mdmf.engine.workspace import Workspace
from mdmf.structures import Preprocess, VideoRecord, ViewRule

SMALL = Preprocess(crop_size=8, resize_size=8)
RGB = SourceView(FramesSource(), SMALL)
N_FRAMES = 9


def write_pictures(folder: Path, pictures: np.ndarray, name: str = "{:03d}.png") -> Path:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / name.format(number))
    return folder


def numbered(n: int, dtype: Any = np.uint8, step: int = 10) -> np.ndarray:
    """(n, 20, 30) flat grey pictures; picture i has the value step * i."""
    return np.broadcast_to((step * np.arange(n))[:, None, None], (n, 20, 30)).astype(dtype)


def load(path: Path, sources: dict[str, SourceView], **rule: Any) -> ClipViews:
    return load_clip_views(path, video_id="jump/v.mp4", sources=sources, rule=ViewRule(n_frames=3, **rule))


def depth(folder: Path, **settings: Any) -> dict[str, SourceView]:
    return {"depth": SourceView(ImagesSource(folder=folder, **settings), SMALL)}


def levels(folder: Path, **settings: Any) -> list[int]:
    """The grey levels of the test view."""
    views = load(folder / "absent.mp4", depth(folder, **settings)).views["depth"][0]
    assert (views == views[:, :1, :1, :1]).all()
    return views[:, 0, 0, 0].tolist()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (N_FRAMES, 40, 60, 3), dtype=np.uint8)
    return write_pictures(tmp_path / "video", frames)


def test_pictures_are_cut_as_frames_are(tmp_path, video):
    """The frames themselves as pictures: every view is that of the frames, whatever is cropped and mirrored."""
    shutil.copytree(video, tmp_path / "maps" / "jump" / "v")
    clip = load(video, {"rgb": RGB, **depth(tmp_path / "maps")}, n_variants=12, flip=True)
    np.testing.assert_array_equal(clip.views["depth"], clip.views["rgb"])
    alone = load(video, depth(tmp_path / "maps"), n_variants=12, flip=True)
    np.testing.assert_array_equal(alone.views["depth"], clip.views["rgb"])


def test_without_the_video_the_pictures_say_how_many_frames_there_are(tmp_path):
    write_pictures(tmp_path / "jump" / "v", numbered(N_FRAMES))
    assert levels(tmp_path) == [10, 40, 70]
    assert load(tmp_path / "absent.mp4", depth(tmp_path)).n_frames == N_FRAMES


def test_another_number_of_pictures_shows_the_same_parts_of_the_video(tmp_path, video):
    write_pictures(tmp_path / "maps" / "jump" / "v", numbered(2 * N_FRAMES))
    assert load(video, depth(tmp_path / "maps")).views["depth"][0, :, 0, 0, 0].tolist() == [20, 80, 140]
    write_pictures(tmp_path / "more" / "jump" / "v", numbered(2 * N_FRAMES + 1))
    with pytest.raises(ValueError, match="there are 19 pictures of a video of 9 frames"):
        load(video, depth(tmp_path / "more"))


@pytest.mark.parametrize(
    ("pictures", "scale", "expected"),
    [
        (numbered(N_FRAMES), None, [10, 40, 70]),
        (numbered(N_FRAMES), 100, [26, 102, 178]),  # 10 * 255 / 100 = 25.5, to the even level
        (numbered(N_FRAMES, np.uint16, 1000), None, [4, 16, 27]),  # 1000 * 255 / 65535 = 3.9
        (numbered(N_FRAMES, np.uint16, 1000), 4000, [64, 255, 255]),  # 4 m of millimetres is white, and so is more
    ],
)
def test_values_are_scaled_to_eight_bits(tmp_path, pictures, scale, expected):
    write_pictures(tmp_path / "jump" / "v", pictures)
    assert levels(tmp_path, scale=scale) == expected


def test_a_pattern_chooses_among_pictures(tmp_path):
    folder = write_pictures(tmp_path / "jump" / "v", numbered(N_FRAMES), "depth_{:03d}.png")
    for number in range(N_FRAMES):
        shutil.copy(folder / "depth_000.png", folder / f"rgb_{number:03d}.png")
    assert levels(tmp_path, pattern="depth_*") == [10, 40, 70]
    with pytest.raises(ValueError, match="mixes differently named images"):
        levels(tmp_path)
    with pytest.raises(ValueError, match=r"no frame images named mask_\*"):
        levels(tmp_path, pattern="mask_*")


def test_what_is_missing_or_damaged_is_a_problem_of_these_pictures_alone(tmp_path, video):
    both = {"rgb": RGB, **depth(tmp_path / "maps")}
    (tmp_path / "maps").mkdir()
    assert "there is no folder" in load(video, both).problems["depth"]
    folder = write_pictures(tmp_path / "maps" / "jump" / "v", numbered(N_FRAMES))
    (folder / "004.png").write_bytes(b"half")
    clip = load(video, both)
    assert "picture 004.png cannot be read" in clip.problems["depth"]
    assert list(clip.views) == ["rgb"]
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "004.png")
    assert "pictures 2 and 5 differ in size" in load(video, both).problems["depth"]


def test_contents_change_with_the_pictures_and_how_they_are_read(tmp_path):
    records = [VideoRecord("jump/v.mp4", Path("nowhere"), "jump", "test")]
    contents = [ImagesSource(folder=tmp_path).contents(records)]
    write_pictures(tmp_path / "jump" / "v", numbered(2))
    contents += [ImagesSource(folder=tmp_path, scale=scale).contents(records) for scale in (None, 100)]
    assert len({str(content) for content in contents}) == 3
    with pytest.raises(ValueError, match=r"is no folder; check the setting sources\.depth\.folder"):
        ImagesSource(folder=tmp_path / "absent").check("depth")


def test_a_method_learns_from_frames_and_depth(tmp_path, monkeypatch):
    """From settings to an episode of both; and noise of frames cannot act on pictures that are read."""
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path / "videos")
    shutil.copytree(tmp_path / "videos", tmp_path / "maps")
    values = {
        "data": {"root": "videos", "class_split": "random", "split_fractions": [0, 0, 1], "n_workers": 0},
        "sources": {"depth": {"kind": "images", "folder": "maps"}},
        "frames": {"n_frames": 3},
        "encoder": {"library": "tiny", "model": "tiny_clip", "weights": "shipped", "device": "cpu"},
        "model": {"name": "amfar", "sources": ["rgb", "depth"], "hidden_size": 8},
    }
    made = Workspace(check_settings(values, source="test"), progress=False)
    assert made.sources == ("rgb", "depth")
    bank = made.split("test", role="validation").bank("cpu")
    features = bank.features_at(np.arange(bank.n_videos))
    assert features["depth"].equal(features["rgb"])  # the pictures are the frames
    assert made.stores.opened["depth"].folder.name.startswith("clips-depth-")
    rows = made.split("test", role="validation").sampler(EpisodeRequest(2, 1, 1, 0)).batch(0, 2)
    assert made.model().eval()(bank.episode(rows)).logits.shape == (2, 2, 2)
    with pytest.raises(ValueError, match="source 'depth' is not made from frames"):
        check_settings(values | {"corrupt": {"depth": "noise:0.1"}}, source="test")
    corrupted = check_settings(values | {"corrupt": {"depth": "missing:1"}}, source="test")
    missing = Workspace(corrupted, progress=False).split("test", role="test").bank("cpu")
    assert not missing.features_at(np.arange(2))["depth"].any()
