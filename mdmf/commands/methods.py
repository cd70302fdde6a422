"""`mdmf methods`: the methods that can be named in `model.name`, and the settings of one."""

from __future__ import annotations

import argparse

HELP = "the methods there are; with a name, its settings and what is known of it"
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", nargs="?", help="of a method; default: list all")


def run(arguments: argparse.Namespace) -> None:
    """Print the list, or one method."""
    from mdmf.models.describe import method_list, method_text

    if arguments.name is None:
        print(method_list())
        print("\n`mdmf methods NAME` shows the settings of one; methods over several sources wrap any other with `of:`")
    else:
        print(method_text(arguments.name))
