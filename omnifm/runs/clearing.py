"""A folder that holds a run already: emptied of it where that was asked for, or the next free name."""

from __future__ import annotations

import shutil
from pathlib import Path

_FILES = (
    "report.html", "table.txt", "table.csv", "table.tex", "results.csv", "deploy.jsonl", "status.json", "mlflow.db",
    "versions.json", "comparison.json", "experiment.toml",
)  # fmt: skip
"""What runs and comparisons write beside their arms; the experiment goes last, for with it there is a run."""

_FOLDERS = ("cells", "mlflow", "wandb")
_ARM_FILES = ("experiment.toml", "metrics.jsonl", "data.json", "result.json")


def clear(folder: Path) -> None:
    """Remove the run or comparison in a folder. What others have put there stays, and so do weights to start from.

    Raises:
        OSError: something cannot be removed.
    """
    for inner in sorted(folder.iterdir()) if folder.is_dir() else ():
        is_ours = inner.name in _FOLDERS or any((inner / name).is_file() for name in _ARM_FILES)
        # A run of its own inside this one has versions, and is not an arm.
        if inner.is_dir() and not inner.is_symlink() and is_ours and not (inner / "versions.json").exists():
            shutil.rmtree(inner)
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)


def holds_anything(folder: Path) -> bool:
    """Return whether a folder holds a run that has begun, or a comparison."""
    return (folder / "comparison.json").exists() or any(folder.glob("*/experiment.toml"))


def free_folder(folder: Path) -> Path:
    """Return the folder, or where it holds a run already the first of ``NAME-2``, ``NAME-3`` ... that does not."""
    tried, number = folder, 2
    while holds_anything(tried):
        tried, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return tried
