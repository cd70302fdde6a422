"""`mdmf robustness`: trained runs on input that is corrupted more and more."""

from __future__ import annotations

import argparse
from pathlib import Path

from mdmf.commands.shared import add_table_argument, show_tables
from mdmf.corruptions import KINDS

HELP = "trained runs on input that is corrupted more and more"
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--run", required=True, nargs="+", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("--source", required=True, metavar="SOURCE", help="what is corrupted, such as rgb")
    parser.add_argument("--kind", required=True, choices=KINDS, help="how")
    parser.add_argument("--strengths", required=True, nargs="+", type=float, metavar="X", help="how much; 0: not")
    parser.add_argument("--out", type=Path, default=Path("runs/robustness"), metavar="DIR", help="folder of results")
    add_table_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Test them all, and print the table."""
    from mdmf.studies.robustness import robustness_table, run_robustness

    result = run_robustness(
        arguments.run,
        source=arguments.source,
        kind=arguments.kind,
        strengths=arguments.strengths,
        out=arguments.out,
        overrides=arguments.overrides,
        progress=not arguments.quiet,
        allow_code=arguments.allow_code,
    )
    show_tables([robustness_table(result)], arguments.table)
    print(f"result: {result['file']}")
