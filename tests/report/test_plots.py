"""Plots become drawings of the page: its colours, unique ids, nothing outside, class names as plain text."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import mdmf.report.plots as plot_module
from mdmf.report.figures import COLOURS, embedded, short
from mdmf.report.plots import (
    calibration_plot,
    certainty_plot,
    classes_plot,
    confusion_plot,
    curves_plot,
    gains_plot,
    intervals_plot,
    map_plot,
    running_mean,
    shares_plot,
)

NAMES = ["<b>&", "$x_1$", "réussir à sauter"]
BINS = [{"confidence": 0.5, "accuracy": 0.4}, {"confidence": 0.9, "accuracy": 0.95}]
TWO = np.array([[0.0, 1.0], [2.0, 1.5], [1.0, 1.0], [0.0, 0.5]])


def plots() -> dict[str, str]:
    return {
        "intervals": intervals_plot(NAMES, [20, 50, 80], [1, 2, 3], strong=2),
        "curves": curves_plot({"loss": ([1, 2], [2.0, 1.0])}, label="loss", mark=(2, 1.0)),
        "classes": classes_plot(NAMES, [(50, 40, 60), None, (90, 80, 95)], [20, None, 30], labels=("own", "other")),
        "gains": gains_plot(NAMES, [12, None, -3], [1, None, None]),
        "confusion": confusion_plot(NAMES, np.array([[90, 10, 0], [np.nan] * 3, [0.2, 0, 99.8]])),
        "certainty": certainty_plot(np.linspace(0.2, 1, 4), np.array([1, 2, 3]), np.array([3, 2, 1])),
        "calibration": calibration_plot({"fused": BINS, "local": BINS}),
        "shares": shares_plot({"local": 0.25, "nobody": 0.75}),
        "map": map_plot(TWO, np.array([0, 0, 1, 2]), NAMES, [0.6, 0.2]),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return plots()


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_plot_has_text_marks_and_a_size_of_its_own(drawn):
    for name, svg in drawn.items():
        root = ElementTree.fromstring(svg)
        width, height = (float(part) for part in root.get("viewBox").split()[2:])
        assert width == pytest.approx(4.6 * 72), name
        assert height > 70, name
        assert "width" not in root.attrib  # the page decides
        assert len(texts(svg)) >= 4, name
        assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 4, name


def test_colours_are_the_pages_and_no_place_holder_is_left(drawn):
    for name, svg in drawn.items():
        assert "currentColor" in svg, name
        assert "var(--c1)" in svg, name
        assert not {"#000001", "#000002", *COLOURS} & set(re.findall(r"#\d{6}", svg)), name
        assert not re.search(r"#[0-9a-f]{6}\b", svg), name  # nor a colour of matplotlib's own


@pytest.fixture
def axes_of(monkeypatch):
    """Plots give their axes in the place of a drawing."""
    monkeypatch.setattr(plot_module, "to_svg", lambda figure: figure.axes[0])


@pytest.mark.usefixtures("axes_of")
def test_marks_stand_at_their_numbers():
    """Confidence to the right, accuracy up; an interval from low to high; the model's own row by its mark."""
    lines = {line.get_label(): line.get_xydata().tolist() for line in calibration_plot({"fused": BINS}).lines}
    assert lines["fused"] == [[0.5, 0.4], [0.9, 0.95]]
    assert lines["calibrated"] == [[0, 0], [1, 1]]
    axes = classes_plot(NAMES, [(50, 40, 65), None, (90, 80, 95)], [20, None, 30], labels=("own", "other"))
    (own,) = axes.containers
    assert [bar.tolist() for bar in own[2][0].get_segments()] == [[[40, 0], [65, 0]], [[80, 2], [95, 2]]]
    (other,) = [line for line in axes.lines if line.get_label() == "other"]
    assert other.get_xydata().tolist() == [[20, 0], [30, 2]]
    rows = intervals_plot(NAMES, [20, 50, 80], [1, 2, 3], strong=1).containers
    assert [row[0].get_marker() for row in rows] == ["o", "s", "o"]
    assert [bar[2][0].get_segments()[0].tolist() for bar in rows] == [
        *([[19, 0], [21, 0]], [[48, 1], [52, 1]], [[77, 2], [83, 2]]),
    ]


def test_class_names_are_plain_text(drawn):
    for name in ("intervals", "classes", "gains", "map"):
        assert "<b>" not in drawn[name]
        assert set(NAMES) <= set(texts(drawn[name])), name


def test_ids_are_made_unique_with_their_references(drawn):
    svg = embedded(drawn["certainty"], "a-1", "")
    root = ElementTree.fromstring(svg)
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    assert ids
    assert all(name.startswith("a-1-") for name in ids)
    references = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
    assert references
    assert references <= ids
    assert not ids & {element.get("id") for element in ElementTree.fromstring(embedded(svg, "b", "")).iter()}


def test_the_description_is_escaped_and_read_as_one_picture():
    svg = embedded('<svg xmlns="http://www.w3.org/2000/svg"/>', "a", 'a "<b>"')
    root = ElementTree.fromstring(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "<b>"')


def test_the_same_numbers_give_the_same_drawing(drawn):
    assert plots() == drawn


def test_a_confusion_cell_is_stronger_the_more_it_holds_and_says_its_number(drawn):
    said = texts(drawn["confusion"])
    assert "90" in said
    assert "100" in said
    assert "0" not in said  # under 0.5 %
    opacity = [float(value) for value in re.findall(r"var\(--c1\); (?:fill-)?opacity: ([\d.]+)", drawn["confusion"])]
    assert max(opacity) <= 0.6 + 1e-9  # the number on it stays readable
    many = confusion_plot([f"class {n}" for n in range(40)], 100 * np.eye(40))
    assert "100" not in texts(many)


def test_a_map_names_at_most_24_classes_and_shows_the_others():
    classes = np.arange(30)
    svg = map_plot(np.stack([classes, classes], axis=1) * 1.0, classes, [f"c{n}" for n in range(30)], [0.5, 0.5])
    named = [text for text in texts(svg) if re.fullmatch(r"c\d+", text)]
    assert len(named) == 24
    assert "other classes" in texts(svg)


def test_running_mean_by_hand():
    values = np.array([0.0, 3.0, 6.0, 3.0, 0.0])
    np.testing.assert_allclose(running_mean(values, width=3), [1.5, 3, 4, 3, 1.5])
    np.testing.assert_allclose(running_mean(np.array([2.0])), [2])


def test_long_names_are_shortened_at_their_end():
    assert short("jump") == "jump"
    assert short("pretending to put something", 12) == "pretending…"
