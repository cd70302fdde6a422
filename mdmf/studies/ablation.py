"""Ablations: several configs with several seeds, and their differences to the first config (docs/results.md)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import mdmf
from mdmf.config import load_settings
from mdmf.engine.run_folder import RunFolder
from mdmf.engine.tester import Protocol, find_result
from mdmf.files import write_json
from mdmf.report.table import Cell, Row, Table, number, row_label
from mdmf.results import Result, ResultFiles, read_episodes, read_result
from mdmf.settings import Settings
from mdmf.statistics import mean_and_spread, mean_interval
from mdmf.structures import RunFailed


@dataclass(frozen=True)
class Variant:
    """One run of an ablation: a config and a seed."""

    config: Path
    seed: int
    overrides: tuple[str, ...]
    root: Path

    @property
    def name(self) -> str:
        """Name of the config."""
        return self.config.stem

    @property
    def folder(self) -> Path:
        """Run folder."""
        return self.root / f"{self.name}-seed{self.seed}"

    @property
    def arguments(self) -> list[str]:
        """Overrides of the config."""
        of_run = [f"training.seed={self.seed}", f"output.root={self.root}", f"output.name={self.folder.name}"]
        return [*self.overrides, *of_run, "evaluation.after_training=true"]

    @property
    def settings(self) -> Settings:
        """Resolved settings."""
        return load_settings(self.config, self.arguments)

    @property
    def files(self) -> ResultFiles:
        """Files of the run's test."""
        return ResultFiles(self.folder, Protocol.of(self.settings).name)


class AblationFailed(RunFailed):
    """A run failed; the message has the end of its error output."""


def run_variant(variant: Variant, *, n_threads: int, allow_code: bool = False) -> None:
    """Train and test one variant in a separate process, unless its test exists with the same settings.

    Raises:
        AblationFailed: if the process fails.
        ConfigError: if its folder holds a run with other settings.
    """
    if (variant.folder / "config.yaml").is_file():
        RunFolder.open(variant.folder).check_same(variant.settings)
    if find_result(variant.files, variant.settings) is not None:
        return
    command = [sys.executable, "-m", "mdmf.cli", "train", "--cfg", str(variant.config), "--resume", "--quiet"]
    command += ["--allow-code"] if allow_code else []
    # By default each run would start a thread per core, and the runs would slow each other down.
    thread_limits = {"OMP_NUM_THREADS": str(n_threads), "MKL_NUM_THREADS": str(n_threads)}
    search_path = os.pathsep.join([str(Path(mdmf.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [*command, *variant.arguments, f"training.n_threads={n_threads}"],
        capture_output=True,
        text=True,
        env=os.environ | thread_limits | {"PYTHONPATH": search_path.rstrip(os.pathsep)},
    )
    if process.returncode or not variant.files.result.is_file():
        raise AblationFailed(f"{variant.folder.name} failed (code {process.returncode}):\n{process.stderr[-2000:]}")


def run_ablation(
    configs: Sequence[Path],
    *,
    seeds: Sequence[int],
    root: Path,
    overrides: Sequence[str] = (),
    n_jobs: int = 1,
    progress: bool = True,
    allow_code: bool = False,
) -> dict[str, Any]:
    """Run every config with every seed, write `ablation.json`, and return it.

    All variants answer the same test episodes (`evaluation.seed`), so differences to the first config are paired by
    seed and episode.

    Args:
        configs: the first is the reference.
        seeds: training seeds.
        root: folder of the runs and the result.
        overrides: settings of all runs.
        n_jobs: number of parallel runs, which share the cores.
        progress: show a progress bar.
        allow_code: let settings import the user's code.

    Raises:
        ValueError: if two configs have the same name, a seed is given twice, or a model has nothing to train.
    """
    names = [config.stem for config in configs]
    if len(set(names)) < len(names) or len(set(seeds)) < len(seeds):
        raise ValueError(f"names of configs and seeds must differ, got {names} and {list(seeds)}")
    variants = [Variant(config, seed, tuple(overrides), root) for config in configs for seed in seeds]
    for variant in variants:
        model = variant.settings.model  # raises every error of a config before the first run
        if not model.is_trained:
            raise ValueError(
                f"{variant.config}: {model.table_name} has nothing to train; list it in evaluation.baselines instead"
            )
    n_threads = max(1, (os.cpu_count() or 1) // n_jobs)
    first, *others = variants
    run = partial(run_variant, n_threads=n_threads, allow_code=allow_code)
    bar = tqdm(total=len(variants), desc="ablation", unit="run", disable=not progress)
    with bar, ThreadPoolExecutor(n_jobs) as pool:
        run(first)  # alone: it writes the videos and features that all runs share
        bar.update()
        for _ in pool.map(run, others):
            bar.update()
    result = summarize(variants)
    write_json(root / "ablation.json", result)
    return result


def summarize(variants: Sequence[Variant]) -> dict[str, Any]:
    """Mean and standard deviation over seeds of each config, and its difference to the first config.

    The difference is paired by seed and by episode. Its `spread` is the standard deviation over seeds. Its `interval`
    is the 95 % interval over episodes of the mean difference over seeds: the uncertainty of other episodes with these
    trained models, not of other seeds.

    Raises:
        ValueError: if two variants were tested on different episodes.
    """
    rows: dict[str, dict[int, dict[str, float]]] = {}
    percents: dict[str, dict[int, np.ndarray]] = {}
    results: dict[str, Result] = {}
    first_videos: tuple[np.ndarray, ...] | None = None
    for variant in variants:
        result = results[variant.name] = read_result(variant.files.result)
        episodes = read_episodes(variant.files.episodes, result)
        rows.setdefault(variant.name, {})[variant.seed] = _numbers(result)
        predictions = episodes.answers[result.model].predictions
        percents.setdefault(variant.name, {})[variant.seed] = 100.0 * (predictions == episodes.labels).mean(axis=1)
        videos = episodes.video_ids[episodes.support], episodes.video_ids[episodes.query]
        first_videos = first_videos or videos
        if any(not np.array_equal(one, other) for one, other in zip(first_videos, videos, strict=True)):
            raise ValueError(
                f"{variant.folder.name} was tested on other episodes than {variants[0].folder.name} and cannot be "
                "paired with it; use the same evaluation settings and baselines in all configs"
            )
    reference = next(iter(percents.values()))
    configs = {}
    for name, by_seed in rows.items():
        keys = list(dict.fromkeys(key for row in by_seed.values() for key in row))
        columns = {key: mean_and_spread([row[key] for row in by_seed.values() if key in row]) for key in keys}
        result = results[name]
        configs[name] = {
            "model": result.model,
            "our_reading": result.is_our_reading(result.model),
            "by_seed": {str(seed): row["fused"] for seed, row in by_seed.items()},
            "mean": {key: mean for key, (mean, _) in columns.items()},
            "spread": {key: spread for key, (_, spread) in columns.items()},
            "difference": _difference(percents[name], reference),
        }
    return {"configs": configs, "seeds": sorted({variant.seed for variant in variants})}


def _numbers(result: Result) -> dict[str, float]:
    """Column of the table -> number of one run, in percent."""
    numbers = result.models[result.model]
    row: dict[str, float | None] = {"fused": numbers.accuracy_percent}
    row |= {f"{name} alone": branch.accuracy_percent for name, branch in numbers.branches.items()}
    row |= {f"taught by {name}": 100 * share for name, share in (numbers.taught_share or {}).items()}
    if numbers.reliability is not None:
        row["trusted is right"] = numbers.reliability.by_trust_percent
        row["teacher is right"] = numbers.reliability.teacher_percent
    row |= {f"ECE {name}": 100 * error for name, error in numbers.calibration_error.items()}
    return {name: value for name, value in row.items() if value is not None}


def _difference(percents: Mapping[int, np.ndarray], reference: Mapping[int, np.ndarray]) -> dict[str, float | None]:
    """Mean difference of accuracies (n,) by seed, with its spread over seeds and its interval over episodes."""
    by_seed = np.stack([percents[seed] - reference[seed] for seed in percents])  # (seeds, n)
    mean, spread = mean_and_spread(by_seed.mean(axis=1).tolist())
    return {"mean": mean, "spread": spread, "interval": mean_interval(by_seed.mean(axis=0))}


def ablation_table(result: Mapping[str, Any]) -> Table:
    """A row per config: mean ± standard deviation over seeds in percent, and the difference to the first config."""
    configs = result["configs"]
    first, columns = next(iter(configs)), list(dict.fromkeys(key for row in configs.values() for key in row["mean"]))
    rows: list[Row] = []
    for name, row in configs.items():
        fused, *others = [number(row["mean"].get(key), spread=row["spread"].get(key)) for key in columns]
        difference = Cell("") if name == first else _difference_cell(**row["difference"])
        rows.append([row_label(name, our_reading=row["our_reading"]), fused, difference, *others])
    seeds = ", ".join(str(seed) for seed in result["seeds"])
    note = (
        f"percent; mean ± standard deviation over seeds {seeds}; in brackets the 95 % interval of the difference over "
        "the same episodes, averaged over the seeds"
    )
    header = ["config", columns[0], f"against {first}", *columns[1:]]
    return Table("ablation", "", header, rows, notes=[note])


def _difference_cell(mean: float, spread: float | None, interval: float) -> Cell:
    text = f"{number(mean, '+.2f', spread=spread).text} [±{interval:.2f}]"
    return Cell(text, mean, interval=interval, spread=spread)
