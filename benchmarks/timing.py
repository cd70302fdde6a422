"""Repeated measurements of time, and a table of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mdmf.report.table import Table


@dataclass(frozen=True)
class Timed:
    """Seconds of repeated measurements."""

    seconds: list[float]

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        unit, factor = ("s", 1) if self.median >= 1 else ("ms", 1000)
        low, high = min(self.seconds) * factor, max(self.seconds) * factor
        return f"{self.median * factor:.3g} {unit} ({low:.3g}-{high:.3g})"


@dataclass(frozen=True)
class Row:
    """One line of the table: a measurement, its target, and whether it was reached."""

    what: str
    ours: Timed
    target: str
    reached: bool
    plain: Timed | None = None
    ratio: float | None = None
    more: dict[str, float] = field(default_factory=dict)


def timed(work: Callable[[], object], *, repeats: int, warm_up: int = 1) -> Timed:
    """Time of `work`, repeated after a warm-up."""
    for _ in range(warm_up):
        work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return Timed(seconds)


def table(rows: Sequence[Row]) -> str:
    """A text table of the rows."""
    lines = [
        [
            row.what,
            str(row.ours),
            "" if row.plain is None else str(row.plain),
            "" if row.ratio is None else f"{row.ratio:.3g}x",
            row.target,
            "yes" if row.reached else "NO",
        ]
        for row in rows
    ]
    header = ["what", "ours: median (range)", "plain, one episode", "ratio", "target", "reached"]
    return Table("timing", "", header, lines).text()
