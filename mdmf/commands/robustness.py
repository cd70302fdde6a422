"""`mdmf robustness`: trained runs on corrupted input."""

from __future__ import annotations

import argparse
from pathlib import Path

from mdmf.commands.shared import add_table_argument, show_tables, study_options
from mdmf.corruptions import KINDS

HELP = "accuracy of trained runs against the strength of a corruption"
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--run", required=True, nargs="+", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("--source", required=True, metavar="SOURCE", help="corrupted source, such as rgb")
    parser.add_argument("--kind", required=True, choices=KINDS, help="kind of corruption")
    parser.add_argument(
        "--strengths", required=True, nargs="+", type=float, metavar="X", help="strengths; 0 is no corruption"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/robustness"), metavar="DIR", help="folder of results")
    add_table_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Test all runs, and print the table."""
    from mdmf.studies.robustness import robustness_table, run_robustness

    result = run_robustness(
        arguments.run,
        source=arguments.source,
        kind=arguments.kind,
        strengths=arguments.strengths,
        out=arguments.out,
        **study_options(arguments),
    )
    show_tables([robustness_table(result)], arguments.table)
    print(f"result: {result['file']}")
