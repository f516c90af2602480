"""Writing what a folder was recognised as: ``manifest.csv`` and ``experiment.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import tomli_w

from omnifm.data.recognise.folder_contents import FolderContents
from omnifm.data.recognise.layout import Hints
from omnifm.data.recognise.recognise_folder import passed_over, recognise
from omnifm.data.recognise.starter import MANIFEST, starter
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import DataError

EXPERIMENT = "experiment.toml"
_HEAD = """\
# Written by `omnifm data init`, from {name}. docs/experiment.md and docs/data.md explain every key.
# To see what the federation is worth, add two arms to compare with, without a federation and with federated averaging:
#   [arms.local]
#   algorithm = "local"
#   [arms.fedavg]
#   algorithm = "fedavg"
#   [arms.omnifm]
#   algorithm = "omnifm"
"""


class Written(NamedTuple):
    """The files that were written, the experiment last, and what is to be said, by headings."""

    files: tuple[Path, ...]
    said: dict[str, tuple[str, ...]]


def write_starter(
    folder: Path, out: Path, *, task: str = "", label: str = "", table: str = "", modality: str = ""
) -> Written:
    """Look at a folder and write a manifest and an experiment for it.

    Args:
        folder: holds the images.
        out: the folder of the two files.
        task: which the experiment is to have; empty, what the folder is likeliest for.
        label: the column of a table that holds the labels.
        table: which of several tables counts, below the folder.
        modality: of all images, if nothing says it.

    Raises:
        DataError: the folder is not understood, or one of the two files exists.
    """
    paths = {name: out / name for name in (MANIFEST, EXPERIMENT)}
    for path in paths.values():
        if path.exists():
            raise DataError(f"{path} exists already. Give another --out, or remove it.")
    contents = FolderContents.of(folder)
    layout, task, learned = recognise(contents, Hints(label, table, modality), task)
    made = starter(layout, folder, out, task, learned)
    out.mkdir(parents=True, exist_ok=True)
    files = []
    if made.manifest is not None:
        text = made.manifest.to_csv(index=False, lineterminator="\n")
        write_atomically(paths[MANIFEST], text.encode("utf-8", "surrogateescape"))
        files.append(paths[MANIFEST])
    head = _HEAD.format(name=layout.name)
    write_atomically(paths[EXPERIMENT], (head + tomli_w.dumps(made.experiment)).encode("utf-8", "surrogateescape"))
    over = passed_over(contents)
    said = {
        f"Recognised: {layout.name}, for {task}": layout.recognised,
        "Guessed, to be looked at": layout.guessed,
        "Chosen": (*made.chosen, *([over] if over else [])),
    }
    return Written((*files, paths[EXPERIMENT]), said)
