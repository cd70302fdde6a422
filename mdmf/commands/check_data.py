"""`mdmf check-data`: checks of a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from mdmf.commands.shared import add_config_argument
from mdmf.config import load_settings

HELP = "the data doctor: problems of the data that would change a result; exit code 1 if there are errors"
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_argument(parser)
    parser.add_argument("--decode", action="store_true", help="read the first, middle and last frame of each video")
    parser.add_argument(
        "--csv", type=Path, metavar="F", help="CSV file of all findings; default: <output.root>/check_<data>.csv"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check the data, print the report and write all findings as CSV; returns 1 if there are errors."""
    from mdmf.doctor.examine import check_data
    from mdmf.doctor.text import doctor_text, findings_csv
    from mdmf.files import check_outputs, write_atomic

    settings = load_settings(arguments.cfg, arguments.overrides)
    path = arguments.csv or settings.output.root / f"check_{settings.data.name}.csv"
    check_outputs([path])
    report = check_data(settings, decode=arguments.decode, progress=not arguments.quiet)
    write_atomic(path, findings_csv(report).encode("utf-8", errors="replace"))
    print(f"\n{doctor_text(report)}\n")
    print(f"findings: {path}")
    return 1 if report.n_errors else 0
