"""`mdmf compare`: differences of runs, or of models of one run, on the same test episodes."""

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
        help="run folders, the reference first; runs/demo:otam is the model otam of runs/demo",
    )
    parser.add_argument("--model", metavar="NAME", help="model of every RUN without :MODEL (default: the tested model)")
    parser.add_argument(
        "--protocol",
        nargs="+",
        default=[],
        metavar="NAME",
        help="name of the test, such as 5way_1shot: one for all RUNs, or one for each",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="DIR", help="folder of results")
    parser.add_argument("--json", type=Path, metavar="F", help="path of the JSON file (default: in DIR)")
    parser.add_argument("--csv", type=Path, metavar="F", help="path of the CSV file (default: in DIR)")
    add_table_argument(parser)
    parser.add_argument(
        "--replicates", type=at_least_one, default=2000, metavar="N", help="replicates of the bootstrap over videos"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the bootstrap")


def run(arguments: argparse.Namespace) -> None:
    """Compare the runs, print the tables, and write JSON and CSV."""
    from mdmf.files import check_outputs
    from mdmf.studies.comparison import ModelOfRun, compare, comparison_tables, read_all, write_comparison

    check_outputs([path for path in (arguments.json, arguments.csv, arguments.table) if path is not None])
    answers = read_all([ModelOfRun.parse(text, model=arguments.model) for text in arguments.runs], arguments.protocol)
    result = compare(answers, n_replicates=arguments.replicates, seed=arguments.seed)
    files = write_comparison(result, out=arguments.out, json_file=arguments.json, csv_file=arguments.csv)
    show_tables(comparison_tables(result), arguments.table)
    print(f"result: {files[0]}\ntable:  {files[1]}")
