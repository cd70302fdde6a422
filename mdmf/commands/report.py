"""`mdmf report`: one HTML page on one or several runs."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

HELP = "one self-contained HTML page on one or several runs"
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run", nargs="+", type=Path, metavar="RUN", help="folders of runs, or of tests without a run")
    parser.add_argument(
        "--out", type=Path, metavar="F", help="path of the page (default: report.html in the first RUN)"
    )
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="test to show, as in test_NAME.json (default: the one closest to the settings of the run)",
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="model that gains are measured against (default: the best baseline)"
    )
    parser.add_argument("--markdown", type=Path, metavar="F", help="also write the tables as Markdown")
    parser.add_argument("--csv", type=Path, metavar="DIR", help="also write each table as a CSV file")
    parser.add_argument(
        "--allow-code", action="store_true", help="let model.name=module of a RUN import your own Python code"
    )


def run(arguments: argparse.Namespace) -> None:
    """Gather the evidence of the runs, and write the page."""
    from mdmf.evidence.gather import gather_evidence
    from mdmf.files import check_outputs, write_atomic
    from mdmf.report.exports import csv_files, markdown
    from mdmf.report.page import make_reports, page_html
    from mdmf.report.run_files import read_run

    folders: list[Path] = arguments.run
    page = arguments.out or folders[0] / "report.html"
    check_outputs([path for path in (page, arguments.markdown) if path is not None])
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError("a run is given twice")
    runs = []
    for folder, label in zip(folders, _labels(folders), strict=True):
        run = read_run(folder, protocol=arguments.protocol, label=label)
        runs.append(gather_evidence(run, allow_code=arguments.allow_code))
        for part, reason in runs[-1].evidence.missing.items():
            print(f"note: {label}: no {part}: {reason}", flush=True)
    reports = make_reports(runs, baseline=arguments.baseline)
    write_atomic(page, page_html(reports).encode())
    print(f"report: {page}")
    if arguments.markdown is not None:
        write_atomic(arguments.markdown, markdown(reports).encode())
        print(f"tables: {arguments.markdown}")
    if arguments.csv is not None:
        for name, content in csv_files(reports):
            write_atomic(arguments.csv / name, content.encode())
        print(f"tables: {arguments.csv}")


def _labels(folders: list[Path]) -> list[str]:
    """Names of the folders, with their parent folder if several have the same name."""
    resolved = [folder.resolve() for folder in folders]
    counts = Counter(path.name for path in resolved)
    return [path.name if counts[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in resolved]
