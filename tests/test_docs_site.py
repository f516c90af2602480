"""The documentation as a site: it builds strictly, needs no network, and its references are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import experiment_page
import formulas
import pytest
import repository

import omnifm

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


@pytest.mark.slow
@pytest.mark.process
def test_it_builds_strictly_and_needs_no_network(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")
    }
    loads = r'<(?:script|img|iframe)[^>]*\ssrc="https?:|<link[^>]*rel="(?:stylesheet|preconnect)"[^>]*href="https?:'
    assert [name for name, text in pages.items() if re.search(loads, text)] == []
    assert "<math" in pages["method.html"]
    assert "\\(" not in pages["method.html"]
    assert "generated:" not in pages["reference/experiment.html"]
    assert "omnifm deploy init" in pages["reference/commands.html"]
    assert 'href="reference/spectral.html#omnifm.spectral.bank.retrieve"' in pages["method.html"]
    studies = {f"results/{path.stem}.html" for path in repository.STUDIES.glob("*.md")}
    assert studies <= pages.keys()


def test_every_key_of_the_schema_is_in_the_reference() -> None:
    page = experiment_page.markdown()
    assert "| `learning_rate` | number, > 0 | `0.05` | The optimiser's step size. |" in page
    assert "| `trim` | number, > 0, < 0.5 | `0.1` |" in page
    assert "| `set` | " in page
    assert "**required**" in page
    assert '## `kind = "tensorboard"`' in page


def test_every_public_name_is_in_the_reference() -> None:
    text = "".join((DOCS / f"reference/{name}.md").read_text(encoding="utf-8") for name in ("python", "spectral"))
    named = {line.rpartition(".")[2] for line in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}
    assert set(omnifm.__all__) - named == {"__version__", "testing"}  # a text, and a module whose function is there


@pytest.mark.parametrize(
    ("latex", "part"),
    [
        (r"\(\mathbf r\)", "<mi>\N{MATHEMATICAL BOLD SMALL R}</mi>"),
        (r"\(\mathcal F\)", "<mi>\N{SCRIPT CAPITAL F}</mi>"),
        (r"\(\mathbb R\)", "<mi>\N{DOUBLE-STRUCK CAPITAL R}</mi>"),
        (r"\(\lVert s \rVert\)", '<mo stretchy="false">&#x02016;</mo><mi>s</mi><mo stretchy="false">'),
    ],
)
def test_formulas_are_drawn_without_a_script(latex: str, part: str) -> None:
    assert part in formulas.with_mathml(f'<span class="arithmatex">{latex}</span>')


def test_links_into_the_repository_lead_to_pages_of_the_site() -> None:
    text = "[a](../README.md) [b](../SECURITY.md#threat-model) [c](../omnifm/spectral/bank.py#KnowledgeBank.merge)"
    assert repository.with_links(text, "method.md") == (
        "[a](index.md) [b](SECURITY.md#threat-model) [c][omnifm.spectral.bank.KnowledgeBank.merge]"
    )
    assert repository.with_links("[d](docs/data.md#x)", "CONTRIBUTING.md") == "[d](data.md#x)"
    assert repository.with_links("[e](../../LICENSE)", "results/index.md") == "[e](../files/LICENSE.md)"
    assert (
        repository.with_links("[f](method.md) [g](https://example.org/a)", "x.md")
        == "[f](method.md) [g](https://example.org/a)"
    )
