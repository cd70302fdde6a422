"""How the cost grows with the size: `python benchmarks/sizes.py [--json F]`.

A test with CLIP-M2DF, D = 512, from 24 classes × 100 videos, T = 8, 5-way 1-shot, 2,000 episodes; one of these is
changed at a time. A power of 1 means that the time is proportional to the size, 0 that it does not depend on it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.feature_world import make_feature_world
from benchmarks.model_rows import protocol
from benchmarks.timing import Timed
from mdmf.report.tables import text_table

SIZES = {
    "episodes": (2_500, 5_000, 10_000, 20_000),
    "videos": (600, 1_200, 2_400, 4_800),
    "T": (4, 8, 16, 32),
    "way": (3, 6, 12, 24),
    "shot": (1, 2, 4, 8),
}


def cost(what: str, size: int, folder: Path) -> Timed:
    """Time of a test in which `what` has this size."""
    n_videos = size // 24 if what == "videos" else 100
    T = size if what == "T" else 8
    world = make_feature_world(folder / what / str(size), n_videos=n_videos, T=T)
    n_way, n_shot = (size if what == name else usual for name, usual in (("way", 5), ("shot", 1)))
    n_episodes = size if what == "episodes" else 2_000
    return protocol(world, n_way=n_way, n_shot=n_shot, n_episodes=n_episodes)[0]


def main() -> None:
    """Measure, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="F", help="file for the numbers")
    parser.add_argument("--only", nargs="+", default=list(SIZES), choices=list(SIZES))
    arguments = parser.parse_args()
    lines, numbers = [], []
    with tempfile.TemporaryDirectory() as folder:
        for what in arguments.only:
            last = None
            for size in SIZES[what]:
                taken = cost(what, size, Path(folder))
                power = None if last is None else math.log(taken.median / last[1]) / math.log(size / last[0])
                lines.append([what, f"{size:,}", str(taken), "" if power is None else f"{power:.2f}"])
                numbers.append({"what": what, "size": size, "seconds": taken.seconds, "power": power})
                last = size, taken.median
                print(*lines[-1], file=sys.stderr, flush=True)
    print(text_table(["what", "size", "time: median (range)", "grows with the power"], lines))
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
