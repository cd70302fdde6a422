"""`mdmf ablate`: several configs with several seeds, in one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mdmf.commands.shared import add_table_argument, at_least_one, show_tables, study_options
from mdmf.config import find_config
from mdmf.resources import shipped_folder

HELP = "several configs with several seeds, compared with the first config"
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--cfg", required=True, nargs="+", metavar="C", help="configs, or a folder of them; the first is the reference"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S", help="training seeds")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR", help="folder of the runs")
    parser.add_argument("--jobs", type=at_least_one, default=1, metavar="J", help="parallel runs")
    add_table_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train and test all configs, and print the table."""
    from mdmf.studies.ablation import ablation_table, run_ablation

    result = run_ablation(
        _configs_in_order(arguments.cfg),
        seeds=arguments.seeds,
        root=arguments.out,
        n_jobs=arguments.jobs,
        **study_options(arguments),
    )
    show_tables([ablation_table(result)], arguments.table)
    print(f"result: {arguments.out / 'ablation.json'}")


def _configs_in_order(names: Sequence[str]) -> list[Path]:
    """Paths of configs; a folder (existing or shipped) is replaced by its configs, `full` first.

    Raises:
        FileNotFoundError: if there is no config.
    """
    configs: list[Path] = []
    for name in names:
        folder = Path(name) if Path(name).is_dir() else shipped_folder("configs", name)
        if folder is not None:
            configs += sorted(folder.glob("*.yaml"), key=lambda path: (path.stem != "full", path.stem))
        else:
            configs.append(find_config(name))
    if not configs:
        raise FileNotFoundError(f"no config in {', '.join(names)}")
    return configs
