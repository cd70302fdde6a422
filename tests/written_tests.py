"""Result and episodes files as a test writes them, from plain arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from result_values import result_values

from mdmf.results import Answers, Episodes, EpisodeVideos, Result, ResultFiles
from mdmf.results import write_test as save_test

CLASSES = ("wave", "clap", "jump")


def write_test(
    folder: Path,
    videos: EpisodeVideos,
    right: dict[str, np.ndarray],
    *,
    protocol: str = "2way_1shot",
    video_ids: list[str] | None = None,
    classes: tuple[str, ...] = CLASSES,
    **changes: Any,
) -> Path:
    """Write a test in which each model is right where it is said to be; the run's own model is the last one."""
    n, n_way, n_shot = videos.support.shape
    names = np.array(
        video_ids or [f"{number}.mp4" for number in range(1 + max(videos.support.max(), videos.query.max()))]
    )
    answers = {}
    for model, is_right in right.items():
        predictions = np.where(is_right, videos.labels, (videos.labels + 1) % n_way)
        answers[model] = Answers(np.eye(n_way)[predictions], predictions)
    sizes = {"split": "test", "n_way": n_way, "n_shot": n_shot, "n_query": videos.query.shape[1] // n_way}
    sizes |= {"n_episodes": n, "seed": 0, "group_disjoint": False}
    result = result_values(
        {model: {"per_class_percent": dict.fromkeys(classes, 50.0)} for model in right},
        settings={"model": {"name": list(right)[-1]}, "evaluation": {"baselines": list(right)[:-1]}},
        protocol=sizes | changes,
    )
    episodes = Episodes(**vars(videos), video_ids=names, answers=answers)
    save_test(ResultFiles(folder, protocol), Result.model_validate(result), episodes)
    return folder
