"""`mdmf compare`: runs, or models of one run, on the same test episodes."""

from __future__ import annotations

import argparse
from pathlib import Path

from mdmf.commands.shared import add_table_argument, at_least_one, show_tables

HELP = "runs, or models of one run, on the same test episodes: differences with their intervals"
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN[:MODEL]",
        help="run folders, the reference first; runs/demo:otam: that model of it",
    )
    parser.add_argument("--model", metavar="NAME", help="model of every RUN that names none (default: the run's own)")
    parser.add_argument(
        "--protocol", nargs="+", default=[], metavar="NAME", help="which test, such as 5way_1shot: for all, or for each"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="DIR", help="folder of results")
    parser.add_argument("--json", type=Path, metavar="F", help="the JSON file, elsewhere than in DIR")
    parser.add_argument("--csv", type=Path, metavar="F", help="the CSV file, elsewhere than in DIR")
    add_table_argument(parser)
    parser.add_argument(
        "--replicates", type=at_least_one, default=2000, metavar="N", help="of the bootstrap over videos"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the bootstrap")


def run(arguments: argparse.Namespace) -> None:
    """Compare them, print the tables, and write them."""
    from mdmf.files import check_outputs
    from mdmf.studies.comparison import ModelOfRun, compare, comparison_tables, read_all, write_comparison

    check_outputs([path for path in (arguments.json, arguments.csv, arguments.table) if path is not None])
    answers = read_all([ModelOfRun.parse(text, model=arguments.model) for text in arguments.runs], arguments.protocol)
    result = compare(answers, n_replicates=arguments.replicates, seed=arguments.seed)
    files = write_comparison(result, out=arguments.out, json_file=arguments.json, csv_file=arguments.csv)
    show_tables(comparison_tables(result), arguments.table)
    print(f"result: {files[0]}\ntable:  {files[1]}")
