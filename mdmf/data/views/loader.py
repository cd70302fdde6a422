"""From a video to what encoders take: the test view and random views for training, of each source, decoded in one go.

Imports neither torch nor pandas, and OpenCV only once flow is asked for: this is what runs in spawned decode workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mdmf.corruptions import parse_corruption
from mdmf.data.sources.source import PictureSource
from mdmf.data.video.opening import open_video
from mdmf.data.video.reader import VideoReader
from mdmf.data.views.corruption import corrupt_frames, corruption_generator
from mdmf.data.views.view_plan import Footage, ViewPlan, plan_views
from mdmf.structures import Preprocess, ViewRule


@dataclass(frozen=True)
class SourceView:
    """What one source asks of the loader.

    Attributes:
        source: makes the pictures.
        preprocess: what its encoder takes.
        corruption: what is done to the frames that this source sees, such as `noise:0.2`; "" for nothing.
    """

    source: PictureSource
    preprocess: Preprocess
    corruption: str = ""


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
    video = _read_video(path, video_id, sources, rule)
    views: dict[str, np.ndarray] = {}
    for name, view in sources.items():
        try:
            footage = _footage(video, name, view, video_id, rule)
            views[name] = view.source.views(footage, view.preprocess)
        except (ValueError, OSError) as error:
            video.errors[name] = error
    problems = {name: reason_of(video.errors[name]) for name in sources if name not in views}
    if not views:
        first_error = video.errors[next(iter(sources))]
        raise first_error if len(sources) == 1 else NoViews(problems) from first_error
    return ClipViews(views, problems, video.n_frames, video.fps)


def reason_of(error: Exception) -> str:
    """Why a video is bad, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(eq=False)
class _ReadVideo:
    """What could be read of a video.

    Attributes:
        plan: None where the video cannot be opened.
        fps: its frames per second, if it says.
        n_frames: its frames; where it cannot be opened, as many as a source that needs no video says.
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


def _read_video(path: Path, video_id: str, sources: Mapping[str, SourceView], rule: ViewRule) -> _ReadVideo:
    """Read the frames of all sources in one go."""
    video = _ReadVideo()
    try:
        with open_video(path, decoder=rule.decoder) as reader:
            video.n_frames, video.fps = reader.n_frames, reader.fps
            video.plan = plan_views(rule, reader.n_frames, video_id)
            for name, view in sources.items():
                try:
                    video.needed[name] = view.source.needed_frames(video.plan)
                except ValueError as error:
                    video.errors[name] = error
            if any(len(numbers) for numbers in video.needed.values()):
                _read_frames(reader, path, rule, video)
    except (ValueError, OSError) as error:
        video.errors = dict.fromkeys(sources, error)
    return video


def _read_frames(reader: VideoReader, path: Path, rule: ViewRule, video: _ReadVideo) -> None:
    """Read all frames at once; where that fails, those of each source by itself, as if it were alone."""
    wanted = {name: np.unique(numbers) for name, numbers in video.needed.items() if len(numbers)}
    together = np.unique(np.concatenate(list(wanted.values())))
    try:
        frames = reader.read(together)
    except (ValueError, OSError) as error:
        for name, numbers in wanted.items():
            try:
                if len(numbers) == len(together):
                    raise error
                with open_video(path, decoder=rule.decoder) as reader_of_source:
                    video.frames[name] = reader_of_source.read(numbers)
            except (ValueError, OSError) as error_of_source:
                video.errors[name] = error_of_source
        return
    for name, numbers in wanted.items():
        is_all = len(numbers) == len(together)  # then it need not be copied
        video.frames[name] = frames if is_all else frames[np.searchsorted(together, numbers)]


def _footage(video: _ReadVideo, name: str, view: SourceView, video_id: str, rule: ViewRule) -> Footage:
    """What a source is given, corrupted where that is asked for.

    Raises:
        ValueError: what kept the frames that the source is made from, or all that it has, from being read.
    """
    plan = video.plan
    if name not in video.frames and view.source.uses_frames:
        raise video.errors[name]
    if plan is None:
        video.n_frames = view.source.n_frames_of(video_id)
        plan = plan_views(rule, video.n_frames, video_id)
    if name not in video.frames:
        return Footage(video_id, plan, np.empty(0, np.int64), np.empty((0, 0, 0, 3), np.uint8))
    numbers, first_needed = np.unique(video.needed[name], return_index=True)
    frames = video.frames[name]
    if view.corruption:
        # Noise is drawn frame by frame in the order of need: a view does not depend on how many follow it.
        order = np.argsort(first_needed)
        generator = corruption_generator(rule.seed, video_id, name)
        frames = corrupt_frames(frames[order], parse_corruption(view.corruption), generator)[np.argsort(order)]
    return Footage(video_id, plan, numbers, frames)
