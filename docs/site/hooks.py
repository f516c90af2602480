"""What the site adds to the pages while MkDocs builds it: generated references, links into the repository, formulas.

A page asks for a generated part by ``<!-- generated: NAME -->``. The pages themselves stay readable on GitHub.
"""

from __future__ import annotations

import re
from typing import Any

import commands_page
import experiment_page
import repository
from formulas import with_mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

GENERATED = {"commands": commands_page.markdown, "experiment": experiment_page.markdown}
"""What makes each generated part."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of studies in place of ``results/*``."""
    listed = set(re.findall(r"[\w/.-]+\.md", str(config.nav)))
    found = sorted(path.relative_to(config.docs_dir).as_posix() for path in repository.STUDIES.glob("*.md"))
    for section in config.nav or []:
        for title, pages in section.items():
            if isinstance(pages, list) and "results/*" in pages:
                place = pages.index("results/*")
                section[title] = [*pages[:place], *(page for page in found if page not in listed), *pages[place + 1 :]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie beside ``docs/`` and the files of the repository that pages link to."""
    for file in repository.pages(files, config):
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the generated parts, and lead links into the repository to the site's own pages."""
    for name, make in GENERATED.items():
        marker = f"<!-- generated: {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    return repository.with_links(markdown, page.file.src_uri)


def on_page_content(html: str, **_: Any) -> str:
    """Set formulas as MathML, which browsers draw without a script, and drop what Sphinx calls roles in docstrings."""
    return re.sub(r":(func|class|meth|data|mod|attr|exc):(?=<code>)", "", with_mathml(html))
