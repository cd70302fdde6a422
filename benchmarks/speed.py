"""Speeds, and their ratios to a plain implementation: `python benchmarks/speed.py [--json F] [--only NAME …]`.

The plain version (`benchmarks/plain.py`) computes one episode at a time, class by class, cell by cell. It is measured
on fewer episodes with the same features, alternating with ours; ratios are per episode. Each row is the median of
repeats after a warm-up, with their range. About four minutes on 2 idle cores.
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
    """The rows with the given names, or all rows."""
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
        raise SystemExit(f"unknown rows {sorted(unknown)}; known: {', '.join(parts)}")
    rows = []
    for name in names or parts:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        rows += parts[name]()
        print(f"  {rows[-1].what}: {rows[-1].ours}", file=sys.stderr, flush=True)
    return rows


def machine() -> dict[str, object]:
    """Description of the machine and its software."""
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
    """Measure, print a table, and write JSON with `--json`; exit code 1 if a row misses its target."""
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
