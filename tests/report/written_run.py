"""A run folder as a test writes it, made up from a seed: a report is made of files alone, and needs no model."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EVIL = '<script>alert("1")</script>|$x_1$'  # a class of a user's who means harm
CLASSES = [EVIL, "jump", "pretending to put something underneath something else"]
N, Q, T, N_EPISODES = 3, 3, 4, 40
PROTOCOL = "3way_1shot_40episodes"


def answers(rng: np.random.Generator, labels: np.ndarray, skill: float) -> np.ndarray:
    """Posteriors (n, Q, N) that lean to the truth."""
    logits = rng.normal(size=(*labels.shape, N)) + skill * np.eye(N)[labels]
    return (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float16)


def numbers(posterior: np.ndarray, labels: np.ndarray, class_ids: np.ndarray) -> dict[str, Any]:
    """What a result file says of answers."""
    right = posterior.argmax(-1) == labels
    per_episode = 100 * right.mean(1)
    true = np.take_along_axis(class_ids, labels, 1)
    per_class = {name: float(100 * right[true == c].mean()) for c, name in enumerate(CLASSES)}
    interval = float(1.96 * per_episode.std(ddof=1) / np.sqrt(len(labels)))
    return {"accuracy_percent": float(per_episode.mean()), "interval": interval, "per_class_percent": per_class}


def write_run(
    folder: Path, *, model: str = "m2df", evidence: bool = True, training: bool = True, seed: int = 0
) -> Path:
    """Write a run; `model` may be `m2df` with two branches, or `otam` without any."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    class_ids = np.stack([rng.permutation(N) for _ in range(N_EPISODES)]).astype(np.int32)
    labels = np.tile(np.arange(N), (N_EPISODES, 1)).astype(np.int16)
    videos = np.arange(2 * N * N_EPISODES, dtype=np.int32).reshape(2, N_EPISODES, N)
    saved: dict[str, np.ndarray] = {"class_ids": class_ids, "query_labels": labels}
    saved |= {"support_videos": videos[0, ..., None], "query_videos": videos[1]}
    saved["video_ids"] = np.array([f"{number}.mp4" for number in range(videos.size)])
    models: dict[str, Any] = {}
    for name, skill in (("prototype", 0.5), (model, 2.0)):
        posterior = answers(rng, labels, skill)
        saved |= {f"{name}/predictions": posterior.argmax(-1).astype(np.int16), f"{name}/posterior": posterior}
        models[name] = numbers(posterior, labels, class_ids) | {"branches": {}}
    if model == "m2df":
        models[model] |= add_branches(rng, saved, labels, class_ids)
    protocol = {"split": "test", "n_way": N, "n_shot": 1, "n_query": 1, "n_episodes": N_EPISODES, "seed": 0}
    result = {
        "data": "made & up",
        "protocol": protocol | {"group_disjoint": False, "corrupt": "", "other_data": "", "other_model": ""},
        "checkpoint": "best.safetensors",
        "checkpoint_sha256": "0" * 64,
        "settings": {"model": {"name": model, "alphas": {}}, "episode": {"n_way": N}, "data": {"root": "a<b>/videos"}},
        "text_weight": 0.0,
        "notes": ["encoder <tiny>"],
        "missing": {},
        "models": models,
        "environment": {"python": "3.11", "packages": {"numpy": "2"}, "cuda": None},
    }
    (folder / f"test_{PROTOCOL}.json").write_text(json.dumps(result))
    np.savez_compressed(folder / f"test_{PROTOCOL}_episodes.npz", **saved)
    if training:
        write_training(folder, rng)
    if evidence:
        write_evidence(folder, model, rng)
    return folder


def add_branches(
    rng: np.random.Generator, saved: dict[str, np.ndarray], labels: np.ndarray, class_ids: np.ndarray
) -> dict[str, Any]:
    branches = {}
    for branch, skill in (("local", 1.0), ("global", 1.5)):
        saved[f"m2df/{branch}/posterior"] = posterior = answers(rng, labels, skill)
        found = numbers(posterior, labels, class_ids)
        branches[branch] = {key: found[key] for key in ("accuracy_percent", "interval")}
    return {
        "branches": branches,
        "calibration_error": {"fused": 0.08, "local": 0.1, "global": 0.05},
        "gain_correlation": None,
        "reliability": {
            **{"n_disagree": 50, "n_decidable": 41, "by_trust_percent": 70.5, "by_trust_interval": 12.25},
            **{"teacher_percent": None, "teacher_interval": None, "n_taught": 0},
        },
        "taught_share": {"local": 0.125, "global": 0.375, "none": 0.5, "both": 0.0},
    }


def write_training(folder: Path, rng: np.random.Generator) -> None:
    rows = []
    for step in range(1, 31):
        loss = float(2 - step / 30 + 0.1 * rng.normal())
        row = {"loss": loss, "distill_loss": loss / 4, "accuracy_percent": 50 + step, "taught_share": step / 40}
        row |= {"taught_by_local": step / 80, "taught_by_global": step / 80}
        rows.append({"kind": "train", "step": step} | row)
        if step % 10 == 0:
            val = {"accuracy_percent": 60 + step / 10, "interval": 1.5, "is_best": step < 30}
            rows.append({"kind": "val", "step": step} | val)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    summary = {"n_steps": 30, "best_step": 20, "best_val_accuracy_percent": 62.0, "stopped_early": False}
    (folder / "metrics.jsonl").write_text(text + '{"kind": "train", "ste')  # killed while it wrote
    (folder / "training.json").write_text(json.dumps(summary))
    (folder / "environment.json").write_text(json.dumps({"python": "3.12"}))


def write_evidence(folder: Path, model: str, rng: np.random.Generator) -> None:
    jpeg = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (8, 8 * T, 3), dtype=np.uint8)).save(jpeg, format="JPEG")
    picture, videos = jpeg.getvalue(), ['jump/q"<1>.mp4', "jump/s.mp4"]
    branches = ["local", "global"] if model == "m2df" else ["all"]
    rows = [
        {
            "class": name,
            "video": video,
            "posterior": 0.5 - 0.1 * place,
            "distances": dict.fromkeys(branches, place - 1.5),
            "branch_posteriors": dict.fromkeys(branches if model == "m2df" else [], 0.25),
        }
        for place, (name, video) in enumerate(zip(CLASSES, ["jump/s.mp4", "gone.mp4", "gone.mp4"], strict=True))
    ]
    board = {"kind": "worst", "episode": 3, "query": 1, "n_way": 9, "query_video": videos[0], "teacher": None}
    board |= {"true_class": "jump", "answer": EVIL, "rows": rows}
    arrays = {f"boards/0/{branch}/share": rng.random((3, T, T)).astype(np.float16) for branch in branches}
    arrays |= {"frames/jpeg": np.frombuffer(picture * 2, np.uint8), "frames/ends": np.array([1, 2]) * len(picture)}
    arrays |= {"embeddings/0/points": rng.normal(size=(30, 2)), "embeddings/0/classes": np.repeat(np.arange(3), 10)}
    if model == "m2df":
        arrays["selector/chosen"] = rng.integers(0, N, (N_EPISODES, Q)).astype(np.int16)
        arrays["selector/text"] = np.arange(N, dtype=np.int32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    (folder / f"evidence_{PROTOCOL}.npz").write_bytes(buffer.getvalue())
    bins = [{"lower": x, "upper": x + 0.1, "n": 30, "accuracy": x, "confidence": x + 0.05} for x in (0.4, 0.6, 0.8)]
    record = {
        "format": 1,
        "result_sha256": hashlib.sha256((folder / f"test_{PROTOCOL}.json").read_bytes()).hexdigest(),
        "arrays_sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "not_applicable": {} if model == "m2df" else {"selector": f"{model} gives no prompt to a query"},
        "missing": {},
        "calibration": {"fused": bins},
        "embeddings": [{"when": "before", "of": "rgb", "explained": [0.5, 0.25], "n_videos": 30}],
        "boards": {
            **{"boards": [board], "strips": videos, "n_shot": 1, "n_frames": T},
            "frame_problems": {"gone.mp4": "no such <file>"},
        },
    }
    record |= {"selector": {"mode": "argmax"}} if model == "m2df" else {}
    (folder / f"evidence_{PROTOCOL}.json").write_text(json.dumps(record))
