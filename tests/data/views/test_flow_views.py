"""Views of flow beside those of the frames: the same crops of the same moments, and one's harm is not the other's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mdmf.data.sources.flow import FlowSource
from mdmf.data.sources.frames import FramesSource
from mdmf.data.video.reader import VideoError, VideoReader
from mdmf.data.views import flow_views, loader
from mdmf.data.views.flow_views import neighbour_frames
from mdmf.data.views.loader import ClipViews, NoViews, SourceView, load_clip_views
from mdmf.data.views.optical_flow import draw_flow, optical_flow
from mdmf.data.views.preprocess import CropBox, random_crop, resize_crop
from mdmf.data.views.view_plan import ViewPlan, plan_views
from mdmf.structures import Preprocess, ViewRule

SMALL = Preprocess(crop_size=8, resize_size=8)
COMPUTED = FlowSource(clip=8)
RGB, FLOW = SourceView(FramesSource(), SMALL), SourceView(COMPUTED, SMALL)
BOTH = {"rgb": RGB, "flow": FLOW}
N_MOVING = 12


def load(path: Path, *, video_id: str = "v", sources: Mapping[str, SourceView] = BOTH, **rule: Any) -> ClipViews:
    return load_clip_views(path, video_id=video_id, sources=sources, rule=ViewRule(n_frames=4, **rule))


def write_frames(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:03d}.png")
    return folder


def moving_frames(n_frames: int = N_MOVING) -> np.ndarray:
    """Smooth blobs; the left half moves 2 pixels to the right a frame, the right half 1 pixel up."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8))
    ground = np.asarray(coarse.resize((96, 64), Image.Resampling.BICUBIC))
    frames = [np.roll(ground, 2 * number, axis=1) for number in range(n_frames)]
    for number, frame in enumerate(frames):
        frame[:, 48:] = np.roll(ground, -number, axis=0)[:, 48:]
    return np.stack(frames)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("moving") / "video", moving_frames())


def flows_on_disk(root: Path, flows: np.ndarray) -> SourceView:
    root.mkdir(exist_ok=True)
    np.save(root / "v.npy", flows.astype(np.float32))
    return on_disk(root)


def on_disk(root: Path) -> SourceView:
    return SourceView(FlowSource(method="disk", folder=root, drawing="channels"), SMALL)


def sloping_video(folder: Path) -> Path:
    """Red grows to the right, green downwards, in frames of 90 x 60."""
    frame = np.zeros((60, 90, 3), np.uint8)
    frame[..., 0], frame[..., 1] = np.linspace(0, 255, 90)[None], np.linspace(0, 255, 60)[:, None]
    return write_frames(folder, np.stack([frame] * 5))


def sloping_flows(height: int, width: int, n_flows: int = 4) -> np.ndarray:
    """x grows to the right and y downwards, -10 to 10: as red and green of `channels`, half as steep as the frames."""
    flow = np.zeros((height, width, 2))
    flow[..., 0], flow[..., 1] = np.linspace(-10, 10, width)[None], np.linspace(-10, 10, height)[:, None]
    return np.stack([flow] * n_flows)


@pytest.mark.parametrize("size", [(60, 90), (30, 45), (64, 64)])
def test_flow_and_frames_show_the_same_part_mirrored_together(tmp_path: Path, size: tuple[int, int]) -> None:
    """Also where flow was stored smaller, or squashed."""
    disk = flows_on_disk(tmp_path / "flows", sloping_flows(*size))
    video = sloping_video(tmp_path / "video")
    views = load(video, sources={"rgb": RGB, "flow": disk}, n_variants=20, flip=True).views
    rgb, flow = (views[source][1:, 0].astype(float) for source in ("rgb", "flow"))
    is_mirrored = rgb[:, 0, 0, 0] > rgb[:, 0, -1, 0]
    assert 3 < is_mirrored.sum() < 16
    red = np.where(is_mirrored[:, None, None], 255 - rgb[..., 0], rgb[..., 0])  # what moves right moves left then
    assert np.abs(flow[..., 0] - (64 + red / 2)).max() < 6
    assert np.abs(flow[..., 1] - (64 + rgb[..., 1] / 2)).max() < 6


def test_flow_and_frames_show_the_same_moments(tmp_path: Path) -> None:
    video = write_frames(tmp_path / "video", np.stack([np.full((20, 30, 3), 10 * i, np.uint8) for i in range(24)]))
    flows = np.zeros((23, 20, 30, 2))
    flows[..., 0] = np.arange(23)[:, None, None] / 2
    views = load(video, sources={"rgb": RGB, "flow": flows_on_disk(tmp_path / "f", flows)}, n_variants=30).views
    numbers = views["rgb"][:, :, 0, 0, 0] // 10
    moments = (views["flow"][:, :, 0, 0, 0] / 255 * 2 - 1) * 20 * 2
    assert (numbers == 23).any()
    np.testing.assert_allclose(moments, np.minimum(numbers, 22), atol=0.2)


def test_computed_flow_views_are_those_of_a_plain_version(moving: Path) -> None:
    views = load(moving, n_variants=5, flip=False).views["flow"]
    frames = moving_frames()
    plan = plan_of(5, flip=False)
    boxes = [None, *(box for box, _ in plan.crops(64, 96, SMALL))]
    for view, numbers, box in zip(views, plan.numbers, boxes, strict=True):
        for picture, number in zip(view, numbers, strict=True):
            first = min(number, N_MOVING - 2)
            flow = optical_flow(frames[first], frames[first + 1])
            drawn = draw_flow(flow, clip=COMPUTED.clip, drawing=COMPUTED.drawing)
            expected = resize_crop(drawn, SMALL) if box is None else random_crop(drawn, SMALL, box)
            np.testing.assert_array_equal(picture, expected)


def plan_of(n_variants: int, *, flip: bool) -> ViewPlan:
    return plan_views(ViewRule(n_frames=4, n_variants=n_variants, flip=flip), N_MOVING, "v")


def test_a_mirrored_view_is_the_flow_of_mirrored_frames(moving: Path) -> None:
    views = load(moving, n_variants=12, flip=True).views["flow"]
    frames = moving_frames()[:, :, ::-1]
    plan = plan_of(12, flip=True)
    mirrored = [(view, box) for view, (box, flip) in enumerate(plan.crops(64, 96, SMALL), start=1) if flip]
    assert len(mirrored) > 2
    errors = {"as it should be": 0.0, "turned back": 0.0, "another box": 0.0}
    for view, box in mirrored:
        own_box = CropBox(box.top, max(0.0, 1 - box.left - box.width), box.height, box.width)
        first = min(plan.numbers[view, 0], N_MOVING - 2)
        flow = optical_flow(frames[first], frames[first + 1])
        drawn = draw_flow(flow, clip=COMPUTED.clip, drawing=COMPUTED.drawing)
        expected = random_crop(drawn, SMALL, own_box).astype(int)
        errors["as it should be"] += np.abs(views[view, 0] - expected).mean()
        errors["turned back"] += np.abs(views[view, 0, :, ::-1] - expected).mean()
        errors["another box"] += np.abs(views[view, 0] - random_crop(drawn, SMALL, box).astype(int)).mean()
    right, *wrong = errors.values()
    assert right < min(wrong) / 4, errors  # not 0: DIS itself is not symmetric
    assert right / len(mirrored) < 2


def test_no_source_depends_on_the_other(moving: Path) -> None:
    both = load(moving, n_variants=4, flip=True)
    for source, asked in BOTH.items():
        alone = load(moving, sources={source: asked}, n_variants=4, flip=True)
        np.testing.assert_array_equal(both.views[source], alone.views[source])
        assert (alone.n_frames, alone.fps) == (both.n_frames, both.fps) == (N_MOVING, None)
    assert not both.problems


def test_frames_are_read_once_and_each_pair_has_one_flow(moving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, computed = [], []
    monkeypatch.setattr(loader, "open_video", listening(loader.open_video, read))
    compute = flow_views.optical_flow
    monkeypatch.setattr(flow_views, "optical_flow", lambda a, b, **how: computed.append(1) or compute(a, b, **how))
    load(moving, n_variants=9)
    assert read == [list(range(N_MOVING))]
    assert len(computed) == N_MOVING - 1


def listening(open_video: Any, asked: list[list[int]], broken: int | None = None) -> Any:
    def open_and_listen(path: Path, *, decoder: str) -> VideoReader:
        reader = open_video(path, decoder=decoder)
        read = reader.read

        def listen(numbers: np.ndarray) -> np.ndarray:
            asked.append(list(numbers))
            if broken in numbers:
                raise VideoError(path, f"frame {broken} is damaged")
            return read(numbers)

        reader.read = listen
        return reader

    return open_and_listen


def test_a_damaged_frame_that_only_flow_needs_is_a_problem_of_flow(
    moving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[int]] = []
    sound = load(moving).views["rgb"]  # frames 1, 4, 7, 10; flow needs 2, 5, 8, 11 too
    monkeypatch.setattr(loader, "open_video", listening(loader.open_video, read, broken=5))
    clip = load(moving)
    assert clip.problems == {"flow": "video: frame 5 is damaged"}
    np.testing.assert_array_equal(clip.views["rgb"], sound)
    assert read == [[1, 2, 4, 5, 7, 8, 10, 11], [1, 4, 7, 10]]


def test_a_video_of_one_frame_has_rgb_alone(tmp_path: Path) -> None:
    video = write_frames(tmp_path / "still", moving_frames(1))
    clip = load(video, n_variants=2)
    assert list(clip.views) == ["rgb"]
    assert "at least 2 frames" in clip.problems["flow"]
    with pytest.raises(ValueError, match="at least 2 frames"):
        load(video, sources={"flow": FLOW})


def test_flow_on_disk_needs_no_video(tmp_path: Path) -> None:
    disk = flows_on_disk(tmp_path / "flows", sloping_flows(60, 90))
    clip = load(tmp_path / "absent.mp4", sources={"rgb": RGB, "flow": disk}, n_variants=3)
    assert clip.problems.keys() == {"rgb"}
    assert "no such file" in clip.problems["rgb"]
    assert (clip.n_frames, clip.fps) == (5, None)
    alone = load(tmp_path / "absent.mp4", sources={"flow": disk}, n_variants=3)
    np.testing.assert_array_equal(clip.views["flow"], alone.views["flow"])
    with_video = load(sloping_video(tmp_path / "video"), sources={"flow": disk}, n_variants=3)
    np.testing.assert_array_equal(with_video.views["flow"], alone.views["flow"])  # of the same size and length


def test_flow_on_disk_is_the_same_beside_rgb_and_alone(tmp_path: Path) -> None:
    """Though nothing but one frame's size is read of the video then."""
    disk = flows_on_disk(tmp_path / "flows", sloping_flows(64, 64))
    video = sloping_video(tmp_path / "video")
    both = load(video, sources={"rgb": RGB, "flow": disk}, n_variants=4, flip=True)
    alone = load(video, sources={"flow": disk}, n_variants=4, flip=True)
    np.testing.assert_array_equal(both.views["flow"], alone.views["flow"])


def test_missing_and_damaged_flow_is_a_problem_of_flow(tmp_path: Path, moving: Path) -> None:
    (tmp_path / "flows").mkdir()
    disk = on_disk(tmp_path / "flows")
    sources = {"rgb": RGB, "flow": disk}
    assert load(moving, sources=sources).problems["flow"].startswith("v: no flow of v")
    (tmp_path / "flows" / "v.npy").write_bytes(b"half")
    assert "cannot be read" in load(moving, sources=sources).problems["flow"]
    flows_on_disk(tmp_path / "flows", sloping_flows(60, 90, 4))
    assert "4 flows of a video of 12 frames, expected about 11" in load(moving, sources=sources).problems["flow"]
    flows_on_disk(tmp_path / "flows", sloping_flows(60, 90, 9))
    assert not load(moving, sources=sources).problems


def test_where_nothing_can_be_read_the_first_problem_is_the_error(tmp_path: Path) -> None:
    sources = {"rgb": RGB, "flow": on_disk(tmp_path)}
    with pytest.raises(NoViews, match=r"absent.mp4: there is no such file") as caught:
        load(tmp_path / "absent.mp4", sources=sources)
    for source, asked in sources.items():
        with pytest.raises(VideoError) as alone:
            load(tmp_path / "absent.mp4", sources={source: asked})
        assert caught.value.problems[source] == str(alone.value)


def harmed(source: str, corruption: str) -> dict[str, SourceView]:
    return BOTH | {source: replace(BOTH[source], corruption=corruption)}


@pytest.mark.parametrize("corruption", ["noise:0.2", "blur:5"])
@pytest.mark.parametrize("source", ["rgb", "flow"])
def test_one_source_may_be_harmed_and_the_other_not(moving: Path, source: str, corruption: str) -> None:
    sound = load(moving, n_variants=2).views
    harm = load(moving, sources=harmed(source, corruption), n_variants=2).views
    other = "flow" if source == "rgb" else "rgb"
    np.testing.assert_array_equal(harm[other], sound[other])
    assert not np.array_equal(harm[source], sound[source])
    again = load(moving, sources={source: harmed(source, corruption)[source]}, n_variants=2).views
    np.testing.assert_array_equal(again[source], harm[source])


@pytest.mark.parametrize("source", ["rgb", "flow"])
def test_noise_depends_on_seed_video_and_source_and_not_on_later_views(moving: Path, source: str) -> None:
    noisy = harmed(source, "noise:0.2")
    views = load(moving, sources=noisy, n_variants=6, flip=True).views[source]
    for n_variants in (1, 3):
        fewer = load(moving, sources=noisy, n_variants=n_variants, flip=True).views[source]
        np.testing.assert_array_equal(fewer, views[:n_variants])
    for changes in ({"seed": 1}, {"video_id": "w"}):
        assert not np.array_equal(load(moving, sources=noisy, **changes).views[source][0], views[0])
    renamed = load(moving, sources={"renamed": noisy[source]}).views["renamed"]
    assert not np.array_equal(renamed[0], views[0])


def test_real_clip_has_flow(shared_data: Path) -> None:
    path = sorted((shared_data / "clips" / "fight_surv" / "fight").glob("*.mp4"))[0]
    clip: ClipViews = load(path, video_id=path.name, n_variants=2)
    assert not clip.problems
    assert clip.views["flow"].shape == clip.views["rgb"].shape == (2, 4, 8, 8, 3)
    assert clip.views["flow"].std() > 0


# Which frames a flow is between


def test_flow_points_to_the_next_frame_and_from_the_one_before_at_the_end():
    first, second = neighbour_frames(np.array([0, 3, 8, 9]), 10, 1)
    assert first.tolist() == [0, 3, 8, 8]
    assert second.tolist() == [1, 4, 9, 9]


def test_frames_without_a_neighbour_after_them_take_the_one_before_them():
    first, second = neighbour_frames(np.array([9, 7, 6, 0]), 10, 3)
    assert first.tolist() == [6, 4, 6, 0]
    assert second.tolist() == [9, 7, 9, 3]


def test_a_step_longer_than_the_video_is_lowered():
    first, second = neighbour_frames(np.arange(3), 3, 100)
    assert (first.tolist(), second.tolist()) == ([0, 0, 0], [2, 2, 2])


def test_a_frame_from_which_both_ways_lead_out_takes_the_last_pair_of_this_step():
    first, second = neighbour_frames(np.arange(5), 5, 3)
    assert (first.tolist(), second.tolist()) == ([0, 1, 1, 0, 1], [3, 4, 4, 3, 4])


@pytest.mark.parametrize("n_available", range(2, 9))
@pytest.mark.parametrize("step", range(1, 10))
def test_pairs_are_inside_the_video_forward_and_around_their_frame(n_available, step):
    numbers = np.arange(n_available)
    first, second = neighbour_frames(numbers, n_available, step)
    assert first.min() >= 0
    assert second.max() < n_available
    assert (second - first == min(step, n_available - 1)).all()
    assert ((first <= numbers) & (numbers <= second)).all()
    forward = numbers + step < n_available
    np.testing.assert_array_equal(first[forward], numbers[forward])
    backward = ~forward & (numbers >= step)
    np.testing.assert_array_equal(second[backward], numbers[backward])


@pytest.mark.parametrize("n_available", [0, 1])
def test_one_frame_has_no_flow(n_available):
    with pytest.raises(ValueError, match=f"needs at least 2 frames for optical flow, this one has {n_available}"):
        neighbour_frames(np.array([0]), n_available, 1)
