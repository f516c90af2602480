"""The peers' own virtual environments, made when they are first needed."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path


class EnvironmentFailedError(Exception):
    """An environment could not be made."""


def python_with(packages: tuple[str, ...], folder: Path) -> Path:
    """Return the Python of a virtual environment with these packages and this project's release of PyTorch.

    Raises:
        EnvironmentFailedError: pip could not install them; says what pip said.
    """
    torch = f"torch=={version('torch').partition('+')[0]}"
    wanted = "\n".join((torch, *packages))
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"Installing {', '.join((torch, *packages))} into {folder} ...", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", torch, *packages], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise EnvironmentFailedError(f"pip could not install {', '.join(packages)}:\n{done.stderr.strip()}")
        stamp.write_text(wanted, encoding="utf-8")
    return python
