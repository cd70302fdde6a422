"""What takes how long, as ratios measured in one run: `python benchmarks/speed.py [--json F] [--only NAME …]`.

The plain version (`benchmarks/plain.py`) does one episode at a time, class by class, cell by cell. It is timed on fewer
episodes, on the same features, in turn with ours; rates are per episode. Each row is warmed up, and given as the median
of its repeats with their spread. About four minutes on 2 cores; leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.data_rows import extraction_row, help_row, sampling_row, start_row
from benchmarks.feature_world import make_feature_world
from benchmarks.model_rows import D, T, alignment_row, baseline_row, test_rows, training_row
from benchmarks.timing import Row, table


def measure(names: list[str], folder: Path) -> list[Row]:
    """The rows that are asked for, in their order."""
    world = make_feature_world(folder / "world", D=D, T=T)
    parts: dict[str, Callable[[], list[Row]]] = {
        "test": lambda: test_rows(world),
        "baseline": lambda: [baseline_row(world)],
        "alignment": lambda: [alignment_row()],
        "training": lambda: [training_row(world)],
        "sampling": lambda: [sampling_row(world)],
        "extraction": lambda: [extraction_row(folder / "extraction")],
        "start": lambda: [start_row(folder / "start")],
        "help": lambda: [help_row()],
    }
    if unknown := set(names) - set(parts):
        raise SystemExit(f"unknown rows {sorted(unknown)}; there are {', '.join(parts)}")
    rows = []
    for name in names or parts:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        rows += parts[name]()
        print(f"  {rows[-1].what}: {rows[-1].ours}", file=sys.stderr, flush=True)
    return rows


def machine() -> dict[str, object]:
    """What was measured on."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    return {
        "processor": processor,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "n_cores": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    """Measure, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="F", help="file for the numbers")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="test, baseline, alignment, training, …")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments.only, Path(folder))
    where = machine()
    print(", ".join(f"{name} {value}" for name, value in where.items()) + "\n")
    print(table(rows))
    if arguments.json:
        numbers = {"machine": where, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")
    raise SystemExit(0 if all(row.reached for row in rows) else 1)


if __name__ == "__main__":
    main()
