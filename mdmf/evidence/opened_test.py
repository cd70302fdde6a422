"""A test that was made before, opened again: the same episodes, features and weights, and nothing made anew."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from mdmf.config import check_settings
from mdmf.data.episodes import EpisodeRows, EpisodeSampler
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


class DoesNotApply(Exception):  # noqa: N818 (named for what happened)
    """A part of the evidence that this model cannot have; the message says why."""


class _StoredOnly(Workspace):
    """A workspace that reads features and texts from the store, and refuses to encode or draw any."""

    def __init__(self, settings: Settings, *, allow_code: bool) -> None:
        super().__init__(as_it_lies(settings), progress=False, allow_code=allow_code)

    def encoder(self, source: str = DEFAULT_SOURCE) -> FrozenEncoder:
        raise FileNotFoundError(
            f"features or texts of {source} are not in the feature store any more, and a report encodes nothing; run "
            "the test again to make them"
        )

    def check_stores(self) -> None:
        """See that every feature store is there, before anything tries to fill one."""
        for source in self.sources:
            folder = self.stores.recipes[source].folder
            if not read_manifest(folder)["complete"]:
                raise ValueError(f"the feature store {folder} is not finished")


@dataclass
class OpenedTest:
    """A test that can be looked at again.

    Attributes:
        settings: of the test.
        result: of the test.
        saved: its episodes and answers.
        workspace: its features, read only.
        model: with its weights, in evaluation mode; text at test is not part of it.
        bank: the features of the split.
        sampler: of the test's episodes.
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
        """Of the model."""
        return self.settings.model.table_name

    @cached_property
    def rows(self) -> EpisodeRows:
        """All episodes of the test."""
        return self.sampler.batch(0, self.result.protocol.n_episodes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The split's classes in order."""
        return self.workspace.index.classes[self.result.protocol.split]

    def answering(self) -> nn.Module:
        """The model as the test asked it, with the text beside it where the test had it."""
        weight = self.result.text_weight
        return TextAtTest(self.model, self.workspace.text_model(), weight=weight).eval() if weight else self.model

    def check_episodes(self) -> None:
        """See that these are the test's own episodes.

        Raises:
            ValueError: if videos or splits have changed since the test.
        """
        ids = self.workspace.video_ids
        same = list(self.class_names) == self.result.classes
        same = same and np.array_equal(self.rows.class_ids, self.saved.class_ids)
        pairs = ((self.rows.support_rows, self.saved.support), (self.rows.query_rows, self.saved.query))
        for rows, videos in pairs if same else ():
            same = same and np.array_equal(ids[rows].astype(str), self.saved.video_ids[videos])
        if not same:
            raise ValueError("the videos or their splits have changed since the test; run the test again")


def open_test(folder: Path, result: Result, saved: Episodes, *, allow_code: bool = False) -> OpenedTest:
    """A test's features and model again.

    Args:
        folder: of the run, or of a test without a run.
        result: of the test.
        saved: its episodes and answers.
        allow_code: whether a method of the user's own may be imported, which runs its code.

    Raises:
        OSError: if videos, features or weights are not where they were.
        ValueError: if they are others than those of the test.
    """
    settings = check_settings(result.settings, source=f"the result of {folder}")
    root = listing_settings(settings).root
    if not root.is_dir():
        raise FileNotFoundError(f"the videos are not in {root} any more (paths are seen from {Path.cwd()})")
    workspace = _StoredOnly(settings, allow_code=allow_code)
    workspace.check_stores()
    protocol = result.protocol
    model = workspace.model()
    if workspace.method.is_trained:
        load_weights(_tested_weights(folder, result), model)
    opened = OpenedTest(
        settings=settings,
        result=result,
        saved=saved,
        workspace=workspace,
        model=model.eval(),
        bank=workspace.bank(protocol.split, device="cpu", of_test=True),
        sampler=workspace.sampler(
            protocol.split,
            n_way=protocol.n_way,
            n_shot=protocol.n_shot,
            n_query=protocol.n_query,
            seed=protocol.seed,
            of_test=True,
        ),
    )
    opened.check_episodes()
    return opened


def _tested_weights(folder: Path, result: Result) -> Path:
    """The weights that were tested, where they or the run's best are still the same."""
    for path in (folder / "best.safetensors", Path(result.checkpoint or "")):
        if path.is_file() and file_sha256(path) == result.checkpoint_sha256:
            return path
    raise FileNotFoundError(f"the weights that were tested ({result.checkpoint}) are not there any more")
