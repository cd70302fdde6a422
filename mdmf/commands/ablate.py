"""`mdmf ablate`: several configs with several seeds, in one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mdmf.commands.shared import add_table_argument, at_least_one, show_tables
from mdmf.config import find_config
from mdmf.resources import shipped_folder

HELP = "several configs with several seeds, set against the first"
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--cfg", required=True, nargs="+", metavar="C", help="configs, or a folder of them; first: base"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S", help="training seeds")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR", help="folder of the runs")
    parser.add_argument("--jobs", type=at_least_one, default=1, metavar="J", help="runs at a time")
    add_table_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train and test them all, and print the table."""
    from mdmf.studies.ablation import ablation_table, run_ablation

    result = run_ablation(
        _configs_in_order(arguments.cfg),
        seeds=arguments.seeds,
        root=arguments.out,
        overrides=arguments.overrides,
        n_jobs=arguments.jobs,
        progress=not arguments.quiet,
        allow_code=arguments.allow_code,
    )
    show_tables([ablation_table(result)], arguments.table)
    print(f"result: {arguments.out / 'ablation.json'}")


def _configs_in_order(names: Sequence[str]) -> list[Path]:
    """Configs as given; a folder, of the user's or a shipped one, stands for the configs in it, `full` first."""
    found: list[Path] = []
    for name in names:
        folder = Path(name) if Path(name).is_dir() else shipped_folder("configs", name)
        if folder is not None:
            found += sorted(folder.glob("*.yaml"), key=lambda path: (path.stem != "full", path.stem))
        else:
            found.append(find_config(name))
    if not found:
        raise FileNotFoundError(f"no config in {', '.join(names)}")
    return found
