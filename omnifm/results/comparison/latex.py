"""A comparison's tables for a paper: booktabs, what is bold is said in the caption."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from omnifm.results.comparison.columns import Column, chosen_column, paired_columns, score_columns
from omnifm.results.comparison.numbers import Summary, kind_name
from omnifm.results.comparison.reader import ComparedArm
from omnifm.results.comparison.table import SWEEPS, caption, paired_caption

_NARROW = 4
"""Tables of more columns are fitted to the width of the text."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # after the end of a row this and the star would be read as its options
    "*": "{*}",
    "−": "$-$",  # noqa: RUF001 - the minus sign
    "±": r"$\pm$",
    "–": "--",  # noqa: RUF001 - the dash for nothing here
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def escape(text: str) -> str:
    """Return text that LaTeX prints as it stands, in one line."""
    return re.sub(r"\s+", " ", "".join(_SPECIAL.get(letter, letter) for letter in text))


def latex_tables(summary: Summary) -> str:
    """Return the table of scores, that of the paired comparison with what tuning chose, and the sweeps."""
    paired = [*paired_columns(summary), chosen_column(summary)]
    tables = [
        _table(summary, score_columns(summary, summary.rows), summary.rows, caption(summary), "scores"),
        _table(summary, paired, summary.rows, paired_caption(summary), "paired"),
    ]
    if summary.sweeps:
        tables.append(_table(summary, score_columns(summary, summary.sweeps), summary.sweeps, SWEEPS, "sweeps"))
    return "\n".join(["% \\usepackage{booktabs,graphicx}; \\usepackage[T1]{fontenc}", *tables])


def _table(summary: Summary, columns: Sequence[Column], arms: Sequence[ComparedArm], text: str, key: str) -> str:
    opening, closing = ("\\resizebox{\\textwidth}{!}{%\n", "}") if len(columns) > _NARROW else ("", "")
    shape = "l" + "".join("r" if column.numeric else "l" for column in columns)
    groups = [(group, len(list(members))) for group, members in groupby(columns, lambda column: column.group)]
    spans = [f"\\multicolumn{{{width}}}{{c}}{{{escape(group)}}}" for group, width in groups]
    rules, start = [], 2
    for _, width in groups:
        rules.append(f"\\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    lines = [
        "\\begin{table}[t]", "\\centering", f"\\caption{{{escape(text)}}}", f"\\label{{tab:{key}}}",
        f"{opening}\\begin{{tabular}}{{{shape}}}", "\\toprule",
        " & ".join(["", *spans]) + r" \\", "".join(rules),
        " & ".join(["arm", *(escape(column.head) for column in columns)]) + r" \\",
    ]  # fmt: skip
    for kind, members in groupby(arms, lambda arm: arm.kind):
        title = escape(kind_name(kind))
        lines += ["\\midrule", f"\\multicolumn{{{len(columns) + 1}}}{{l}}{{\\emph{{{title}}}}} \\\\"]
        for arm in members:
            note = summary.notes.get(arm.name)
            name = escape(arm.name) + (f"\\textsuperscript{{{note[0]}}}" if note else "")
            lines.append(" & ".join([name, *(_cell(column, arm.name) for column in columns)]) + r" \\")
    notes = dict.fromkeys(summary.notes[arm.name] for arm in arms if arm.name in summary.notes)
    said = [f"\\textsuperscript{{{number}}}{escape(text)}" for number, text in notes]
    lines += [
        "\\bottomrule",
        f"\\end{{tabular}}{closing}",
        *(["\\\\[2pt] \\footnotesize " + "; ".join(said)] if said else []),
    ]
    return "\n".join([*lines, "\\end{table}", ""])


def _cell(column: Column, arm: str) -> str:
    text = escape(column.texts[arm])
    return f"\\textbf{{{text}}}" if arm in column.bold else text
