"""The folder that ``flwr run`` takes: it names the installed package and holds no code, so that none travels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import tomli_w

CONFIG = {"experiment": "", "out": "", "resume": False, "readmit": ""}
"""What ``--run-config`` may say: the experiment (TOML), the folder on the server, whether to resume, and with whom."""


def write_app(folder: Path) -> None:
    """Write the app."""
    folder.mkdir(parents=True, exist_ok=True)
    project = {
        "project": {
            "name": "omnifm-app",
            "version": version("omnifm"),
            "description": "OmniFM on Flower: the app is the installed package.",
            "license": {"file": "LICENSE"},
            "dependencies": [f"flwr>={version('flwr')}"],
        },
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "omnifm",
                    "fab-format-version": 1,
                    "flwr-version-target": version("flwr"),
                    "components": {
                        "serverapp": "omnifm.engines.flower.server_app:app",
                        "clientapp": "omnifm.engines.flower.client_app:app",
                    },
                    "config": CONFIG,
                }
            }
        },
    }
    (folder / "pyproject.toml").write_text(tomli_w.dumps(project), encoding="utf-8")
    (folder / "LICENSE").write_text("Apache-2.0: https://www.apache.org/licenses/LICENSE-2.0\n", encoding="utf-8")


def write_run_config(path: Path, experiment: str, out: Path, resume: bool = False, readmit: Sequence[str] = ()) -> None:
    """Write what ``flwr run --run-config`` takes.

    ``experiment`` is TOML; empty resumes the run in ``out``. ``readmit`` names hospitals that were set aside.
    """
    config = {"experiment": experiment, "out": str(out), "resume": resume, "readmit": json.dumps(readmit)}
    path.write_text(tomli_w.dumps(config), encoding="utf-8")
