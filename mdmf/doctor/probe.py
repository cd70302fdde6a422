"""The data doctor's look into a video: its first, middle and last frame.

Imports neither torch nor pandas: this is what runs in spawned decode workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mdmf.data.video.opening import open_video
from mdmf.data.views.loader import ClipViews, SourceView
from mdmf.structures import ViewRule


def probe_video(path: Path, *, video_id: str, sources: Mapping[str, SourceView], rule: ViewRule) -> ClipViews:
    """Decode the first, the middle and the last frame of a video, and keep none of them.

    Args:
        path: a video file, or a folder of frame images.
        video_id: not used, as `sources`; every loader of the decode pool is given them.
        rule: names the decoder.

    Returns:
        No views, and the number of frames.

    Raises:
        VideoError: with the reason, if one of them cannot be read.
    """
    with open_video(path, decoder=rule.decoder) as reader:
        reader.read(sorted({0, reader.n_frames // 2, reader.n_frames - 1}))
        return ClipViews({}, {}, reader.n_frames, reader.fps)
