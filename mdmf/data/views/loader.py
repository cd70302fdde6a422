"""From a video to what encoders take: the test view and random views for training, of each source, decoded in one go.

Imports neither torch nor pandas, and OpenCV only once flow is asked for; takes and gives plain values: this is what
runs in spawned decode workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from mdmf.data.video.opening import open_video
from mdmf.data.video.reader import VideoReader
from mdmf.data.views.corruption import corrupt_frames, corruption_generator, parse_corruption
from mdmf.data.views.preprocess import random_crop, resize_crop
from mdmf.data.views.view_plan import ViewPlan, plan_views
from mdmf.structures import FlowRule, Preprocess, ViewRule

PlanFor = Callable[[int], ViewPlan]  # frames of a video -> the plan of its views
OpenReader = Callable[[], VideoReader]


@dataclass(frozen=True)
class SourceView:
    """What one source of features (`rgb`, `flow`) asks of the loader.

    Attributes:
        preprocess: what its encoder takes.
        flow: how its flow is had and drawn; None for the frames themselves.
        flow_folder: where flows lie, for `FlowRule.method` `disk`.
        corruption: what is done to the frames that this source sees, such as `noise:0.2`; "" for nothing.
    """

    preprocess: Preprocess
    flow: FlowRule | None = None
    flow_folder: Path | None = None
    corruption: str = ""

    def __post_init__(self) -> None:
        if self.is_on_disk and self.flow_folder is None:
            raise ValueError("flow of method 'disk' needs the folder that the flows lie in")
        if self.is_on_disk and self.corruption:
            raise ValueError(
                f"the corruption {self.corruption!r} acts on frames, flow of method 'disk' is not made from frames; "
                f"compute the flow, or corrupt features"
            )
        if self.corruption:
            parse_corruption(self.corruption)  # here, not in a worker, where it would be the fault of every video

    @property
    def is_on_disk(self) -> bool:
        """Whether its pixels come from flow files, not from the video."""
        return self.flow is not None and self.flow.method == "disk"


@dataclass(frozen=True, eq=False)
class ClipViews:
    """The views of one video. A source that was asked for is in `views` or in `problems`.

    Attributes:
        views: source -> (A, T, S, S, 3) uint8, RGB; view 0 is the test view.
        problems: source -> why it has no views.
        n_frames: frames of the video.
        fps: its frames per second, if it says.
    """

    views: dict[str, np.ndarray]
    problems: dict[str, str]
    n_frames: int
    fps: float | None


class NoViews(ValueError):  # noqa: N818 (named for what happened)
    """None of several sources of a video has views; `problems` says why, for each."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return next(iter(self.problems.values()))


def load_clip_views(path: Path, *, video_id: str, sources: Mapping[str, SourceView], rule: ViewRule) -> ClipViews:
    """Read the views of a video: variant 0 is the test view (frames by `rule`, centre crop), the others are random.

    A variant above 0 is one random square, the same in all its frames, of frames that are jittered in time. It depends
    on (`rule.seed`, `video_id`, its number) alone: not on the other variants, the process or the order of videos. A
    variant of all sources shows the same square of the same moments; none depends on which other sources are asked for.

    Args:
        path: a video file, or a folder of frame images.
        video_id: what the random choices go by; the same on every machine, as a path is not.
        sources: what each source asks for.
        rule: which frames, and which part of them.

    Raises:
        VideoError: if the only source has no views, since the video cannot be read.
        NoViews: if none of several sources has views; its text is what is wrong with the first one.
        ValueError: for an unknown frame rule, or a short video under `refuse`.
    """
    if not sources:
        raise ValueError("no source is asked for; name at least one, such as 'rgb'")
    plan_for = partial(plan_views, rule, video_id=video_id)
    footage = _read_footage(partial(open_video, path, decoder=rule.decoder), sources, plan_for)
    views: dict[str, np.ndarray] = {}
    for source, asked in sources.items():
        try:
            if asked.is_on_disk:
                views[source] = _disk_views(source, asked, footage, video_id=video_id, plan_for=plan_for)
            else:
                views[source] = _frame_views(source, asked, footage, noise=(rule.seed, video_id, source))
        except (ValueError, OSError) as error:
            footage.errors[source] = error
    problems = {source: reason_of(footage.errors[source]) for source in sources if source not in views}
    if not views:
        first_error = footage.errors[next(iter(sources))]
        raise first_error if len(sources) == 1 else NoViews(problems) from first_error
    return ClipViews(views, problems, footage.n_frames, footage.fps)


def reason_of(error: Exception) -> str:
    """Why a video is bad, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(eq=False)
class _Footage:
    """What could be read of a video.

    Attributes:
        plan: None where the video cannot be opened.
        fps: its frames per second, if it says.
        n_frames: its frames; where it cannot be opened, as many as its flows on disk are of.
        needed: source -> numbers of the frames that its views are made from, in the order of the views, with repeats.
        frames: source -> (n, H, W, 3), these frames in ascending order, each once.
        errors: source -> why it has no frames, or no views.
    """

    plan: ViewPlan | None = None
    fps: float | None = None
    n_frames: int = 0
    needed: dict[str, np.ndarray] = field(default_factory=dict)
    frames: dict[str, np.ndarray] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


def _read_footage(open_reader: OpenReader, sources: Mapping[str, SourceView], plan_for: PlanFor) -> _Footage:
    """Read the frames of all sources in one go."""
    footage = _Footage()
    try:
        with open_reader() as reader:
            footage.n_frames, footage.fps = reader.n_frames, reader.fps
            footage.plan = plan_for(reader.n_frames)
            footage.needed, footage.errors = _needed_frames(sources, footage.plan)
            if footage.needed:
                _read_frames(reader, open_reader, footage)
    except (ValueError, OSError) as error:
        footage.errors = dict.fromkeys(sources, error)
    return footage


def _needed_frames(
    sources: Mapping[str, SourceView], plan: ViewPlan
) -> tuple[dict[str, np.ndarray], dict[str, Exception]]:
    """What a source needs of the video, and why another can have nothing."""
    needed: dict[str, np.ndarray] = {}
    errors: dict[str, Exception] = {}
    for source, asked in sources.items():
        if asked.flow is None:
            needed[source] = plan.numbers.ravel()
        elif not asked.is_on_disk:
            from mdmf.data.views.flow_views import frame_pairs

            try:
                needed[source] = frame_pairs(plan, asked.flow).ravel()
            except ValueError as error:
                errors[source] = error
        elif plan.generators:
            needed[source] = plan.numbers[0, :1]  # random boxes go by the size of the video's frames
    return needed, errors


def _read_frames(reader: VideoReader, open_reader: OpenReader, footage: _Footage) -> None:
    """Read all frames at once; where that fails, those of each source by itself, as if it were alone."""
    together = np.unique(np.concatenate(list(footage.needed.values())))
    try:
        frames = reader.read(together)
    except (ValueError, OSError) as error:
        for source, numbers in footage.needed.items():
            own = np.unique(numbers)
            try:
                if len(own) == len(together):
                    raise error
                with open_reader() as own_reader:
                    footage.frames[source] = own_reader.read(own)
            except (ValueError, OSError) as own_error:
                footage.errors[source] = own_error
        return
    for source, numbers in footage.needed.items():
        own = np.unique(numbers)
        is_all = len(own) == len(together)  # then it need not be copied
        footage.frames[source] = frames if is_all else frames[np.searchsorted(together, own)]


def _frame_views(source: str, asked: SourceView, footage: _Footage, *, noise: tuple[int, str, str]) -> np.ndarray:
    """(A, T, S, S, 3) of the frames, or of flow that is computed from them."""
    if footage.plan is None or source not in footage.frames:
        raise footage.errors[source]
    numbers, first_needed = np.unique(footage.needed[source], return_index=True)
    frames = footage.frames[source]
    if asked.corruption:
        # Noise is drawn frame by frame in the order of need: a view does not depend on how many follow it.
        order = np.argsort(first_needed)
        harmed = corrupt_frames(frames[order], parse_corruption(asked.corruption), corruption_generator(*noise))
        frames = harmed[np.argsort(order)]
    if asked.flow is not None:
        from mdmf.data.views.flow_views import computed_flow_views

        return computed_flow_views(numbers, frames, plan=footage.plan, rule=asked.flow, preprocess=asked.preprocess)
    return _cut_frames(frames, np.searchsorted(numbers, footage.plan.numbers), footage.plan, asked.preprocess)


def _cut_frames(frames: np.ndarray, places: np.ndarray, plan: ViewPlan, preprocess: Preprocess) -> np.ndarray:
    """(n, H, W, 3) frames and (A, T) places in them -> (A, T, S, S, 3)."""
    test_places, *random_places = places
    views = [np.stack([resize_crop(frames[place], preprocess) for place in test_places])]
    crops = plan.crops(frames.shape[1], frames.shape[2], preprocess)
    for (box, mirrored), view_places in zip(crops, random_places, strict=True):
        views.append(np.stack([random_crop(frames[place], preprocess, box, flip=mirrored) for place in view_places]))
    return np.stack(views)


def _disk_views(source: str, asked: SourceView, footage: _Footage, *, video_id: str, plan_for: PlanFor) -> np.ndarray:
    """(A, T, S, S, 3) of flow that lies on disk, whether or not the video can be read."""
    from mdmf.data.views.flow_files import FlowFolder, find_flow_folder
    from mdmf.data.views.flow_views import disk_flow_views

    if asked.flow is None or asked.flow_folder is None:
        raise ValueError(f"source {source!r} has no flow on disk")
    folder = FlowFolder(find_flow_folder(asked.flow_folder, video_id), bound=asked.flow.disk_bound)
    plan = footage.plan
    if plan is None:
        footage.n_frames = folder.n_flows + 1
        plan = plan_for(footage.n_frames)
    frames = footage.frames.get(source)
    frame_size = None if frames is None else (frames.shape[1], frames.shape[2])
    return disk_flow_views(folder, plan=plan, rule=asked.flow, preprocess=asked.preprocess, frame_size=frame_size)
