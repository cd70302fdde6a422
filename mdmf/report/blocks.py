"""What a report is made of before it is HTML, Markdown or CSV: sections of tables, plots and plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: as it is read.
        value: as it was written in the result file; None where the text is all.
        pointer: where in the table's source file the value stands (a JSON pointer); "" for what is worked out.
        interval: half the width of the value's 95 % interval.
    """

    text: str
    value: Any = None
    pointer: str = ""
    interval: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with a name for files, a caption, and a first column that names its rows.

    Attributes:
        source: the JSON file that pointers lead into; "" if there are none.
        folded: shown only when opened.
    """

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    source: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Plot:
    """A picture: `svg` is our own drawing, `description` says in words what it shows."""

    title: str
    svg: str
    description: str
    caption: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Html:
    """Markup that is safe already; left out of Markdown and CSV."""

    markup: str


@dataclass(frozen=True)
class Board:
    """Safe markup in a frame, under a heading; `kind` is `right` or `wrong`."""

    title: str
    kind: str
    markup: str


Block = Table | Plot | Text | Html | Board


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading."""

    key: str
    title: str
    blocks: tuple[Block, ...]

    def tables(self) -> Iterator[Table]:
        """The tables in order."""
        return (block for block in self.blocks if isinstance(block, Table))


def pointer(*parts: str) -> str:
    """A JSON pointer (RFC 6901) from its parts: `/models/a~1b`."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def percent_cell(percent: float | None, *, path: Sequence[str] = (), interval: float | None = None) -> Cell:
    """`79.12 ± 0.35` with its place in the result file; empty for None."""
    if percent is None:
        return Cell("–")
    text = f"{percent:.2f}" + ("" if interval is None else f" ± {interval:.2f}")
    return Cell(text, percent, pointer(*path) if path else "", interval)
