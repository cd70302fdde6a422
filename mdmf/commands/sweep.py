"""`mdmf sweep`: one checkpoint at many ways and shots."""

from __future__ import annotations

import argparse
from pathlib import Path

from mdmf.commands.shared import add_table_argument, at_least_one, show_tables, study_options

HELP = "one checkpoint tested at many ways and shots: a table per model, and a plot"
TAKES_SETTINGS = True


def numbers(text: str) -> list[int]:
    """Integers of `1,2,5`, for argparse."""
    return [at_least_one(word.strip()) for word in text.split(",")]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--run", required=True, type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--shots", required=True, type=numbers, metavar="1,2,5", help="support videos per class")
    parser.add_argument("--ways", required=True, type=numbers, metavar="5,10", help="classes in an episode")
    parser.add_argument(
        "--queries", type=at_least_one, default=1, metavar="Q", help="query videos per class (default 1)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/sweep"), metavar="DIR", help="folder of results")
    add_table_argument(parser)
    parser.add_argument("--no-plot", action="store_true", help="write only JSON and CSV; matplotlib is not needed")


def run(arguments: argparse.Namespace) -> None:
    """Test all combinations, print the tables, write the files."""
    from mdmf.studies.sweep import run_sweep
    from mdmf.studies.sweep_tables import require_matplotlib, sweep_tables, write_sweep

    if not arguments.no_plot:
        require_matplotlib()
    result = run_sweep(
        arguments.run,
        ways=arguments.ways,
        shots=arguments.shots,
        n_query=arguments.queries,
        out=arguments.out,
        **study_options(arguments),
    )
    show_tables(sweep_tables(result), arguments.table)
    for file in write_sweep(result, plot=not arguments.no_plot):
        print(f"result: {file}")
