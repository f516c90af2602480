from __future__ import annotations

import re

import pandas as pd
import pytest
from page import Page
from rich.console import Console

from omnifm.results.table import TextTable, latex, plain_text

HOSTILE = '<b>"x_1" & 100 %</b>'


def made(rows: list[tuple[str, str]], heads: list[tuple[str, str]], **more: list[str]) -> TextTable:
    """A table of which the first cell is bold, and all others are a number."""
    index, columns = pd.MultiIndex.from_tuples(rows), pd.MultiIndex.from_tuples(heads)
    cells = pd.DataFrame([[f"{row}.{head}" for head in range(len(heads))] for row in range(len(rows))], index, columns)
    bold = cells == "0.0"
    return TextTable("key", "A title", cells, bold, **more)


@pytest.fixture
def grouped() -> TextTable:
    rows = [("one", "a"), ("one", HOSTILE), ("two", "[bold]c")]
    return made(rows, [("before", "mean"), ("before", "p"), ("cost", "MB")], notes=["(1) 5 %"])


def test_html_spans_groups_and_marks_the_bold(grouped: TextTable) -> None:
    text = grouped.to_html()
    table = Page(text).tables[0]
    assert [cell for cell in table[0] if cell] == ["before", "cost"]
    assert [cell for cell in table[1] if cell] == ["mean", "p", "MB"]
    assert table[2:] == [
        ["one", "a", "0.0", "0.1", "0.2"],
        [HOSTILE, "1.0", "1.1", "1.2"],
        ["two", "[bold]c", "2.0", "2.1", "2.2"],
    ]
    assert '<th colspan="2"' in text
    assert '<th rowspan="2"' in text
    assert text.count("<b>") == 1
    assert "<b>0.0</b>" in text
    assert 'aria-label="A title"' in text


def test_a_group_that_says_nothing_is_left_out() -> None:
    table = Page(made([("", "a"), ("", "b")], [("", "x")]).to_html()).tables[0]
    assert table == [["", "x"], ["a", "0.0"], ["b", "1.0"]]


def test_differences_show_their_sign_in_html() -> None:
    table = made([("", "a")], [("", "x"), ("", "y"), ("", "z")])
    table.cells.iloc[0] = ["+0.1", "−0.1 [−0.2, +0.1]", "±0.0"]  # noqa: RUF001
    text = table.to_html()
    assert '<td class="plus"><b>+0.1' in text
    assert '<td class="minus">−0.1 [' in text  # noqa: RUF001
    assert "<td>±0.0" in text


def test_long_cells_are_whole() -> None:
    table = made([("", "a")], [("", "x")])
    table.cells.iloc[0, 0] = "y" * 300
    assert "y" * 300 in table.to_html()
    assert "y" * 300 in table.to_latex()


def test_latex_has_rules_groups_and_notes(grouped: TextTable) -> None:
    text = grouped.to_latex()
    assert r"\multicolumn{2}{c}{before}" in text
    assert r" & \textless{}b\textgreater{}\textquotedbl{}x\_1\textquotedbl{} \& 100 \%" in text
    assert r"one & a & \textbf{0.0} & 0.1 & 0.2 \\" in text
    assert r"\footnotesize (1) 5 \%" in text
    assert r"\caption{A title}" in text
    assert text.count("\\toprule") == text.count("\\bottomrule") == 1
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") == 1
    assert "resizebox" not in text


def test_wide_latex_tables_are_fitted_to_the_page() -> None:
    text = made([("", "a")], [("", str(head)) for head in range(5)]).to_latex()
    assert "\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}" in text
    assert "\\end{tabular}}" in text
    assert "footnotesize" not in text


def test_latex_escape() -> None:
    assert latex("a\\b{c}^~$#\n[x]*") == (
        r"a\textbackslash{}b\{c\}\textasciicircum{}\textasciitilde{}\$\# {[}x]{*}"
    )  # fmt: skip
    assert latex("−1 ± 2 –") == r"$-$1 $\pm$ 2 --"  # noqa: RUF001


def test_plain_text_prints_names_as_they_are(grouped: TextTable) -> None:
    lines = plain_text([grouped], ["(1) 5 %"]).splitlines()
    assert lines[0] == "A title"
    rows = [line.rsplit(maxsplit=3) for line in lines]
    assert [row for row in rows if len(row) == 4][-3:] == [
        [" a", "0.0", "0.1", "0.2"], [f" {HOSTILE}", "1.0", "1.1", "1.2"], [" [bold]c", "2.0", "2.1", "2.2"],
    ]  # fmt: skip
    assert lines[-1] == "(1) 5 %"
    assert all(line == line.rstrip() for line in lines)


def test_bold_in_a_terminal(grouped: TextTable) -> None:
    console = Console(force_terminal=True, color_system="standard", width=80)
    with console.capture() as capture:
        console.print(grouped.to_rich())
    assert re.search(r"\x1b\[1m *0\.0", capture.get())
    assert not re.search(r"\x1b\[1m *1\.0", capture.get())


def test_parts_and_transposes(grouped: TextTable) -> None:
    assert list(grouped.only(["MB", "gone"]).cells.columns) == [("cost", "MB")]
    turned = grouped.transposed()
    assert list(turned.cells.columns) == list(grouped.cells.index)
    assert bool(turned.bold.iloc[0, 0])
