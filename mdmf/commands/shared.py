"""Functions shared by several commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdmf.settings import Settings

if TYPE_CHECKING:
    from mdmf.engine.tester import Protocol
    from mdmf.engine.workspace import Workspace
    from mdmf.report.table import Table


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Add the required option `--cfg C`."""
    parser.add_argument("--cfg", required=True, metavar="C", help="config file, or the name of a shipped one")


def at_least_one(text: str) -> int:
    """An integer of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def add_table_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option `--table F`, which also writes the printed tables to a file."""
    text = "also write the tables to F in the format of its suffix: .csv, .md, .tex (booktabs) or .html"
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
    """Print tables, and write them if a file is given."""
    from mdmf.report.table import write_tables

    print("\n" + "\n\n".join(table.text() for table in tables) + "\n")
    for path in [] if file is None else write_tables(file, tables):
        print(f"table:  {path}")


def study_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of every study: `overrides`, `progress` and `allow_code`."""
    return {
        "overrides": arguments.overrides,
        "progress": not arguments.quiet,
        "allow_code": arguments.allow_code,
    }


def open_workspace(arguments: argparse.Namespace, settings: Settings) -> Workspace:
    """The workspace of an experiment, with the options of the command."""
    from mdmf.engine.workspace import Workspace

    if settings.training.n_threads is not None:
        import torch

        torch.set_num_threads(settings.training.n_threads)
    return Workspace(settings, progress=not arguments.quiet, allow_code=arguments.allow_code)


def test_folder(settings: Settings) -> Path:
    """Folder of a test without a run, named after config and model."""
    return settings.output.root / f"{settings.output.name}-{settings.model.table_name}-test"


def report_test(
    workspace: Workspace, *, checkpoint: Path | None, folder: Path, protocol: Protocol, table_file: Path | None = None
) -> None:
    """Run a test, and print its tables and the path of its result."""
    from mdmf.engine.tester import run_test
    from mdmf.report.tables import result_tables
    from mdmf.results import ResultFiles

    result = run_test(workspace, checkpoint=checkpoint, folder=folder, protocol=protocol)
    show_tables(result_tables(result), table_file)
    print(f"result: {ResultFiles(folder, protocol.name).result}")
