"""Blocks as HTML. Every text is escaped here, once; only `Html` and the drawings of `figures` are taken as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from mdmf.report.blocks import Block, Board, Cell, Html, Plot, Section, Table, Text
from mdmf.report.figures import labelled, with_prefix


def section_html(section: Section, *, prefix: str, level: int) -> str:
    """A section with its heading of a level; `prefix` makes ids unique in the page."""
    name = f"{prefix}-{section.key}"
    inside = "".join(_blocks_html(section.blocks, prefix=name, level=level + 1))
    heading = f'<h{level} id="{name}-heading">{escape(section.title)}</h{level}>'
    return f'<section id="{name}" aria-labelledby="{name}-heading">{heading}{inside}</section>'


def _blocks_html(blocks: Sequence[Block], *, prefix: str, level: int) -> Iterator[str]:
    """Plots that follow each other stand in one grid."""
    number = 0
    for is_plot, group in groupby(blocks, key=lambda block: isinstance(block, Plot)):
        if is_plot:
            drawn = []
            for plot in group:
                number += 1
                if isinstance(plot, Plot):
                    drawn.append(_plot_html(plot, prefix=f"{prefix}-{number}", level=level))
            yield f'<div class="plots">{"".join(drawn)}</div>'
            continue
        for block in group:
            if isinstance(block, Table):
                yield table_html(block)
            elif isinstance(block, Text):
                yield f"<p>{escape(block.text)}</p>"
            elif isinstance(block, Html):
                yield block.markup
            elif isinstance(block, Board):
                heading = f'<h{level} class="{block.kind}">{escape(block.title)}</h{level}>'
                yield f'<div class="board">{heading}{block.markup}</div>'


def _plot_html(plot: Plot, *, prefix: str, level: int) -> str:
    svg = labelled(with_prefix(plot.svg, prefix), plot.description)
    caption = f"<figcaption>{escape(plot.caption)}</figcaption>" if plot.caption else ""
    return f'<figure class="plot"><h{level}>{escape(plot.title)}</h{level}>{svg}{caption}</figure>'


def table_html(table: Table) -> str:
    """A table in a box of its own that scrolls, also by keyboard; a folded one behind its caption."""
    if not table.rows:
        return ""
    titles = zip(table.header, table.rows[0], strict=True)
    head = "".join(f'<th scope="col"{_kind(below)}>{escape(name)}</th>' for name, below in titles)
    body = "".join(
        f'<tr><th scope="row"{_data(row[0])}>{escape(row[0].text)}</th>'
        + "".join(f"<td{_kind(cell)}{_data(cell)}>{escape(cell.text)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    source = f' data-source="{escape(table.source)}"' if table.source else ""
    words = ' class="words"' if _is_of_words(table) else ""
    name = escape(table.name)
    box = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.caption)}">'
        f'<table data-table="{name}"{source}{words}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
    if table.folded:
        return f"<details><summary>{escape(table.caption)}</summary>{box}</details>"
    return f'<p class="about">{escape(table.caption)}</p>{box}'


def _is_of_words(table: Table) -> bool:
    """Whether its second column is read, not compared: then it may break lines."""
    return table.name.startswith(("settings", "environment"))


def _kind(cell: Cell) -> str:
    """Words stand to the left, numbers to the right."""
    is_number = isinstance(cell.value, (int, float)) and not isinstance(cell.value, bool)
    return "" if is_number or cell.text == "–" else ' class="text"'


def _data(cell: Cell) -> str:
    """The value behind a cell's text, and where in the table's source it stands."""
    parts = "" if cell.value is None and not cell.pointer else f' data-value="{escape(json.dumps(cell.value))}"'
    parts += f' data-pointer="{escape(cell.pointer)}"' if cell.pointer else ""
    return parts + ("" if cell.interval is None else f' data-interval="{cell.interval!r}"')
