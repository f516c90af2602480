"""Links from the pages to the rest of the repository: on GitHub they lead to its files, on the site to pages of it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "docs/results"
BESIDE = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
"""Pages that lie at the top of the repository, where GitHub looks for them."""

_LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]+)?\)")
_LANGUAGES = {".py": "python", ".toml": "toml", ".md": "markdown", ".sh": "sh"}


def pages(files: Files, config: MkDocsConfig) -> Iterator[File]:
    """Yield the pages beside ``docs/``, and one for each other file of the repository that a page links to."""
    texts = {file.src_uri: file.content_string for file in files.documentation_pages() if file.abs_src_path}
    for name in BESIDE:
        texts[name] = (ROOT / name).read_text(encoding="utf-8")
        yield File.generated(config, name, content=texts[name])
    linked = {_target(page, path) for page, text in texts.items() for path, _ in _LINK.findall(text)}
    for path in sorted(path for path in linked if _is_shown(path)):
        text = (ROOT / path).read_text(encoding="utf-8").rstrip()
        fence = f"````{_LANGUAGES.get(Path(path).suffix, 'text')} linenums='1'"
        yield File.generated(config, f"files/{path}.md", content=f"# `{path}`\n\n{fence}\n{text}\n````\n")


def with_links(text: str, page: str) -> str:
    """Return a page's Markdown with its links into the repository leading to the site's own pages.

    ``FILE.py#name`` leads to what the API reference says of the name, another file to the page that shows it.
    """
    here = posixpath.dirname(page)

    def replaced(found: re.Match[str]) -> str:
        target, anchor = _target(page, found[1]), found[2] or ""
        if target.endswith(".py") and anchor:
            module = target.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            return f"][{module}.{anchor[1:]}]"
        if target == "README.md":
            target, anchor = "docs/index.md", ""
        if target in BESIDE:
            place = target
        elif target.startswith("docs/"):
            place = target.removeprefix("docs/")
        elif _is_shown(target):
            place = f"files/{target}.md"
        else:
            return found[0]
        return f"]({posixpath.relpath(place, here or '.')}{anchor})"

    return _LINK.sub(replaced, text)


def _target(page: str, link: str) -> str:
    """Return where in the repository a page's link leads."""
    folder = posixpath.dirname(page if page in BESIDE else f"docs/{page}")
    return posixpath.normpath(posixpath.join(folder, link))


def _is_shown(path: str) -> bool:
    """Tell whether a path is a text file of the repository that is no page of its own."""
    return not path.startswith(("docs/", "..")) and path not in (*BESIDE, "README.md") and (ROOT / path).is_file()
