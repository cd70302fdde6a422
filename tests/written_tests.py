"""Result and episodes files as a test writes them, from plain arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from result_values import result_values

from mdmf.studies.video_bootstrap import AskedVideos

CLASSES = ("wave", "clap", "jump")


def write_test(
    folder: Path,
    asked: AskedVideos,
    right: dict[str, np.ndarray],
    *,
    protocol: str = "2way_1shot",
    video_ids: list[str] | None = None,
    classes: tuple[str, ...] = CLASSES,
    **changes: Any,
) -> Path:
    """Write a test in which each model is right where it is said to be; the run's own model is the last one."""
    folder.mkdir(parents=True, exist_ok=True)
    n, n_way, n_shot = asked.support.shape
    arrays = {
        "class_ids": asked.class_ids.astype(np.int32),
        "support_videos": asked.support.astype(np.int32),
        "query_videos": asked.query.astype(np.int32),
        "query_labels": asked.labels.astype(np.int16),
        "video_ids": np.array(video_ids or [f"{number}.mp4" for number in range(1 + asked.query.max())]),
    }
    for model, is_right in right.items():
        arrays[f"{model}/predictions"] = np.where(is_right, asked.labels, (asked.labels + 1) % n_way).astype(np.int16)
    np.savez_compressed(folder / f"test_{protocol}_episodes.npz", **arrays)
    asked_for = {"split": "test", "n_way": n_way, "n_shot": n_shot, "n_query": asked.query.shape[1] // n_way}
    asked_for |= {"n_episodes": n, "seed": 0, "group_disjoint": False}
    result = result_values(
        {model: {"per_class_percent": dict.fromkeys(classes, 50.0)} for model in right},
        settings={"model": {"name": list(right)[-1]}, "evaluation": {"baselines": list(right)[:-1]}},
        protocol=asked_for | changes,
    )
    (folder / f"test_{protocol}.json").write_text(json.dumps(result))
    return folder
