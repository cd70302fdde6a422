"""A table in every format, against text written by hand."""

import pytest

from mdmf.report.table import Cell, Table, check_table_file, number, pointer, row_label, write_tables

EVIL = "a|b & <i>_$#%\\~^{}"
TABLE = Table(
    "test_of 5-way",
    f"Accuracy of {EVIL}",
    ["model", "accuracy, %", "gain", "said"],
    [
        [EVIL, number(79.125, interval=0.354), number(-4, "+.2f", spread=0.25), "yes"],
        ["otam", number(None), "", Cell("1,234", 1234)],
    ],
    notes=["5 % have no <flow>"],
)


def test_text_is_aligned_for_a_terminal():
    assert TABLE.text().splitlines() == [
        r"Accuracy of a|b & <i>_$#%\~^{}",
        "",
        r"| model               |  accuracy, % |         gain |  said |",
        r"|---------------------|-------------:|-------------:|------:|",
        r"| a\|b & <i>_$#%\~^{} | 79.12 ± 0.35 | -4.00 ± 0.25 |   yes |",
        r"| otam                |            – |              | 1,234 |",
        "",
        "(5 % have no <flow>)",
    ]


def test_text_holds_no_control_characters_in_cells():
    assert "| a?b?  |" in Table("t", "", ["class"], [["a\nb\x1b"]]).text()


def test_in_markdown_a_name_opens_no_cell_line_or_tag():
    assert TABLE.markdown().splitlines() == [
        r"**Accuracy of a\|b &amp; &lt;i>_$#%\\~^{}**",
        "",
        r"| model                       |  accuracy, % |         gain |  said |",
        r"|-----------------------------|-------------:|-------------:|------:|",
        r"| a\|b &amp; &lt;i>_$#%\\~^{} | 79.12 ± 0.35 | -4.00 ± 0.25 |   yes |",
        r"| otam                        |            – |              | 1,234 |",
        "",
        "(5 % have no &lt;flow>)",
    ]
    assert Table("t", "a\nb", ["x"], [["1\n2"]]).markdown().splitlines() == [
        "**a b**",
        "",
        "| x   |",
        "|-----|",
        "| 1 2 |",
    ]


def test_csv_has_numbers_in_full_and_a_column_for_every_interval_and_spread():
    assert TABLE.csv() == (
        'model,"accuracy, %","accuracy, %, interval",gain,"gain, spread",said\n'
        "a|b & <i>_$#%\\~^{},79.125,0.354,-4,0.25,yes\n"
        "otam,,,,,1234\n"
    )
    quoted = Table("t", "", ["a,b"], [['say "1"'], ["two\nlines"]])
    assert quoted.csv() == '"a,b"\n"say ""1"""\n"two\nlines"\n'
    assert TABLE.frame()["accuracy, %"].tolist() == [79.125, None]


def test_latex_uses_booktabs_and_escapes_every_character_of_its_own():
    name = r"a\textbar{}b \& \textless{}i\textgreater{}\_\$\#\%\textbackslash{}\textasciitilde{}\textasciicircum{}\{\}"
    assert TABLE.latex().splitlines() == [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{Accuracy of {name}}}",
        r"  \label{tab:test-of-5-way}",
        r"  \begin{tabular}{lrrr}",
        r"    \toprule",
        r"    model & accuracy, \% & gain & said \\",
        r"    \midrule",
        rf"    {name} & 79.12 $\pm$ 0.35 & $-$4.00 $\pm$ 0.25 & yes \\",
        r"    otam & -- &  & 1,234 \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"  \par\footnotesize 5 \% have no \textless{}flow\textgreater{}",
        r"\end{table}",
    ]
    assert r"\caption" not in Table("t", "", ["x"], [["1"]]).latex()


def test_html_escapes_names_and_keeps_values_and_their_places():
    table = Table(
        *("results", f"Of {EVIL}", ["model", "accuracy"]),
        [[EVIL, number(79.125, interval=0.5, path=("models", "a/b"))], ["otam", "no"]],
        source="test_x.json",
        notes=["a < b"],
    )
    name = "a|b &amp; &lt;i&gt;_$#%\\~^{}"
    assert "".join(str(table.html()).splitlines()) == (
        f'<p class="about">Of {name}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Of {name}">'
        '<table data-table="results" data-source="test_x.json">'
        '<thead><tr><th scope="col" class="text">model</th><th scope="col">accuracy</th></tr></thead><tbody>'
        f'<tr><th scope="row">{name}</th>'
        '<td data-value="79.125" data-pointer="/models/a~1b" data-interval="0.5">79.12 ± 0.50</td></tr>'
        '<tr><th scope="row">otam</th><td class="text">no</td></tr>'
        '</tbody></table></div><p class="note">a &lt; b</p>'
    )
    folded = str(Table("t", "More", ["x"], [["1"]], folded=True, wraps=True).html())
    assert folded.startswith("<details><summary>More</summary>")
    assert 'class="words"' in folded
    assert Table("t", "More", ["x"], []).html().strip() == ""


def test_cells():
    assert number(1.5) == Cell("1.50", 1.5)
    assert number(0.5, ".1f", interval=0.25, path=("a", "b~c")) == Cell("0.5 ± 0.2", 0.5, 0.25, None, "/a/b~0c")
    assert number(12345, ",d").text == "12,345"
    assert [cell.is_number for cell in (number(1), Cell("yes", True), Cell("a", "a"), Cell("–"))] == [True] + [
        False
    ] * 3
    assert pointer() == ""
    assert row_label("amfir", our_reading=True) == "amfir (our reading)"
    assert row_label("otam", our_reading=False) == "otam"


@pytest.mark.parametrize(
    ("ending", "beginning"), [(".md", "**A**"), (".tex", "\\begin{table}"), (".html", "<!DOCTYPE html>")]
)
def test_the_ending_of_a_file_picks_the_format_of_all_tables(tmp_path, ending, beginning):
    tables = [Table("a", "A", ["x"], [["first"]]), Table("b", "B", ["x"], [["second"]])]
    path = tmp_path / f"tables{ending}"
    assert write_tables(path, tables) == [path]
    text = path.read_text()
    assert text.startswith(beginning)
    assert text.index("first") < text.index("second")


def test_a_csv_file_holds_one_table_and_the_others_go_beside_it(tmp_path):
    tables = [Table("a", "A", ["x"], [["first"]]), Table("b of/c", "B", ["x"], [["second"]])]
    files = write_tables(tmp_path / "t.csv", tables)
    assert [file.name for file in files] == ["t.csv", "t_b_of_c.csv"]
    assert [file.read_text() for file in files] == ["x\nfirst\n", "x\nsecond\n"]


def test_an_unknown_ending_is_refused(tmp_path):
    check_table_file(tmp_path / "a.tex")
    with pytest.raises(ValueError, match=r"a\.xlsx: expected a file name that ends with \.csv, \.md, \.tex, \.html"):
        check_table_file(tmp_path / "a.xlsx")
