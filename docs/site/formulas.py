"""Formulas as MathML, made when the site is built: browsers draw them without a script and screen readers read them."""

from __future__ import annotations

import html
import re
import unicodedata

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_STYLED = re.compile(r'<mi mathvariant="(bold|script|double-struck)">([A-Za-z])</mi>')


def with_mathml(text: str) -> str:
    r"""Return HTML with every formula that arithmatex marked, ``\( \)`` or ``\[ \]``, as MathML."""
    return _FORMULA.sub(_mathml, text)


def _mathml(found: re.Match[str]) -> str:
    tag, bracket, latex = found.groups()
    made = convert(html.unescape(latex.strip()), display="block" if bracket == "[" else "inline")
    made = made.replace("<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>')  # it does not know its other half
    return f'<{tag} class="formula">{_STYLED.sub(_letter, made)}</{tag}>'


def _letter(found: re.Match[str]) -> str:
    """Return a styled letter as a character of its own: browsers know no other way (MathML Core)."""
    style, letter = found.groups()
    size = "SMALL" if letter.islower() else "CAPITAL"
    for name in (
        f"MATHEMATICAL {style} {size} {letter}",
        f"{style} {size} {letter}",
    ):  # the old ones lack the first word
        try:
            return f"<mi>{unicodedata.lookup(name.upper())}</mi>"
        except KeyError:
            continue
    return found[0]
