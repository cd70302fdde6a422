"""Content of a report, independent of its format: sections of paragraphs, tables, plots and story boards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from mdmf.report.figures import embedded
from mdmf.report.table import Table


@dataclass(frozen=True)
class Plot:
    """A drawing with a title.

    Attributes:
        svg: of `figures.to_svg`.
        description: alternative text.
        caption: text below the drawing.
    """

    kind: ClassVar[str] = "plot"
    title: str
    svg: str
    description: str
    caption: str = ""

    def drawing(self, prefix: str) -> Markup:
        """The drawing as markup; `prefix` makes its ids unique in a page."""
        return Markup(embedded(self.svg, prefix, self.description))


@dataclass(frozen=True)
class Strips:
    """Pictures that story boards refer to: id in the page -> JPEG in base64 of n frames side by side."""

    kind: ClassVar[str] = "strips"
    pictures: Mapping[str, str]
    n_frames: int


@dataclass(frozen=True)
class Line:
    """A line between a frame of the query and one of the support video, counted from 0; weight in [0, 1]."""

    query: int
    support: int
    weight: float


@dataclass(frozen=True)
class Panel:
    """Frames of a query above those of a support video, and lines for their alignment.

    Attributes:
        description: alternative text.
        query, support: ids of their strips in the page; None for missing frames.
        lines: None for a model without an alignment.
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
    """A story board: panels under a title, and `where` its query is in the test."""

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
