"""matplotlib figures as SVG elements of a page.

Figures are drawn in placeholder colours, which are replaced by those of the page (`currentColor`, `var(--c1)`, …), so
that one drawing is readable in light and in dark mode. Text is kept as text, and ids are unique.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT = "#000001", "#000002"
COLOURS = ("#000011", "#000012", "#000013", "#000014", "#000015")  # --c1 … --c5 of the page
MARKERS = ("o", "s", "^", "D", "v")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
WIDTH = 4.6  # inches of 72 units: about the width of a phone in pixels, so that letters keep their size

_PAGE_COLOURS = {INK: "currentColor", FAINT: "var(--line)"} | {
    colour: f"var(--c{number})" for number, colour in enumerate(COLOURS, start=1)
}
_COLOUR = re.compile("|".join(_PAGE_COLOURS))
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NOT_IN_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")  # may be in class names
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mdmf",  # reproducible ids
    "text.parse_math": False,  # a class may be called "$5_bill"
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
} | dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK)


def series_style(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of a line; lines differ without colour too."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index % len(DASHES)],
    }


def short(text: str, length: int = 22) -> str:
    """A name shortened to fit beside an axis."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


@contextmanager
def drawing(height: float, *, rows: int = 1, columns: int = 1) -> Iterator[tuple[Figure, Any]]:
    """Context of a figure of the report's width and its axes, with the report's matplotlib settings.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("a report needs matplotlib: pip install matplotlib") from None
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.subplots(rows, columns)


def legend_below(axes: Axes, *, columns: int = 2, handles: Sequence[Any] | None = None) -> None:
    """Put a legend below the plot, with `handles` or, by default, all artists that have a label."""
    handles = axes.get_legend_handles_labels()[0] if handles is None else list(handles)
    axes.figure.legend(handles=handles, loc="outside lower left", ncols=columns, handlelength=2.2, columnspacing=1.2)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write names at the y axis, the first one at the top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def to_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element in the page's colours; `embedded` makes its ids unique.

    To be called inside `drawing`.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", buffer.getvalue()))
    for parent in root.iter():
        for child in [c for c in parent if c.tag == f"{{{_SVG}}}metadata"]:
            parent.remove(child)
    for size in ("width", "height"):
        root.attrib.pop(size, None)  # set by the page
    for element in root.iter():
        if f"{{{_XLINK}}}href" in element.attrib:
            element.set("href", element.attrib.pop(f"{{{_XLINK}}}href"))
        _take_page_colours(element)
    return _serialised(root)


def _take_page_colours(element: ElementTree.Element) -> None:
    """Replace placeholders by the page's colours; as style, since attributes do not allow `var()`."""
    parts = [f"{key}: {element.attrib.pop(key)}" for key in ("fill", "stroke") if key in element.attrib]
    parts = [element.attrib["style"], *parts] if "style" in element.attrib else parts
    if parts:
        element.set("style", _COLOUR.sub(lambda match: _PAGE_COLOURS[match[0]], "; ".join(parts)))


def embedded(svg: str, prefix: str, description: str) -> str:
    """The drawing with ids that are unique in its page.

    Args:
        svg: drawing of `to_svg`.
        prefix: letters, digits and `-`, put before each id and reference.
        description: alternative text.
    """
    root = ElementTree.fromstring(svg)
    root.attrib |= {"role": "img", "aria-label": description}
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{prefix}-{value}")
            elif key == "href" and value.startswith("#"):
                element.set(key, f"#{prefix}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(rf"url(#{prefix}-\1)", value))
    return _serialised(root)


def _serialised(root: ElementTree.Element) -> str:
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")
