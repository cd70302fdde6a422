"""What several commands do alike."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mdmf.settings import Settings

if TYPE_CHECKING:
    from mdmf.engine.tester import Protocol
    from mdmf.engine.workspace import Workspace


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """`--cfg C`, required."""
    parser.add_argument("--cfg", required=True, metavar="C", help="config file, or the name of a shipped one")


def at_least_one(text: str) -> int:
    """A number for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def open_workspace(arguments: argparse.Namespace, settings: Settings) -> Workspace:
    """The workspace of an experiment, with the progress and the rights that the command was given."""
    from mdmf.engine.workspace import Workspace

    if settings.training.n_threads is not None:
        import torch

        torch.set_num_threads(settings.training.n_threads)
    return Workspace(settings, progress=not arguments.quiet, allow_code=arguments.allow_code)


def test_folder(settings: Settings) -> Path:
    """Where a test without a run writes: beside the runs, under the names of the config and the model."""
    return settings.output.root / f"{settings.output.name}-{settings.model.table_name}-test"


def report_test(workspace: Workspace, *, checkpoint: Path | None, folder: Path, protocol: Protocol) -> None:
    """Run the test protocol, print its table and where the result went."""
    from mdmf.engine.tester import run_test
    from mdmf.report.tables import result_table

    result = run_test(workspace, checkpoint=checkpoint, folder=folder, protocol=protocol)
    print(f"\n{result_table(result)}\n")
    print(f"result: {folder / f'test_{protocol.name}.json'}")
