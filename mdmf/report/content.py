"""What a report is made of, before it is HTML, Markdown or CSV: sections of paragraphs, tables, plots and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from mdmf.report.figures import embedded
from mdmf.report.table import Table


@dataclass(frozen=True)
class Plot:
    """A drawing of `figures` with a title; `description` says in words what it shows."""

    kind: ClassVar[str] = "plot"
    title: str
    svg: str
    description: str
    caption: str = ""

    def drawing(self, prefix: str) -> Markup:
        """The drawing as markup; the prefix makes its ids unique in a page."""
        return Markup(embedded(self.svg, prefix, self.description))


@dataclass(frozen=True)
class Strips:
    """Frames of videos side by side, once in the page: id in the page -> JPEG in base64, each of n frames."""

    kind: ClassVar[str] = "strips"
    pictures: Mapping[str, str]
    n_frames: int


@dataclass(frozen=True)
class Line:
    """Joins a frame of the query with one of the support video, both counted from 0; weight in [0, 1]."""

    query: int
    support: int
    weight: float


@dataclass(frozen=True)
class Panel:
    """Frames of a query over those of a support video, and lines for how they were aligned.

    Attributes:
        description: in words what it shows.
        query, support: ids of the strips in the page; None for frames that are missing.
        lines: None for a model that aligns nothing.
        colour: number of a colour of the page, 1..5.
    """

    heading: str
    description: str
    query: str | None
    support: str | None
    lines: tuple[Line, ...] | None
    colour: int


@dataclass(frozen=True)
class Board:
    """A story board: its panels, under a title and a line that says which query it is."""

    kind: ClassVar[str] = "board"
    title: str
    is_right: bool
    where: str
    panels: tuple[Panel, ...]
    n_frames: int


Block = str | Table | Plot | Strips | Board


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading. A string is a paragraph."""

    key: str
    title: str
    blocks: tuple[Block, ...]

    def tables(self) -> Iterator[Table]:
        """The tables in order."""
        return (block for block in self.blocks if isinstance(block, Table))
