"""`mdmf extract`: computes the features of all videos."""

from __future__ import annotations

import argparse

from mdmf.commands.shared import add_config_argument, open_workspace
from mdmf.config import load_settings

HELP = "compute the features only; resumes, and several processes share the work"
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Complete the feature stores."""
    workspace = open_workspace(arguments, load_settings(arguments.cfg, arguments.overrides))
    print(workspace.extract())
    for source in workspace.sources:
        print(f"feature store of {source}: {workspace.stores.recipes[source].folder}")
