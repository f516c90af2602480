"""``report.html``: everything that was found, in one file that needs neither network nor script.

It is made from the folder alone, at any time; the same folder gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from omnifm.results.table import TextTable

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass
class Block:
    """A part of a section: a table, a chart, pictures or text."""

    title: str
    content: Markup
    folded: bool


@dataclass
class Section:
    """A part of the report under a heading; one without blocks is left out."""

    key: str
    title: str
    lead: str = ""
    blocks: list[Block] = field(default_factory=list)

    def add(self, content: Markup | TextTable, title: str = "", folded: bool = False) -> None:
        """Add a block; a table without a title has its own."""
        if isinstance(content, TextTable):
            title, content = title or content.title, content.to_html()
        self.blocks.append(Block(title, content, folded))

    def add_text(self, text: str, title: str) -> None:
        """Add preformatted text, folded away."""
        self.add(Markup("<pre><code>{}</code></pre>").format(text), title, folded=True)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def fill(template: str, **values: Any) -> Markup:
    """Return a template, filled."""
    text = _environment().get_template(template).render(**values)
    return Markup(text)  # nosec B704  # the template has escaped the values


def page(**values: Any) -> str:
    """Return the page of a report, with the style sheet in it."""
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    css = Markup(style)  # nosec B704  # a file of this package
    return fill("report.html.j2", css=css, **values)
