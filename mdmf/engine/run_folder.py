"""The folder of one run: what was asked, on what machine, and all that came out."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

import torch

from mdmf import __version__
from mdmf.config import ConfigError, dump_settings, load_settings
from mdmf.files import write_atomic, write_json
from mdmf.nested import flattened
from mdmf.settings import Settings
from mdmf.source_settings import SOURCE_PLACES

# Settings that decide nothing about the result of a training run, so that --resume may change them.
_FREE_ON_RESUME = (
    *("output.", "data.n_workers", "data.root"),
    *("encoder.batch_frames", "training.n_threads", "corrupt."),
    *("evaluation.after_training", "evaluation.baselines", "evaluation.split"),
    *("evaluation.n_episodes", "evaluation.n_way", "evaluation.n_shot"),  # of the test alone; n_query is val's too
)
_PACKAGES = (
    "torch",
    "open_clip_torch",
    "transformers",
    "numpy",
    "pandas",
    "av",
    "decord",
    "opencv-python-headless",
    "pydantic",
    "safetensors",
)


class RunFolder:
    """Paths and records of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.metrics = folder / "metrics.jsonl"
        self.best = folder / "best.safetensors"
        self.state = folder / "last" / "state.pt"
        self.summary = folder / "training.json"

    @property
    def finished(self) -> bool:
        """Whether training has ended here."""
        return self.summary.is_file()

    @classmethod
    def create(cls, settings: Settings) -> RunFolder:
        """A new folder: `root/name`, or `root/name-2`, … where that is taken. Never writes over a run."""
        first = _first_folder(settings)
        for number in count(1):
            folder = first if number == 1 else first.with_name(f"{first.name}-{number}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            break
        run = cls(folder)
        run.record(settings)
        return run

    @classmethod
    def check_root(cls, settings: Settings) -> None:
        """See before any long work whether run folders can be made.

        Raises:
            ValueError: if they cannot.
        """
        try:
            settings.output.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"output.root={settings.output.root} cannot be made a folder: {error.strerror}") from None

    @classmethod
    def all_of(cls, settings: Settings) -> list[RunFolder]:
        """The runs of this name, oldest first; numbers may be missing where somebody deleted a run."""
        first = _first_folder(settings)
        named = re.compile(re.escape(first.name) + r"(?:-(\d+))?")
        numbered = {
            int(found[1] or 1): folder
            for folder in (first.parent.iterdir() if first.parent.is_dir() else ())
            if (found := named.fullmatch(folder.name)) and (folder / "config.yaml").is_file()
        }
        return [cls(numbered[number]) for number in sorted(numbered)]

    @classmethod
    def to_resume(cls, settings: Settings) -> RunFolder | None:
        """The newest unfinished run of this name, else its newest run; None if there is none."""
        runs = cls.all_of(settings)
        return next((run for run in reversed(runs) if not run.finished), runs[-1] if runs else None)

    @classmethod
    def open(cls, folder: Path) -> RunFolder:
        """An existing run.

        Raises:
            FileNotFoundError: if the folder is not one.
        """
        run = cls(folder)
        if not run.config.is_file():
            raise FileNotFoundError(f"{folder} is not a run folder: it has no config.yaml")
        return run

    def record(self, settings: Settings) -> None:
        """Write the resolved settings and the environment."""
        write_atomic(self.config, dump_settings(settings).encode())
        write_json(self.folder / "environment.json", environment(settings.training.seed))

    def settings(self, overrides: list[str] | None = None) -> Settings:
        """The settings that the run was made with, with overrides."""
        return load_settings(self.config, overrides or [])

    def check_same(self, settings: Settings) -> None:
        """A run can only be resumed with the settings it was started with.

        Raises:
            ConfigError: listing what differs.
        """
        old, new = (flattened(each.model_dump(mode="json")) for each in (self.settings(), settings))
        lines = [
            f"  {name}: the run has {old.get(name)!r}, asked for {new.get(name)!r}"
            for name in dict.fromkeys([*old, *new])
            if old.get(name) != new.get(name) and not _is_free_on_resume(name)
        ]
        if lines:
            raise ConfigError(
                "\n".join([f"{self.folder} was started with other settings:", *lines])
                + "\n  resume with its own settings, or start a new run without --resume"
            )

    def check_same_features(self, settings: Settings) -> None:
        """Weights answer only features of the kind that they were trained on.

        Raises:
            ConfigError: listing what differs.
        """
        old, new = (_of_features(each, settings.model.used_sources) for each in (self.settings(), settings))
        lines = [
            f"  {name}: the run has {old.get(name)!r}, asked for {new.get(name)!r}"
            for name in dict.fromkeys([*old, *new])
            if old.get(name) != new.get(name)
        ]
        if lines:
            raise ConfigError("\n".join([f"{self.folder} was trained on other features:", *lines]))


def _of_features(settings: Settings, sources: tuple[str, ...]) -> dict[str, Any]:
    """What decides the features of some sources, by the names of the settings; encoders as the source uses them."""
    values: dict[str, Any] = {"frames": settings.frames.model_dump(include={"n_frames", "rule"}), "sources": {}}
    for name in sources:
        source = settings.source(name)
        values["sources"][name] = source.model_dump(mode="json", exclude={*SOURCE_PLACES, "encoder"})
        if source.needs_encoder:
            encoder = settings.encoder_of(name).model_dump(include={"library", "model", "weights"})
            values["sources"][name]["encoder"] = encoder
    return flattened(values)


def _is_free_on_resume(name: str) -> bool:
    is_place = name.startswith("sources.") and name.endswith(tuple(f".{place}" for place in SOURCE_PLACES))
    return is_place or name.startswith(_FREE_ON_RESUME)


def _first_folder(settings: Settings) -> Path:
    return settings.output.root / (settings.output.name or "run")


def environment(seed: int) -> dict[str, Any]:
    """Versions, commit, seed and hardware: what somebody needs to repeat a run."""
    return {
        "mdmf": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "seed": seed,
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with `+` after it if files were changed; None for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / "setup.cfg").is_file():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
