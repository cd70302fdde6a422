"""The data doctor's look into a video: its first, middle and last frame.

Imports neither torch nor pandas: this is what runs in spawned decode workers.
"""

from __future__ import annotations

from pathlib import Path

from mdmf.data.sources.loader import ClipViews
from mdmf.data.video.opening import open_video


def probe_video(path: Path, *, video_id: str, decoder: str = "auto") -> ClipViews:
    """Decode the first, the middle and the last frame of a video, and keep none of them.

    Args:
        path: a video file, or a folder of frame images.
        video_id: not used; every loader of the decode pool is given it.
        decoder: `auto`, `decord` or `pyav`.

    Returns:
        No views, and the number of frames.

    Raises:
        VideoError: with the reason, if one of them cannot be read.
    """
    with open_video(path, decoder=decoder) as reader:
        reader.read(sorted({0, reader.n_frames // 2, reader.n_frames - 1}))
        return ClipViews({}, {}, reader.n_frames, reader.fps)
