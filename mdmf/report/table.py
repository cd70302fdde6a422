"""Tables, and their form as text, Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from mdmf.files import write_atomic

if TYPE_CHECKING:
    from pandas import DataFrame

MISSING = "–"
_MARKDOWN = str.maketrans({"\\": "\\\\", "|": "\\|", "&": "&amp;", "<": "&lt;"})
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "–": "--"}
)
_MINUS = re.compile(r"(?<!\S)-(?=\d)")


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: formatted value.
        value: the number or text; None if there is only the formatted text.
        interval: half the width of the value's 95 % interval.
        spread: standard deviation of the value.
        pointer: JSON pointer to the value in the table's source file; "" for computed values.
    """

    text: str
    value: Any = None
    interval: float | None = None
    spread: float | None = None
    pointer: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the value is a number."""
        return isinstance(self.value, (int, float)) and not isinstance(self.value, bool)


def number(
    value: float | None,
    spec: str = ".2f",
    *,
    interval: float | None = None,
    spread: float | None = None,
    path: Sequence[str] = (),
) -> Cell:
    """A cell such as `79.12 ± 0.35`; `–` for None.

    Args:
        value: the number.
        spec: format of the value, and of the number after `±`.
        interval: half the width of its 95 % interval, written after `±`.
        spread: its standard deviation, written after `±` without an interval.
        path: keys of the value in the table's source file.
    """
    if value is None:
        return Cell(MISSING)
    half = spread if interval is None else interval
    text = f"{value:{spec}}" + ("" if half is None else f" ± {half:{spec.lstrip('+')}}")
    return Cell(text, value, interval, spread, pointer(*path))


def pointer(*path: str) -> str:
    """The JSON pointer (RFC 6901) of a path of keys, such as `/models/a~1b`."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def row_label(name: str, *, our_reading: bool) -> str:
    """Name of a model's row; marks our reading of unpublished equations."""
    return f"{name} (our reading)" if our_reading else name


Row = Sequence[Cell | str]


class Table:
    """A table whose first column names its rows.

    Args:
        name: name in file names and references.
        caption: "" for none.
        header: names of the columns.
        rows: cells; a string is a cell with this text.
        notes: sentences below the table.
        source: name of the JSON file of the pointers; "" for none.
        folded: whether a page shows the table only after a click.
        wraps: whether a page may break the lines of cells.
    """

    kind = "table"  # as a block of a page

    def __init__(
        self,
        name: str,
        caption: str,
        header: Sequence[str],
        rows: Iterable[Row],
        *,
        notes: Sequence[str] = (),
        source: str = "",
        folded: bool = False,
        wraps: bool = False,
    ) -> None:
        self.name, self.caption, self.header, self.notes = name, caption, tuple(header), tuple(notes)
        self.rows = tuple(tuple(Cell(cell) if isinstance(cell, str) else cell for cell in row) for row in rows)
        self.source, self.folded, self.wraps = source, folded, wraps

    def text(self) -> str:
        """The caption, a Markdown table with padded columns, and the notes in brackets, for a terminal."""
        notes = "\n".join(f"({note})" for note in self.notes)
        return "\n\n".join(part for part in (self.caption, self._grid(for_terminal), notes) if part)

    def markdown(self, *, caption: bool = True) -> str:
        """The table as Markdown; special characters in names are escaped."""
        title = f"**{one_line(self.caption)}**" if caption and self.caption else ""
        notes = "  \n".join(f"({one_line(note)})" for note in self.notes)
        return "\n\n".join(part for part in (title, self._grid(one_line), notes) if part)

    def _grid(self, escape: Callable[[str], str]) -> str:
        """A Markdown table whose first column is aligned left and whose others are aligned right."""
        columns = [[escape(text) for text in column] for column in zip(*self._texts(), strict=True)]
        widths = [max(map(len, column)) for column in columns]
        padded = [
            [text.rjust(width) if place else text.ljust(width) for text in column]
            for place, (column, width) in enumerate(zip(columns, widths, strict=True))
        ]
        rule = "|" + "|".join("-" * (width + 1) + (":" if place else "-") for place, width in enumerate(widths)) + "|"
        header, *body = ["| " + " | ".join(line) + " |" for line in zip(*padded, strict=True)]
        return "\n".join([header, rule, *body])

    def _texts(self) -> Iterator[Sequence[str]]:
        yield self.header
        for row in self.rows:
            yield [cell.text for cell in row]

    def frame(self) -> DataFrame:
        """A frame of pandas with numbers in full, and a column of its own for every interval and spread."""
        import pandas

        parts = [
            (place, part)
            for place in range(len(self.header))
            for part in ("value", "interval", "spread")
            if part == "value" or any(getattr(row[place], part) is not None for row in self.rows)
        ]
        names = [self.header[place] + ("" if part == "value" else f", {part}") for place, part in parts]
        rows = [[_plain(row[place], part) for place, part in parts] for row in self.rows]
        return pandas.DataFrame(rows, columns=names, dtype=object)

    def csv(self) -> str:
        """The frame as CSV; what is missing is empty."""
        return self.frame().to_csv(index=False, lineterminator="\n")

    def latex(self) -> str:
        """A `table` environment with the rules of the package booktabs."""
        header, *body = [" & ".join(map(_for_latex, row)) + r" \\" for row in self._texts()]
        label = re.sub("[^a-zA-Z0-9]+", "-", self.name)
        return "\n".join(
            [
                r"\begin{table}",
                r"  \centering",
                *([rf"  \caption{{{_for_latex(self.caption)}}}"] if self.caption else []),
                rf"  \label{{tab:{label}}}",
                rf"  \begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}",
                r"    \toprule",
                f"    {header}",
                r"    \midrule",
                *(f"    {line}" for line in body),
                r"    \bottomrule",
                r"  \end{tabular}",
                *(rf"  \par\footnotesize {_for_latex(note)}" for note in self.notes),
                r"\end{table}",
            ]
        )

    def html(self) -> Markup:
        """The table as HTML, in a box that scrolls; a folded table opens with a click on its caption."""
        return Markup(templates().get_template("table.html.j2").render(table=self))


@cache
def templates() -> Environment:
    """The jinja2 templates of this package; they escape every text."""
    loader = PackageLoader("mdmf.report", "")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["json"] = json.dumps
    return environment


def one_line(text: str) -> str:
    """A name in one line of Markdown, with special characters escaped."""
    return " ".join(text.split()).translate(_MARKDOWN)


def for_terminal(text: str) -> str:
    """A name in a cell for a terminal, with `|` escaped and without control characters."""
    return "".join(character if character.isprintable() else "?" for character in text).replace("|", "\\|")


def _for_latex(text: str) -> str:
    return _MINUS.sub("$-$", " ".join(text.split()).translate(_LATEX))


def _plain(cell: Cell, part: str) -> Any:
    """A part of a cell in a data frame; None if it is missing."""
    if part != "value":
        return getattr(cell, part)
    return cell.value if cell.is_number else None if cell.text == MISSING else cell.text


def check_table_file(path: Path) -> None:
    """Check that the suffix of a file names a format of tables.

    Raises:
        ValueError: if it does not.
    """
    if path.suffix not in _FORMATS:
        raise ValueError(
            f"{path}: expected a file name that ends with {', '.join(_FORMATS)}, which is the format of the table"
        )


def write_tables(path: Path, tables: Sequence[Table]) -> list[Path]:
    """Write tables in the format of the file's suffix (see `check_table_file`).

    Returns:
        The files: one, or for CSV one per table, of which the later ones are named `<stem>_<name of the table>.csv`.
    """
    content = {path: _FORMATS[path.suffix](tables)}
    if path.suffix == ".csv":
        content |= {path.with_stem(f"{path.stem}_{file_name(table.name)}"): table.csv() for table in tables[1:]}
    for file, text in content.items():
        write_atomic(file, text.encode())
    return list(content)


def file_name(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", name)


_FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    ".csv": lambda tables: tables[0].csv(),
    ".md": lambda tables: "\n\n".join(table.markdown() for table in tables) + "\n",
    ".tex": lambda tables: "\n\n".join(table.latex() for table in tables) + "\n",
    ".html": lambda tables: templates().get_template("tables.html.j2").render(tables=tables) + "\n",
}
