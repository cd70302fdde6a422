"""A few videos as folders of frame images, which cost next to nothing to write, decode and encode."""

from pathlib import Path

import numpy as np
from PIL import Image

from mdmf.structures import VideoRecord

SPLIT = {
    "train": ["move_left", "move_right"],
    "val": ["left_then_up", "left_then_down"],
    "test": ["move_up_left", "move_up_right"],
}
N_VIDEOS, N_FRAMES, SIZE = 2, 6, 24


def write_videos(root: Path, *, one_frame: tuple[str, ...] = ()) -> list[VideoRecord]:
    """Two videos of each class, in which a texture moves; those of `one_frame` can have no flow."""
    records = []
    for split, names in SPLIT.items():
        for name in names:
            for number in range(N_VIDEOS):
                video_id = f"{name}/{number}"
                _write_video(root / video_id, len(records), 1 if video_id in one_frame else N_FRAMES)
                records.append(VideoRecord(video_id, root / video_id, name, split))
    return records


def _write_video(folder: Path, seed: int, n_frames: int) -> None:
    rng = np.random.default_rng(seed)
    texture = np.kron(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8), np.ones((4, 4, 1), dtype=np.uint8))
    step = rng.integers(1, 3, size=2)
    folder.mkdir(parents=True)
    for number in range(n_frames):
        y, x = number * step
        Image.fromarray(texture[y : y + SIZE, x : x + SIZE]).save(folder / f"{number:03d}.jpg", quality=95)
