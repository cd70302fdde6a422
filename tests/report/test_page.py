"""The page as text, and as a browser shows it."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import Browser, find_chromium
from written_run import CLASSES, EVIL, PROTOCOL, write_run

from mdmf.report.page import make_reports, page_html
from mdmf.report.run_files import read_run

VOID = {"meta", "link", "br", "img", "input", "hr"}
PLOTS = (
    *("Accuracy", "Loss", "Accuracy per class", "Gain over prototype", "Confusion matrix", "Teaching during training"),
    *("Teacher at the test", "Certainty, local", "Certainty, global", "Calibration", "Own prompt chosen, per class"),
    "Before: mean frame features, rgb",
)


class Outline(HTMLParser):
    """Ids, links, headings and how tags nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.levels: list[int] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attributes:
            if key == "id":
                self.ids.append(value)
            elif key in ("href", "xlink:href", "src"):
                self.links.append(value)
            self.links += [f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", value or "")]
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(*folders: Path, baseline: str | None = None) -> str:
    return page_html(make_reports([read_run(folder) for folder in folders], baseline=baseline))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """Of a model without branches, training or evidence."""
    return write_run(tmp_path_factory.mktemp("plain") / "second", model="otam", evidence=False, training=False)


@pytest.fixture(scope="module")
def page(run) -> str:
    return page_of(run)


@pytest.fixture(scope="module")
def page_of_both(run, plain) -> str:
    return page_of(run, plain)


def test_tags_nest_ids_are_unique_and_every_link_leads_somewhere(page_of_both):
    outline = Outline(page_of_both)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids)) > 200
    inside = [link[1:] for link in outline.links if link.startswith("#")]
    assert len(inside) > 100
    assert set(inside) <= set(outline.ids)


def test_nothing_is_fetched_and_no_script_is_there(page):
    outline = Outline(page)
    assert {link.split(":")[0] for link in outline.links if not link.startswith("#")} == {"data"}
    assert not {"script", "iframe", "object", "img"} & set(outline.tags)
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!#)", page)


def test_names_of_a_user_are_text_everywhere(page):
    assert "<script" not in page
    assert "a&lt;b&gt;/videos" in page
    assert "no such &lt;file&gt;" in page
    assert page.count("&lt;script&gt;alert(") > 10


def test_headings_go_down_step_by_step(page, page_of_both):
    for content in (page, page_of_both):
        levels = Outline(content).levels
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_every_plot_is_there_and_says_in_words_what_it_shows(page):
    for title in PLOTS:
        assert re.search(rf">{title}</h3><svg [^>]*role=\"img\"", page), title
    labels = re.findall(r'role="img"[^>]*aria-label="([^"]*)"', page)
    labels += re.findall(r'aria-label="([^"]*)"[^>]*role="img"', page)
    assert len(labels) >= len(PLOTS) + 4  # and four panels of a story board
    assert all(len(label) > 40 for label in labels)


class Cells(HTMLParser):
    """Texts, values and pointers of every table with a source."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str], str]] = []
        self.source: str | None = None
        self.cell: dict[str, str] | None = None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.source = dict(attributes).get("data-source")
        if tag in ("td", "th"):
            self.cell = dict(attributes)

    def handle_data(self, data):
        if self.cell is not None and self.source:
            self.found.append((self.source, self.cell, data))
            self.cell = None


def at(values, pointer: str):
    for part in pointer.split("/")[1:]:
        values = values[part.replace("~1", "/").replace("~0", "~")]
    return values


def test_tables_equal_the_result_file(run, page):
    """Every cell that names its place holds the very number, and its text is that number rounded."""
    result = json.loads((run / f"test_{PROTOCOL}.json").read_text())
    checked = set()
    for source, attributes, text in Cells(page).found:
        if not attributes.get("data-pointer"):
            continue
        assert source == f"test_{PROTOCOL}.json"
        pointer = attributes["data-pointer"]
        value = at(result, pointer)
        assert json.loads(attributes["data-value"]) == value
        if pointer.endswith("/accuracy_percent"):
            interval = at(result, pointer.removesuffix("accuracy_percent") + "interval")
            assert text == f"{value:.2f} ± {interval:.2f}"
            assert float(attributes["data-interval"]) == interval
        checked.add(pointer)
    for model, numbers in result["models"].items():
        assert f"/models/{model}/accuracy_percent" in checked
        for branch in numbers["branches"]:
            assert f"/models/{model}/branches/{branch}/accuracy_percent" in checked
        for name in CLASSES:
            assert f"/models/{model}/per_class_percent/{name.replace('/', '~1')}" in checked
    assert "/settings/data/root" in checked


@pytest.mark.usefixtures("undrawn")
def test_what_does_not_apply_is_said_in_one_line(page, plain):
    plain_page = page_of(plain)
    assert "Does not apply: otam has no two branches that could teach each other." in plain_page
    assert "This folder holds no training" in plain_page
    assert "Missing: no evidence was gathered for this test." in plain_page
    assert "Gain over prototype" in plain_page
    assert "Own prompt chosen" not in plain_page
    assert "Missing: no evidence" not in page


@pytest.mark.usefixtures("undrawn")
def test_without_the_episodes_file_the_numbers_of_the_result_remain(tmp_path):
    folder = write_run(tmp_path / "run", evidence=False)
    (folder / f"test_{PROTOCOL}_episodes.npz").unlink()
    page = page_of(folder)
    assert page.count("is not in the run folder, or not of this result") == 2
    accuracy = json.loads((folder / f"test_{PROTOCOL}.json").read_text())["models"]["m2df"]["per_class_percent"]["jump"]
    assert f">{accuracy:.2f}</td>" in page


@pytest.mark.usefixtures("undrawn")
def test_several_runs_stand_beside_each_other(run, plain, page_of_both):
    head = page_of_both[: page_of_both.index('id="run1"')]
    for folder in (run, plain):
        (numbers,) = [
            models
            for name, models in json.loads((folder / f"test_{PROTOCOL}.json").read_text())["models"].items()
            if name != "prototype"
        ]
        assert f"{numbers['accuracy_percent']:.2f} ± {numbers['interval']:.2f}" in head
    assert "asked different episodes" not in head
    other = json.loads((plain / f"test_{PROTOCOL}.json").read_text())
    other["protocol"]["seed"] = 5
    folder = plain.parent / "third"
    folder.mkdir()
    (folder / f"test_{PROTOCOL}.json").write_text(json.dumps(other))
    assert "asked different episodes" in page_of(run, folder)


def test_an_unknown_baseline_is_refused_with_those_that_are_there(run):
    with pytest.raises(ValueError, match=f"has no baseline 'zero_shot' in test_{PROTOCOL}.json; it has prototype"):
        page_of(run, baseline="zero_shot")


def test_the_same_files_give_the_same_page(run, page):
    assert page_of(run) == page


@pytest.fixture(scope="module")
def browser():
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine (looked for chromium, google-chrome, chrome)")
    with Browser(executable) as opened:
        yield opened


@pytest.fixture(scope="module")
def files(page, page_of_both, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    pages = {"one": page, "several": page_of_both}
    for name, content in pages.items():
        (folder / f"{name}.html").write_text(content, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


# Boxes of the texts of every plot, and of its drawing, in CSS pixels; folded parts are opened first.
_BOXES = """(() => {
  document.querySelectorAll('details').forEach(one => one.open = true);
  const box = e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  return [...document.querySelectorAll('svg[role=img]')].map(svg => ({
    name: svg.getAttribute('aria-label').slice(0, 50), box: box(svg),
    drawn: svg.querySelectorAll('path, use, line, rect').length,
    texts: [...svg.querySelectorAll('text')].map(t => [t.textContent, box(t)]) }));
})()"""


def overlap(one: list[float], two: list[float]) -> float:
    """Pixels by which two boxes lie over each other, in their narrower direction."""
    return min(min(one[2], two[2]) - max(one[0], two[0]), min(one[3], two[3]) - max(one[1], two[1]))


@pytest.mark.parametrize(("width", "dark"), [(360, False), (390, True), (768, False), (1280, True)])
@pytest.mark.parametrize("name", ["one", "several"])
def test_a_browser_shows_it_whole(browser, files, name, width, dark):
    browser.open(files[name], width=width, dark=dark)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate("[...document.querySelectorAll('.figures dd')].every(e => e.scrollWidth <= e.clientWidth)")
    plots = browser.evaluate(_BOXES)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")  # opened too
    assert len(plots) >= len(PLOTS) + 4
    for plot in plots:
        left, top, right, bottom = plot["box"]
        assert right - left > 250, plot["name"]
        assert bottom - top > 60, plot["name"]
        assert left >= 0, plot["name"]
        assert right <= width, plot["name"]
        assert plot["drawn"] > 5, plot["name"]
        for number, (text, box) in enumerate(plot["texts"]):
            inside = box[0] >= left - 1 and box[1] >= top - 1 and box[2] <= right + 1 and box[3] <= bottom + 1
            assert inside, f"{text!r} is cut in {plot['name']}"
            for other, other_box in plot["texts"][:number]:
                assert overlap(box, other_box) < 3, f"{text!r} lies on {other!r} in {plot['name']}"
    texts = sum(len(plot["texts"]) for plot in plots)
    assert texts > 100
    assert browser.complaints() == []
    assert browser.requested() == [files[name].resolve().as_uri()]


def test_colours_follow_the_scheme_and_are_readable(browser, files):
    """Text against its background: at least 4.5 to 1 (WCAG AA) in both schemes."""
    colours = """(() => {
      const of = (e, key) => getComputedStyle(e)[key].match(/[\\d.]+/g).slice(0, 3).map(Number);
      const plot = document.querySelector('.plot'), text = plot.querySelector('svg text');
      return [[of(document.querySelector('main p'), 'color'), of(document.body, 'backgroundColor')],
              [of(text, 'fill'), of(plot, 'backgroundColor')],
              [of(plot.querySelector('figcaption'), 'color'), of(plot, 'backgroundColor')],
              [of(document.querySelector('nav a'), 'color'), of(document.body, 'backgroundColor')]];
    })()"""

    def luminance(colour: list[float]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    backgrounds = []
    for dark in (False, True):
        browser.open(files["one"], width=390, dark=dark)
        for front, back in browser.evaluate(colours):
            light, deep = sorted([luminance(front), luminance(back)], reverse=True)
            assert (light + 0.05) / (deep + 0.05) >= 4.5
        backgrounds.append(luminance(browser.evaluate(colours)[0][1]))
    assert backgrounds[0] > 0.8
    assert backgrounds[1] < 0.05


def test_it_works_by_keyboard(browser, files):
    """First the skip link, which leads to the content; a folded table opens by Enter; wide tables take the focus."""
    browser.open(files["one"], width=390)
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.className") == "skip"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    browser.press("Enter")
    assert browser.evaluate("document.activeElement.id") == "content"
    seen = set()
    for _ in range(8):
        browser.press("Tab")
        seen.add(browser.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
        if "SUMMARY." in seen:
            break
    assert seen == {"DIV.scroll", "SUMMARY."}
    browser.press("Enter")
    assert browser.evaluate("document.activeElement.parentElement.open")


def test_the_tables_that_are_shown_equal_the_result_file(browser, files, run):
    result = json.loads((run / f"test_{PROTOCOL}.json").read_text())
    browser.open(files["one"], width=1280)
    cells = browser.evaluate(
        "[...document.querySelectorAll('table[data-source] [data-pointer]')]"
        ".map(c => [c.dataset.pointer, c.dataset.value, c.textContent])"
    )
    assert len(cells) > 15
    for pointer, value, text in cells:
        assert json.loads(value) == at(result, pointer)
        if isinstance(at(result, pointer), float) and not pointer.startswith("/settings"):
            shown = float(text.split(" ±")[0])
            assert shown in (
                pytest.approx(json.loads(value), abs=0.006),
                pytest.approx(100 * json.loads(value), abs=0.06),
            )
    assert EVIL in browser.evaluate("[...document.querySelectorAll('th')].map(c => c.textContent)")
