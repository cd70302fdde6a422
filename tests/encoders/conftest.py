"""Small encoders and real frames for the encoder tests."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest


def small_description(**changes: Any) -> dict[str, Any]:
    """An open_clip model configuration that runs in milliseconds; it reads CLIP's own word pieces."""
    description = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    return description | changes


@pytest.fixture
def small_model(tmp_path: Path) -> Path:
    """Path of a small model's description."""
    path = tmp_path / "small_clip.json"
    path.write_text(json.dumps(small_description()), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def real_frames(shared_data: Path) -> list[np.ndarray]:
    """A frame (H, W, 3) uint8 of each of several real clips, of different sizes and shapes."""
    clips = sorted((shared_data / "clips").rglob("*.mp4"))[:2] + sorted((shared_data / "clips").rglob("*.avi"))[:3]
    assert clips, "no real clips found"
    frames = []
    for clip in clips:
        with av.open(str(clip)) as container:
            frames.append(next(container.decode(video=0)).to_ndarray(format="rgb24"))
    return frames
