"""What several commands do alike."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mdmf.settings import Settings

if TYPE_CHECKING:
    from mdmf.engine.tester import Protocol
    from mdmf.engine.workspace import Workspace
    from mdmf.report.table import Table


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """`--cfg C`, required."""
    parser.add_argument("--cfg", required=True, metavar="C", help="config file, or the name of a shipped one")


def at_least_one(text: str) -> int:
    """A number for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def add_table_argument(parser: argparse.ArgumentParser) -> None:
    """`--table F`: the printed tables as a file too."""
    text = "also write the tables to F; its ending picks the format: .csv, .md, .tex (booktabs) or .html"
    parser.add_argument("--table", type=_table_file, metavar="F", help=text)


def _table_file(text: str) -> Path:
    from mdmf.files import check_outputs
    from mdmf.report.table import check_table_file

    try:
        check_table_file(Path(text))
        check_outputs([Path(text)])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def show_tables(tables: Sequence[Table], file: Path | None) -> None:
    """Print tables, and write them where a file is given."""
    from mdmf.report.table import write_tables

    print("\n" + "\n\n".join(table.text() for table in tables) + "\n")
    for path in [] if file is None else write_tables(file, tables):
        print(f"table:  {path}")


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


def report_test(
    workspace: Workspace, *, checkpoint: Path | None, folder: Path, protocol: Protocol, table_file: Path | None = None
) -> None:
    """Run the test protocol, print its tables and where the result went."""
    from mdmf.engine.tester import run_test
    from mdmf.report.tables import result_tables
    from mdmf.results import ResultFiles

    result = run_test(workspace, checkpoint=checkpoint, folder=folder, protocol=protocol)
    show_tables(result_tables(result), table_file)
    print(f"result: {ResultFiles(folder, protocol.name).result}")
