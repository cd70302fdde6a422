"""`mdmf test`: accuracy of a run or a config on test episodes."""

from __future__ import annotations

import argparse
from pathlib import Path

from mdmf.commands.shared import add_table_argument, open_workspace, report_test, test_folder
from mdmf.config import load_settings

HELP = "the test protocol: accuracy with its interval, of the model and its baselines"
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="RUN", help="run folder, for its settings and best weights")
    source.add_argument("--cfg", metavar="C", help="config file, or the name of a shipped one")
    parser.add_argument("--ckpt", type=Path, metavar="F", help="weights (safetensors); baselines need none")
    add_table_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Test a run, or a config."""
    from mdmf.engine.tester import Protocol

    if arguments.run is not None:
        from mdmf.engine.run_folder import RunFolder

        trained = RunFolder.open(arguments.run)
        if not trained.finished:
            print(f"note: {trained.folder} has not finished training; these are its best weights so far", flush=True)
        settings, folder, trained_with = trained.settings(arguments.overrides), trained.folder, trained.settings()
        trained.check_same_features(settings)
        checkpoint = arguments.ckpt or trained.best
        protocol = Protocol.of(settings, trained_with=trained_with, checkpoint=arguments.ckpt)
    else:
        settings = load_settings(arguments.cfg, arguments.overrides)
        folder, checkpoint = test_folder(settings), arguments.ckpt
        protocol = Protocol.of(settings).without_overwriting(folder, settings, checkpoint)
    workspace = open_workspace(arguments, settings)
    report_test(workspace, checkpoint=checkpoint, folder=folder, protocol=protocol, table_file=arguments.table)
