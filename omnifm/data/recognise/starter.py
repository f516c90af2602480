"""From a layout to a manifest and an experiment that runs at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from omnifm.data.partition import PartitionSettings, partition_rows
from omnifm.data.patient_rows import Rows
from omnifm.data.reading import read_image
from omnifm.data.recognise.layout import TEACHES, FolderLayout
from omnifm.data.subset import distinct, evenly_spaced
from omnifm.utils.errors import DataError

MANIFEST = "manifest.csv"
CLIENTS = 3
"""So many clients, where there are patients enough and neither hospitals nor modalities divide the images."""

USUAL_CLUSTER = 12
"""So many patients are behind a prototype at least, where ``bank.min_cluster`` is not set."""
_PATHS = ("image", "mask", "pair")
_LOOKED_AT = 16
"""So many images are looked into for their size and colour, evenly spaced."""
_SIZES = {2: (16, 24, 32, 48, 64), 3: (16, 24, 32)}
"""The sides that are proposed, by the number of axes: small enough for a first run in minutes."""


@dataclass(frozen=True)
class Starter:
    """What is written: the manifest, if there is one, the experiment, and what was chosen, a sentence each."""

    manifest: pd.DataFrame | None
    experiment: dict[str, Any]
    chosen: tuple[str, ...]


def starter(layout: FolderLayout, root: Path, out: Path, task: str, learned: str) -> Starter:
    """Make the manifest and the experiment for a folder.

    Args:
        layout: what the folder ``root`` was recognised as.
        root: the folder.
        out: where both files are to be; paths in the manifest are seen from there.
        task: of the experiment.
        learned: which column it learns, of :data:`TEACHES`.

    Raises:
        DataError: there are too few patients for a federation.
    """
    rows = layout.rows
    if learned in rows:
        rows = rows[rows[learned] != ""] if learned != "label" or ";" not in "".join(rows["label"]) else rows
    rows = rows.reset_index(drop=True)
    if layout.source is not None:
        partition = {"kind": "iid", "clients": CLIENTS}
        data = {"root": str(root), "size": 32, "sources": [dict(layout.source)]}
        return Starter(None, _experiment(task, root, data, partition, batch=16), ("Three clients divide the images.",))
    partition, smallest, patients, sentence = _partition(rows)
    axes = layout.settings.get("axes", 2)
    settings = {key: value for key, value in layout.settings.items() if learned == "mask" or key in ("axes", "slices")}
    if axes == 3 and learned != "mask":  # networks for other tasks take images, and a question is about a single one
        taken = {"pages": "middle"} if learned == "answer" else {"slices": 8}
        axes, settings = 2, {k: v for k, v in settings.items() if k != "axes"} | taken
    size, colour = _form(rows["image"], root, axes)
    source = {"kind": "manifest", "table": MANIFEST, **({"learn": learned} if _needs_saying(rows, learned) else {})}
    if "modality" in rows and rows["modality"].nunique() == 1:  # one place to correct it, and prediction reads it there
        settings["modality"] = rows["modality"].iat[0]
        rows = rows.drop(columns="modality")
    data = {"root": str(out), "size": size if learned != "pair" else max(size, 48)}
    if colour and learned != "pair":
        data["channels"] = 3
    if learned == "answer":
        data["answer_patients"] = max(1, min(5, smallest // 4))
    data["sources"] = [source | settings]
    manifest = rows.copy()
    for column in _PATHS:
        if column in manifest:
            manifest[column] = manifest[column].map(lambda cell: _moved(cell, root, out))
    experiment = _experiment(task, root, data, partition, batch=max(2, min(16, smallest // 2)))
    small = patients < USUAL_CLUSTER
    if small:  # or no client would have a prototype, and nobody find out who is like whom
        experiment["bank"] = {"min_cluster": patients}
    shape = " x ".join([str(data["size"])] * axes)
    chosen = (
        sentence,
        f"Images become {shape}, {'in colour' if 'channels' in data else 'grey'}: data.size, data.channels.",
        *([f"A prototype is of {patients} patient(s) or more, for want of more: bank.min_cluster."] if small else []),
    )
    return Starter(manifest, experiment, chosen)


def _needs_saying(rows: pd.DataFrame, learned: str) -> bool:
    return sum(role in rows for role in TEACHES if role != "image") > 1 or learned not in rows


def _moved(cell: str, root: Path, out: Path) -> str:
    """Return the paths of a cell, seen from another folder."""
    return ";".join(Path(os.path.relpath(root / part, out)).as_posix() for part in cell.split(";") if part)


def _experiment(task: str, root: Path, data: dict[str, Any], partition: dict[str, Any], batch: int) -> dict[str, Any]:
    return {
        "task": task,
        "algorithm": "omnifm",
        "data": data,
        "partition": partition,
        "federation": {"rounds": 20, "evaluate_every": 5},
        "training": {"batch_size": batch, "optimizer": "adamw", "learning_rate": 0.002},
    }


def _form(images: Sequence[str], root: Path, axes: int) -> tuple[int, bool]:
    """Return a side that images such as these can take, and whether any is in colour."""
    sides, colour = [], False
    for index in evenly_spaced(len(images), _LOOKED_AT):
        try:
            image = read_image(root / images[index].split(";")[0])
        except DataError:
            continue  # `data check` names it
        sides.append(min(image.size[-2:] if axes == 2 else image.size))
        colour = colour or not image.is_grey
    usual = sorted(sides)[len(sides) // 2] if sides else 0
    sizes = _SIZES[axes]
    return max((size for size in sizes if size <= usual), default=sizes[0]), colour


def _partition(rows: pd.DataFrame) -> tuple[dict[str, Any], int, int, str]:
    """Return the first partition that is possible, the fewest rows and patients of a client's training, and a remark.

    By hospital where there are several; by modality where there are three or more; else as many clients as there are
    patients for, up to :data:`CLIENTS`.
    """
    ways: list[tuple[dict[str, Any], str]] = []
    if "institution" in rows and rows["institution"].nunique() > 1:
        ways.append(({"kind": "institution"}, "Each hospital of the table is a client."))
    if "modality" in rows and rows["modality"].nunique() >= CLIENTS:
        ways.append(({"kind": "modality"}, "Each modality is a client."))
    ways += [
        ({"kind": "iid", "clients": clients}, f"Patients are divided evenly among {clients} clients.")
        for clients in range(CLIENTS, 0, -1)
    ]
    facts = dealable(rows)
    log = logging.getLogger("omnifm")
    level, reason = log.level, ""
    for way, sentence in ways:
        log.setLevel(logging.ERROR)  # what a partition warns of is said when the data are read
        try:
            shares = partition_rows(facts, PartitionSettings(**way), seed=0)
        except DataError as error:
            reason = reason or str(error)
            continue
        finally:
            log.setLevel(level)
        fewest = min(len({facts.patients[row] for row in share.train}) for share in shares)
        return way, min(len(share.train) for share in shares), fewest, sentence
    raise DataError(f"There are too few patients to divide into clients with training, validation and test: {reason}")


def dealable(rows: pd.DataFrame) -> Rows:
    """Return what a partition looks at, of a manifest's rows."""

    def column(name: str) -> list[str]:
        return rows[name].tolist() if name in rows else [""] * len(rows)

    labels = column("label")
    known = distinct(labels)
    return Rows(
        patients=tuple(patient or image for patient, image in zip(column("patient"), rows["image"], strict=True)),
        modalities=tuple(column("modality")),
        institutions=tuple(column("institution")),
        splits=tuple(split or None for split in column("split")),
        classes=tuple(known.index(label) for label in labels),
    )
