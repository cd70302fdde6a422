"""Time of a test by its size: `python benchmarks/sizes.py [--json F]`, about four minutes on 2 cores.

The test has CLIP-M2DF, D = 512, 24 classes × 100 videos, T = 8, 5-way 1-shot, 2,000 episodes; one of these is changed
at a time. For a linear cost, `each added one` is constant.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.feature_world import make_feature_world
from benchmarks.model_rows import protocol
from benchmarks.timing import Timed
from mdmf.report.table import Table

SIZES = {
    "episodes": (2_500, 5_000, 10_000, 20_000),
    "videos": (600, 1_200, 2_400, 4_800),
    "T": (4, 8, 16, 32),
    "way": (3, 6, 12, 24),
    "shot": (1, 2, 4, 8),
}


def cost(what: str, size: int, folder: Path) -> Timed:
    """Time of a test in which `what` has the given size."""
    n_videos = size // 24 if what == "videos" else 100
    T = size if what == "T" else 8
    world = make_feature_world(folder / what / str(size), n_videos=n_videos, T=T)
    n_way, n_shot = (size if what == name else usual for name, usual in (("way", 5), ("shot", 1)))
    n_episodes = size if what == "episodes" else 2_000
    return protocol(world, n_way=n_way, n_shot=n_shot, n_episodes=n_episodes)[0]


def growth_table(numbers: list[dict[str, Any]]) -> str:
    """A table with a line per size; `each added one` is the difference to the line above per unit of size."""
    lines = []
    for before, row in zip([None, *numbers], numbers, strict=False):
        taken, added = Timed(row["seconds"]), ""
        if before is not None and before["what"] == row["what"]:
            more = taken.median - Timed(before["seconds"]).median
            added = f"{1000 * more / (row['size'] - before['size']):.3g} ms"
        lines.append([row["what"], f"{row['size']:,}", str(taken), added])
    return Table("growth", "", ["what", "size", "time: median (range)", "each added one"], lines).text()


def main() -> None:
    """Measure, print a table, and write JSON with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="F", help="file for the numbers")
    parser.add_argument("--only", nargs="+", default=list(SIZES), choices=list(SIZES))
    arguments = parser.parse_args()
    numbers: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for what in arguments.only:
            for size in SIZES[what]:
                print(f"measuring {what} {size:,} …", file=sys.stderr, flush=True)
                taken = cost(what, size, Path(folder))
                numbers.append({"what": what, "size": size, "seconds": taken.seconds})
    print(growth_table(numbers))
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
