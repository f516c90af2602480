"""Formulas as MathML, made when the site is built: browsers draw them without a script and screen readers read them."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def with_mathml(text: str) -> str:
    r"""Return HTML with every formula that arithmatex marked, ``\( \)`` or ``\[ \]``, as MathML."""
    return _FORMULA.sub(_mathml, text)


def _mathml(found: re.Match[str]) -> str:
    tag, bracket, latex = found.groups()
    made = convert(html.unescape(latex.strip()), display="block" if bracket == "[" else "inline")
    return f'<{tag} class="formula">{made}</{tag}>'
