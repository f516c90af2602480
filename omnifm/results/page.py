"""Reports as one file that needs neither network nor script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from omnifm.results.view import View

_TEMPLATES = Path(__file__).with_name("templates")


def render_page(template: str, **matter: Any) -> str:
    """Return a page of a template, with the style sheet in it."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(css=css, **matter)


def holdings(clients: Mapping[str, Mapping[str, Any]]) -> View | None:
    """Who holds what."""
    if not clients:
        return None
    splits = ("train", "validation", "test")
    rows = [
        (name, holds.get("group", ""), [holds.get(split, 0) for split in splits]) for name, holds in clients.items()
    ]
    return {"rows": rows, "total": [sum(column) for column in zip(*(counts for _, _, counts in rows), strict=True)]}
