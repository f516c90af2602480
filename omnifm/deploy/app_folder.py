"""The thin Flower app: a folder that names OmniFM, which is installed on every machine, and carries no code.

So every machine runs the release that its own people installed, and no run can bring another.
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from omnifm.deploy.plan import installed
from omnifm.deploy.writing import render, write


def write_app(folder: Path) -> None:
    """Write the app into a new folder."""
    write(folder / "pyproject.toml", render("app.toml.j2", version=installed("omnifm"), flwr=installed("flwr")))
    write(folder / "LICENSE", _license())


def _license() -> str:
    """Return the text of our licence, which Flower wants as a file."""
    files = distribution("omnifm").files or []
    found = [path for path in files if path.name == "LICENSE" and "omnifm" in path.parts[0]]
    return (
        found[0].read_text(encoding="utf-8") if found else "Apache-2.0: https://www.apache.org/licenses/LICENSE-2.0\n"
    )
