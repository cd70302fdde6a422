"""`mdmf methods`: the values of `model.name`, and the settings of a method."""

from __future__ import annotations

import argparse

HELP = "list of the methods or, with a name, its citation, settings and notes"
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", nargs="?", help="name of a method (default: list all)")


def run(arguments: argparse.Namespace) -> None:
    """Print the list, or one method."""
    from mdmf.models.describe import method_list, method_text

    if arguments.name is None:
        print(method_list())
        print("\n`mdmf methods NAME` shows the settings of one; methods over several sources wrap any other with `of:`")
    else:
        print(method_text(arguments.name))
