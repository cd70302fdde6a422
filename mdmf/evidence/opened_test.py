"""A finished test with its episodes, features and weights, read from disk without encoding or training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from mdmf.config import check_settings
from mdmf.data.episodes import EpisodeRequest, EpisodeRows, EpisodeSampler
from mdmf.data.features.bank import FeatureBank
from mdmf.data.features.store import read_manifest
from mdmf.encoders.clip import FrozenEncoder
from mdmf.engine.checkpoint import load_weights
from mdmf.engine.recipes import as_it_lies, listing_settings
from mdmf.engine.workspace import Workspace
from mdmf.files import file_sha256
from mdmf.models.method import Method
from mdmf.models.text_at_test import TextAtTest
from mdmf.results import Episodes, Result
from mdmf.settings import Settings
from mdmf.source_settings import DEFAULT_SOURCE


class DoesNotApply(Exception):  # noqa: N818 (not an error)
    """A part of the evidence does not apply to this model; the message has the reason."""


class _StoredOnly(Workspace):
    """A workspace that reads features and texts from the feature store, and never computes them."""

    def __init__(self, settings: Settings, *, allow_code: bool) -> None:
        super().__init__(as_it_lies(settings), progress=False, allow_code=allow_code)

    def encoder(self, source: str = DEFAULT_SOURCE) -> FrozenEncoder:
        raise FileNotFoundError(
            f"features or texts of {source} are missing in the feature store, and a report does not compute them; run "
            "the test again"
        )

    def check_stores(self) -> None:
        """Check that every feature store is complete.

        Raises:
            FileNotFoundError: if one is missing.
            ValueError: if one is not complete.
        """
        for source in self.sources:
            folder = self.stores.recipes[source].folder
            if not read_manifest(folder)["complete"]:
                raise ValueError(f"the feature store {folder} is not complete; run the test again")


@dataclass
class OpenedTest:
    """A finished test with everything it used.

    Attributes:
        settings: settings of the test.
        result: result of the test.
        saved: episodes and answers of the test.
        workspace: read-only workspace of the settings.
        model: with its weights, in evaluation mode, without text at test.
        bank: features of the split.
        sampler: sampler of the episodes.
    """

    settings: Settings
    result: Result
    saved: Episodes
    workspace: Workspace
    model: Method
    bank: FeatureBank
    sampler: EpisodeSampler

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.settings.model.table_name

    @cached_property
    def rows(self) -> EpisodeRows:
        """All episodes of the test."""
        return self.sampler.batch(0, self.result.protocol.n_episodes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the split in order."""
        return self.workspace.index.classes[self.result.protocol.split]

    def tested_model(self) -> nn.Module:
        """The model as it was tested: with text at test, if the test used it."""
        weight = self.result.text_weight
        return TextAtTest(self.model, self.workspace.text_model(), weight=weight).eval() if weight else self.model

    def check_episodes(self) -> None:
        """Check that the sampler draws the saved episodes.

        Raises:
            ValueError: if videos or splits have changed since the test.
        """
        ids = self.workspace.video_ids
        if not (
            list(self.class_names) == self.result.classes
            and np.array_equal(self.rows.class_ids, self.saved.class_ids)
            and np.array_equal(ids[self.rows.support_rows].astype(str), self.saved.video_ids[self.saved.support])
            and np.array_equal(ids[self.rows.query_rows].astype(str), self.saved.video_ids[self.saved.query])
        ):
            raise ValueError("the videos or their splits have changed since the test; run the test again")


def open_test(folder: Path, result: Result, saved: Episodes, *, allow_code: bool = False) -> OpenedTest:
    """Open a finished test.

    Args:
        folder: folder of the run, or of a test without a run.
        result: result of the test.
        saved: episodes and answers of the test.
        allow_code: let settings import the user's method, which runs its code.

    Raises:
        OSError: if videos, features or weights are missing.
        ValueError: if they differ from those of the test.
    """
    settings = check_settings(result.settings, source=f"the result of {folder}")
    root = listing_settings(settings).root
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder of videos {root} (paths are relative to {Path.cwd()})")
    workspace = _StoredOnly(settings, allow_code=allow_code)
    workspace.check_stores()
    protocol = result.protocol
    model = workspace.model()
    if workspace.method.is_trained:
        load_weights(_tested_weights(folder, result), model)
    data = workspace.split(protocol.split, role="test")
    opened = OpenedTest(
        settings=settings,
        result=result,
        saved=saved,
        workspace=workspace,
        model=model.eval(),
        bank=data.bank("cpu"),
        sampler=data.sampler(EpisodeRequest(protocol.n_way, protocol.n_shot, protocol.n_query, protocol.seed)),
    )
    opened.check_episodes()
    return opened


def _tested_weights(folder: Path, result: Result) -> Path:
    """Path of the tested weights, identified by their hash.

    Raises:
        FileNotFoundError: if no file has the hash.
    """
    for path in (folder / "best.safetensors", Path(result.checkpoint or "")):
        if path.is_file() and file_sha256(path) == result.checkpoint_sha256:
            return path
    raise FileNotFoundError(f"the tested weights ({result.checkpoint}) are missing or have changed; run the test again")
