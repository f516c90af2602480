"""One table, four forms: for a terminal, as plain text, LaTeX and HTML."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pandas as pd
from markupsafe import Markup, escape
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

_FITTED = 4
"""LaTeX tables of more columns are scaled to the width of the text."""

_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "*": "{*}",
    "−": "$-$", "±": r"$\pm$", "–": "--",  # noqa: RUF001 - the minus sign, and the dash for nothing here
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}  # fmt: skip


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text.

    The index of ``cells`` has two levels, group and row; so have the columns, group and head. ``bold`` is a mask of
    the same shape. ``notes`` are below, in LaTeX and plain text.
    """

    key: str
    title: str
    cells: pd.DataFrame
    bold: pd.DataFrame
    notes: list[str] = field(default_factory=list)

    def only(self, heads: Iterable[str]) -> TextTable:
        """Return the table with only these columns, for a narrow place."""
        kept = self.cells.columns.get_level_values(1).isin(list(heads))
        return replace(self, cells=self.cells.loc[:, kept], bold=self.bold.loc[:, kept])

    def transposed(self) -> TextTable:
        """Return the table with rows and columns exchanged."""
        return replace(self, cells=self.cells.T, bold=self.bold.T)

    def to_rich(self) -> Group:
        """Return the table for a terminal, with room between groups of rows."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("", overflow="fold")
        several = self.cells.columns.get_level_values(0).nunique() > 1
        for group, head in self.cells.columns:
            text = f"{group}\n{head}".replace(" [", "\n[") if several else head
            table.add_column(Text(text), justify="right", overflow="fold")
        before = None
        for (group, name), cells in self.cells.iterrows():
            if before not in (None, group):
                table.add_section()
            before, bold = group, self.bold.loc[(group, name)]
            texts = (Text(cell, "bold" if strong else "") for cell, strong in zip(cells, bold, strict=True))
            table.add_row(Text(str(name)), *texts)
        return Group(Text(self.title), table)

    def to_html(self) -> Markup:
        """Return the table as HTML; differences have the class ``plus`` or ``minus``."""
        marked = self._marked(escape, "<b>{}</b>")
        text = marked.to_html(escape=False, border=0, index_names=False, sparsify=True)
        text = re.sub(r"<td>((?:<b>)?[+−])", _toned, text)  # noqa: RUF001 - the minus sign
        table = Markup(text)  # nosec B704  # its cells are escaped already
        return Markup('<div class="scroll" tabindex="0" role="region" aria-label="{}">{}</div>').format(
            self.title, table
        )

    def to_latex(self) -> str:
        """Return the table for a paper, with booktabs; the notes are below it."""
        marked = self._marked(latex, "\\textbf{{{}}}")
        levels = marked.index.nlevels
        text = str(
            marked.to_latex(
                escape=False, caption=latex(self.title), label=f"tab:{self.key}", position="t", multicolumn_format="c",
                column_format="l" * levels + "r" * marked.shape[1], index_names=False, multirow=False,
            )
        )  # fmt: skip
        text = text.replace("\\begin{table}[t]\n", "\\begin{table}[t]\n\\centering\n")
        if marked.shape[1] > _FITTED:
            text = text.replace("\\begin{tabular}", "\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}")
            text = text.replace("\\end{tabular}", "\\end{tabular}}")
        notes = "; ".join(latex(note) for note in self.notes)
        return text.replace(
            "\\end{table}", f"\\\\[2pt] \\footnotesize {notes}\n\\end{{table}}" if notes else "\\end{table}"
        )

    def _marked(self, escaped: Callable[[str], str], strong: str) -> pd.DataFrame:
        """Return the cells as markup; a level of rows or columns that says nothing is left out."""
        cells = self.cells.map(lambda cell: str(escaped(cell)))
        marked = cells.mask(self.bold, cells.map(strong.format))
        marked.index, marked.columns = (_labels(index, escaped) for index in (cells.index, cells.columns))
        return marked


def _labels(index: pd.MultiIndex, escaped: Callable[[str], str]) -> pd.Index:
    keys = [tuple(str(escaped(str(part))) for part in key) for key in index]
    several = len({group for group, _ in keys}) > 1
    return pd.MultiIndex.from_tuples(keys) if several else pd.Index([name for _, name in keys], dtype=object)


def latex(text: str) -> str:
    """Return text that LaTeX prints verbatim, on one line."""
    return re.sub(r"\s+", " ", "".join(_LATEX.get(letter, letter) for letter in text))


def plain_text(tables: Iterable[TextTable], notes: Iterable[str]) -> str:
    """Return tables and notes as plain text."""
    console = Console(file=io.StringIO(), width=1000, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        for table in tables:
            console.print(table.to_rich())
        for note in notes:
            console.print(Text(note))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n") + "\n"


def _toned(match: re.Match[str]) -> str:
    return f'<td class="{"plus" if match[1].endswith("+") else "minus"}">{match[1]}'
