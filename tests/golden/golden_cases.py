"""Small seeded cases of every method, config and table, and the numbers that identify what they give.

`python tests/golden/write_golden.py` writes the expected values; `test_golden.py` compares.
"""

import hashlib
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdmf.config import check_settings, load_settings
from mdmf.data.episodes import EpisodeSampler
from mdmf.data.features.bank import FeatureBank
from mdmf.engine.evaluator import evaluate
from mdmf.engine.recipes import store_recipes
from mdmf.models.build import build_model
from mdmf.resources import resource_folder
from mdmf.settings import Settings
from mdmf.structures import VideoRecord

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "report"))

N_CLASSES, N_VIDEOS, T = 6, 8, 4
SIZES = {"rgb": 8, "flow": 6}
SELECTOR_MODES = ("sample", "argmax", "expect", "off")
TRAINED = ("amfar", "amfir", "late_fusion", "early_concat", "early_attention")
DISTANCES = ("prototype", "frame_wise", "otam", "bi_mhm")
SMALL = {"hidden_size": 16, "n_heads": 2}

# name -> (settings of the model, shots, whether some videos lack a source)
METHODS: dict[str, tuple[dict[str, Any], int, bool]] = {
    **{
        f"m2df {mode}": ({"name": "m2df", "selector_train": mode, "selector_test": mode, **SMALL}, 1, False)
        for mode in SELECTOR_MODES
    },
    "m2df released": ({"name": "m2df", "preset": "released", **SMALL}, 1, False),
    "m2df 2 shots, missing videos": ({"name": "m2df", "cross_entropy": "all", **SMALL}, 2, True),
    "m2df local": ({"name": "m2df", "views": ["local"], "condition": "visual", **SMALL}, 1, False),
    "m2df deep": (
        {"name": "m2df", "depth": 2, "alphas": {"local": 0.25}, "video_text_input": "input", **SMALL},
        1,
        False,
    ),
    **{f"{name}": ({"name": name, **SMALL}, 1, False) for name in TRAINED},
    **{f"{name} 2 shots, missing videos": ({"name": name, **SMALL}, 2, True) for name in TRAINED},
    "amfar rgb": ({"name": "amfar", "modalities": ["rgb"], **SMALL}, 1, False),
    "amfar mutual, sum": ({"name": "amfar", "strategy": "mutual", "fusion": "sum", **SMALL}, 1, False),
    "amfar flow teaches": (
        {"name": "amfar", "strategy": "flow_teaches", "sample_tests": "absolute", **SMALL},
        1,
        False,
    ),
    "amfar bi_mhm": (
        {"name": "amfar", "distance": "bi_mhm", "head_size": 4, "branch_temperature": 0.5, **SMALL},
        1,
        False,
    ),
    "amfir learned precision": ({"name": "amfir", "learn_precision": True, "cross_entropy": "all", **SMALL}, 2, False),
    "zero_shot": ({"name": "zero_shot"}, 1, False),
    **{
        f"{prefix}{name}": ({"name": f"{prefix}{name}"}, 2, True)
        for prefix in ("", "flow_", "late_")
        for name in DISTANCES
    },
}

REPORTED = ("demo", "demo_amfar", "demo_amfir", "fight_surv")  # resolved settings kept as an old run's config.yaml


class ArrayStore:
    """What a bank needs of a feature store, from seeded arrays."""

    feature_scale, n_variants, n_frames = 2.0, 2, T

    def __init__(self, source: str, *, has_missing: bool) -> None:
        rng = np.random.default_rng(list(SIZES).index(source))
        self.feature_size = SIZES[source]
        centres = rng.normal(size=(N_CLASSES, 1, 1, T, self.feature_size))
        noise = rng.normal(size=(N_CLASSES, N_VIDEOS, self.n_variants, T, self.feature_size))
        self.features = (centres + noise).reshape(-1, self.n_variants, T, self.feature_size).astype(np.float16)
        self.ok = np.ones(N_CLASSES * N_VIDEOS, dtype=bool)
        if has_missing:
            self.ok[list(SIZES).index(source) + 3 :: 7] = False

    def read(self, rows: np.ndarray, variants: np.ndarray) -> np.ndarray:
        return self.features[rows, variants]


def class_text() -> Tensor:
    return 3 * torch.randn(N_CLASSES, SIZES["rgb"], generator=torch.Generator().manual_seed(1))


def make_bank(*, has_missing: bool, n_variants: int) -> FeatureBank:
    stores = {source: ArrayStore(source, has_missing=has_missing) for source in SIZES}
    rows = np.arange(N_CLASSES * N_VIDEOS)
    return FeatureBank(stores, rows, class_text=class_text(), n_variants=n_variants)


def make_sampler(n_shot: int, n_variants: int) -> EpisodeSampler:
    return EpisodeSampler(
        np.repeat(np.arange(N_CLASSES), N_VIDEOS),
        class_names=[f"class {number}" for number in range(N_CLASSES)],
        n_way=3,
        n_shot=n_shot,
        n_query=2,
        seed=0,
        split="train",
        n_variants=n_variants,
    )


def method_values(name: str) -> dict[str, np.ndarray]:
    """What a method gives in evaluation (posteriors) and in training (logits, losses, gradients)."""
    model_settings, n_shot, has_missing = METHODS[name]
    settings = check_settings({"model": model_settings}, source="golden case")
    torch.manual_seed(0)
    model = build_model(settings, feature_sizes=SIZES, logit_scale=10.0)
    values: dict[str, np.ndarray] = {}

    bank, sampler = make_bank(has_missing=has_missing, n_variants=1), make_sampler(n_shot, 1)
    answers = evaluate({"model": model}, bank, sampler.batch(0, 12), batch_episodes=5).answers["model"]
    values["evaluation posterior"] = answers.posterior
    for branch, posterior in answers.branch_posteriors.items():
        values[f"evaluation posterior of {branch}"] = posterior
    if answers.teacher is not None:
        values["evaluation teacher"] = answers.teacher

    if not list(model.parameters()):
        return values
    model.train()
    model.set_training_classes(class_text())
    torch.manual_seed(1)
    episode = make_bank(has_missing=has_missing, n_variants=2).episode(make_sampler(n_shot, 2).batch(0, 3))
    output = model(episode)
    model.total_loss(output, distill_ramp=0.5).backward()
    values["training logits"] = output.logits.detach().numpy()
    for loss, value in sorted(output.losses.items()):
        values[loss] = value.detach().numpy()
    for parameter, tensor in sorted(model.named_parameters()):
        if tensor.grad is not None:
            values[f"gradient of {parameter}"] = tensor.grad.numpy()
    return values


def identify(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """A hash of the exact bytes, and a few sums that another processor gives nearly the same."""
    digest = hashlib.sha256()
    sums = {}
    for name, value in values.items():
        digest.update(f"{name} {value.shape} {value.dtype}".encode() + np.ascontiguousarray(value).tobytes())
        if not name.startswith("gradient"):
            flat = value.astype(np.float64).ravel()
            sums[name] = round(float(flat @ np.cos(np.arange(flat.size))), 5)
    gradients = [np.linalg.norm(value.astype(np.float64)) for name, value in values.items() if name.startswith("grad")]
    if gradients:
        sums["gradient norm"] = round(float(np.linalg.norm(gradients)), 4)
    return {"sha256": digest.hexdigest(), "sums": sums}


def machine() -> str:
    """What the last bits of a floating-point result depend on."""
    processor = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = (line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line)
        processor = next(lines, "")
    return f"torch {torch.__version__}, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {processor}"


def shipped_configs() -> Iterator[tuple[str, Settings]]:
    """Name and settings of every shipped config."""
    folder = resource_folder("configs")
    for path in sorted(folder.rglob("*.yaml")):
        yield path.relative_to(folder).as_posix(), load_settings(path)


def state_names(settings: Settings) -> str:
    """Hash of the names and shapes of a model's weights."""
    torch.manual_seed(0)
    model = build_model(settings, feature_sizes={"rgb": 64, "flow": 64})
    lines = [f"{name} {tuple(tensor.shape)}" for name, tensor in model.state_dict().items()]
    return f"{len(lines)} tensors {hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:16]}"


def config_values(settings: Settings) -> dict[str, str]:
    """Names of the feature folders (for two made-up videos) and of the weights."""
    records = [
        VideoRecord(f"a/{number}.mp4", Path("nowhere") / f"{number}.mp4", "a", "train", None) for number in range(2)
    ]
    recipes = store_recipes(settings, records, SIZES)
    return {**{source: recipe.folder.name for source, recipe in recipes.items()}, "weights": state_names(settings)}


def report_files(folder: Path) -> dict[str, str]:
    """File name -> text of the Markdown and CSV files of a report on two made-up runs."""
    from written_run import write_run

    from mdmf.report.exports import csv_files, markdown
    from mdmf.report.page import make_reports
    from mdmf.report.run_files import read_run

    runs = [write_run(folder / "first"), write_run(folder / "second", model="otam", evidence=False, training=False)]
    reports = make_reports([read_run(run) for run in runs], baseline=None)
    return {"report.md": markdown(reports), **dict(csv_files(reports))}
