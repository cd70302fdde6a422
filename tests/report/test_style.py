"""Contrast of the page's colours by WCAG 2.2, worked out from style sheet and drawings: no browser is needed."""

import re
from importlib.resources import files

import numpy as np
import pytest

from mdmf.report.plots import confusion_plot, map_plot
from mdmf.studies import sweep_tables

STYLE = (files("mdmf.report") / "report.css").read_text(encoding="utf-8")
SERIES = ("c1", "c2", "c3", "c4", "c5")


def schemes() -> dict[str, dict[str, str]]:
    """Colours by name; the dark scheme replaces all of the light one's."""
    light, dark = (dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in STYLE.split(":root {")[1:])
    dark = dict(list(dark.items())[: len(light)])
    assert light.keys() == dark.keys() >= {"bg", "card", "fg", "muted", "link", "good", "bad", *SERIES}
    return {"light": light, "dark": dark}


def parts(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def over(front: np.ndarray, back: np.ndarray, opacity: float) -> np.ndarray:
    return opacity * front + (1 - opacity) * back


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    def luminance(colour: np.ndarray) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    lighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def opacities(svg: str, colour: str) -> list[float]:
    """Of all marks that are filled in a colour and are not opaque."""
    return [float(value) for value in re.findall(rf"fill: {re.escape(colour)}; fill-opacity: ([\d.]+)", svg)]


def test_contrast_by_hand():
    assert contrast(parts("#000000"), parts("#ffffff")) == pytest.approx(21)
    assert contrast(parts("#777777"), parts("#ffffff")) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out(scheme):
    """Text 4.5 to 1, drawn lines, marks and the frame of what has the focus 3 to 1."""
    colours = {name: parts(colour) for name, colour in schemes()[scheme].items()}
    for ground in ("bg", "card"):
        for text in ("fg", "muted", "link"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for drawn in (*SERIES, "good", "bad"):
            assert contrast(colours[drawn], colours[ground]) >= 3, (drawn, ground)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_in_the_strongest_confusion_cell_are_readable(scheme):
    colours = {name: parts(colour) for name, colour in schemes()[scheme].items()}
    svg = confusion_plot(["a", "b"], np.array([[100.0, 0.0], [100.0, 0.0]]))
    for name in ("c1", "c2"):
        cell = over(colours[name], colours["card"], max(opacities(svg, f"var(--{name})")))
        assert contrast(colours["fg"], cell) >= 4.5, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_video_of_a_map_can_be_seen(scheme):
    """Also those of the classes that get no colour of their own."""
    colours = {name: parts(colour) for name, colour in schemes()[scheme].items()}
    classes = np.arange(30)
    svg = map_plot(np.stack([classes, classes], axis=1) * 1.0, classes, [f"c{n}" for n in classes], [0.5, 0.5])
    for name, shown in [*((name, f"var(--{name})") for name in SERIES), ("fg", "currentColor")]:
        found = opacities(svg, shown)
        assert found, name
        assert contrast(over(colours[name], colours["card"], min(found)), colours["card"]) >= 3, name


def test_lines_of_a_sweep_stand_out_on_white():
    assert all(contrast(parts(colour), parts("#ffffff")) >= 3 for colour in sweep_tables._COLOURS)


def test_paper_is_light_and_shows_tables_whole():
    """A dark screen's pale text is not printed on white paper, and what scrolls on a screen is not cut on paper."""
    assert STYLE.count("prefers-color-scheme") == STYLE.count("@media screen and (prefers-color-scheme: dark)") == 1
    assert ".scroll { overflow: visible;" in STYLE[STYLE.index("@media print") :]
