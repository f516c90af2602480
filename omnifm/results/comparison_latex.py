"""A comparison's tables for a paper: booktabs, two tables, what is bold said in the caption."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from omnifm.results.comparison_columns import Column, chosen_column, paired_columns, score_columns
from omnifm.results.comparison_numbers import GROUPS, Summary
from omnifm.results.comparison_table import caption, paired_caption

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
    """Return the table of scores, and that of the paired comparison with what tuning chose."""
    head = "% \\usepackage{booktabs,graphicx}; \\usepackage[T1]{fontenc}\n"
    scores = _table(summary, score_columns(summary, summary.rows), caption(summary), "scores")
    paired = _table(summary, [*paired_columns(summary), chosen_column(summary)], paired_caption(summary), "paired")
    return f"{head}{scores}\n{paired}"


def _table(summary: Summary, columns: Sequence[Column], text: str, key: str) -> str:
    shape = "l" + "".join("r" if column.numeric else "l" for column in columns)
    groups = [(group, len(list(members))) for group, members in groupby(columns, lambda column: column.group)]
    spans = [f"\\multicolumn{{{width}}}{{c}}{{{escape(group)}}}" for group, width in groups]
    rules, start = [], 2
    for _, width in groups:
        rules.append(f"\\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    lines = [
        "\\begin{table}[t]", "\\centering", f"\\caption{{{escape(text)}}}", f"\\label{{tab:{key}}}",
        "\\resizebox{\\textwidth}{!}{%", f"\\begin{{tabular}}{{{shape}}}", "\\toprule",
        " & ".join(["", *spans]) + r" \\", "".join(rules),
        " & ".join(["arm", *(escape(column.head) for column in columns)]) + r" \\",
    ]  # fmt: skip
    for kind, arms in groupby(summary.rows, lambda arm: arm.kind):
        title = escape(GROUPS.get(kind, kind))
        lines += ["\\midrule", f"\\multicolumn{{{len(columns) + 1}}}{{l}}{{\\emph{{{title}}}}} \\\\"]
        for arm in arms:
            note = summary.notes.get(arm.name)
            name = escape(arm.name) + (f"\\textsuperscript{{{note[0]}}}" if note else "")
            lines.append(" & ".join([name, *(_cell(column, arm.name) for column in columns)]) + r" \\")
    notes = [summary.notes[arm.name] for arm in summary.rows if arm.name in summary.notes]
    said = [f"\\textsuperscript{{{number}}}{escape(text)}" for number, text in notes]
    lines += ["\\bottomrule", "\\end{tabular}}", *(["\\\\[2pt] \\footnotesize " + "; ".join(said)] if said else [])]
    return "\n".join([*lines, "\\end{table}", ""])


def _cell(column: Column, arm: str) -> str:
    text = escape(column.texts[arm])
    return f"\\textbf{{{text}}}" if arm in column.bold else text
