"""Layouts that are published as such: MedMNIST, nnU-Net and BIDS."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from omnifm.data.medmnist import SETS
from omnifm.data.reading.files import VOLUMES, stem_of, suffix_of
from omnifm.data.recognise.column_words import column_called
from omnifm.data.recognise.folder_contents import FolderContents
from omnifm.data.recognise.folder_layouts import with_content
from omnifm.data.recognise.layout import FolderLayout, Hints
from omnifm.data.recognise.mask_values import regions_seen
from omnifm.data.tables import read_table
from omnifm.utils.errors import DataError
from omnifm.utils.words import joined

_MEDMNIST = re.compile(rf"^({'|'.join(SETS)})(?:_(64|128|224))?\.npz$")
_CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")
_NOT_ANATOMICAL = ("bold", "dwi", "sbref", "epi", "phasediff", "magnitude1", "magnitude2", "events")
_SUBJECT = re.compile(r"^sub-[a-zA-Z0-9]+$")


def medmnist_file(contents: FolderContents, hints: Hints) -> FolderLayout | None:
    """Recognise the published files of MedMNIST, which are read as they are."""
    found = [(path, match) for path in contents.arrays if (match := _MEDMNIST.match(path.name))]
    if not found:
        return None
    if len(found) > 1:
        names = joined((path.as_posix() for path, _ in found), 6)
        raise DataError(
            f"{contents.root}: holds several sets of MedMNIST ({names}). Put the one to be used in a folder."
        )
    path, match = found[0]
    source = {"kind": "medmnist", "set": match[1], "pixels": int(match[2] or 28), "folder": path.parent.as_posix()}
    channels = f"{SETS[match[1]].channels} channel(s)"
    return FolderLayout(
        "MedMNIST",
        pd.DataFrame({"image": [path.as_posix()]}),
        ("label", "image"),
        recognised=(f"{path} is MedMNIST's {match[1]}: {len(SETS[match[1]].classes)} classes, {channels}.",),
        guessed=("No patients are published: each image counts as its own.",),
        source=source,
    )


def nnunet(contents: FolderContents, hints: Hints) -> FolderLayout | None:
    """Recognise nnU-Net's ``imagesTr`` and ``labelsTr``, with their regions in ``dataset.json``."""
    images = [path for path in contents.images if path.parent.name in ("imagesTr", "imagesTs")]
    if not images:
        return None
    cases: dict[tuple[Path, str, str], list[Path]] = defaultdict(list)
    for path in images:
        match = _CHANNEL.match(stem_of(path))
        split = "train" if path.parent.name == "imagesTr" else "test"
        cases[path.parent.parent, match["case"] if match else stem_of(path), split].append(path)
    masks = {(path.parent, stem_of(path)): path for path in contents.images}
    rows, unlabelled = [], 0
    for (folder, case, split), channels in sorted(cases.items()):
        mask = masks.get((folder / ("labelsTr" if split == "train" else "labelsTs"), case))
        unlabelled += mask is None
        if mask is not None:
            rows.append((";".join(path.as_posix() for path in sorted(channels)), mask.as_posix(), case, split))
    if not rows:
        raise DataError(f"{contents.root}: has imagesTr, but no mask of its cases in labelsTr. Put them there.")
    frame = pd.DataFrame(rows, columns=["image", "mask", "patient", "split"])
    if (frame["split"] == "train").all():
        frame = frame.drop(columns="split")
    about = _dataset_json(contents)
    settings = _regions(about)
    guessed: list[str] = []
    if not settings:
        settings, guessed = regions_seen([contents.root / mask for mask in frame["mask"]])
        guessed = [f"There is no dataset.json with labels. {sentence}" for sentence in guessed]
    names = about.get("channel_names", about.get("modality"))
    modality = hints.modality or "+".join(map(str, names.values() if isinstance(names, dict) else [])) or "unknown"
    frame["modality"] = modality
    if suffix_of(Path(rows[0][1])) in VOLUMES:
        settings |= {"axes": 3}
    shown = joined(region["name"] for region in settings.get("regions", [{"name": "one"}]))
    recognised = [f"{len(frame)} cases with masks, each a patient; modality {modality}; regions: {shown}."]
    if unlabelled:
        recognised.append(f"{unlabelled} cases have no mask and are left out.")
    return FolderLayout("nnU-Net", frame, ("mask", "image"), settings, tuple(recognised), tuple(guessed))


def _dataset_json(contents: FolderContents) -> dict[str, Any]:
    for path in contents.texts:
        if path.name == "dataset.json":
            try:
                found = json.loads((contents.root / path).read_text(encoding="utf-8-sig"))
            except (OSError, ValueError, RecursionError) as error:
                raise DataError(
                    f"{contents.root / path}: is not valid JSON ({error}). Correct or remove it."
                ) from error
            return found if isinstance(found, dict) else {}
    return {}


def _regions(about: dict[str, Any]) -> dict[str, Any]:
    """Return the regions of a ``dataset.json``: ``{"tumour": 2}``, of version 1 ``{"2": "tumour"}``."""
    labels = about.get("labels")
    if not isinstance(labels, dict):
        return {}
    pairs = [(value, key) if str(key).isdigit() else (key, value) for key, value in labels.items()]
    regions = []
    for name, codes in pairs:
        found = [int(code) for code in (codes if isinstance(codes, list) else [codes]) if str(code).isdigit()]
        if name != "ignore" and found and found != [0]:
            regions.append({"name": str(name), "values": found})
    return {"regions": regions} if regions else {}


def bids(contents: FolderContents, hints: Hints) -> FolderLayout | None:
    """Recognise BIDS: ``sub-01/anat/sub-01_T1w.nii.gz``, masks below ``derivatives``, and ``participants.tsv``."""
    volumes = [path for path in contents.images if suffix_of(path) in (".nii", ".nii.gz") and _subject(path)]
    if not volumes or len(volumes) < len(contents.images) / 2:
        return None
    drawn = [path for path in volumes if _suffix(path) in ("dseg", "mask", "seg", "roi", "probseg")]
    images = [path for path in volumes if path not in drawn and "derivatives" not in path.parts]
    images = [path for path in images if _suffix(path) not in _NOT_ANATOMICAL]
    if not images:
        return None
    rows = pd.DataFrame({"image": [path.as_posix() for path in images], "patient": [_subject(path) for path in images]})
    rows["modality"] = [hints.modality or _suffix(path) for path in images]
    kinds = rows["modality"].value_counts()
    recognised = [f"{rows['patient'].nunique()} subjects, each a patient; {joined(kinds.index)}."]
    guessed: list[str] = []
    settings: dict[str, Any] = {"axes": 3}
    teaches = ["image"]
    if drawn:
        rows["mask"] = [_mask_of(path, drawn, len(kinds) == 1) for path in images]
        regions, guessed = regions_seen([contents.root / cell for cell in rows["mask"] if cell])
        settings |= regions
        teaches.insert(0, "mask")
    table = next((path for path in contents.tables if path.name == "participants.tsv"), None)
    if table is not None:
        people = read_table(contents.root / table, ["participant_id"]).set_index("participant_id")
        chosen = _label_column(people, hints, contents.root / table)
        if chosen:
            rows["label"] = [people[chosen].get(patient, "") for patient in rows["patient"]]
            recognised.append(f"The label is the column {chosen!r} of {table}.")
            teaches.insert(0, "label")
        if site := column_called(people, "institution"):
            rows["institution"] = [people[site].get(patient, "") for patient in rows["patient"]]
            recognised.append(f"The institution is the column {site!r} of {table}.")
    return FolderLayout(
        "BIDS",
        with_content(rows),
        tuple(teaches),
        settings,
        tuple(recognised),
        tuple(guessed),
        of_table=table is not None and not hints.table,
    )


def _label_column(people: pd.DataFrame, hints: Hints, path: Path) -> str:
    """Return the column of a table of participants that says to which group they belong."""
    if hints.label:
        if hints.label not in people:
            raise DataError(f"{path}: has no column {hints.label!r}. Known: {joined(people.columns)}.")
        return hints.label
    words = ("diagnosis", "group", "label", "dx", "class")
    return next((name for word in words for name in people if name.lower() == word), "")


def _subject(path: Path) -> str:
    return next((part for part in path.parts if _SUBJECT.match(part)), "")


def _suffix(path: Path) -> str:
    """Return the last part of a name, after which BIDS calls what an image is: ``T1w``, ``dseg``."""
    return stem_of(path).rpartition("_")[2]


def _mask_of(image: Path, drawn: list[Path], only: bool) -> str:
    """Return the masks of an image: those whose name is its name with more; or its subject's, if it has one image."""
    own = [path for path in drawn if _subject(path) == _subject(image) and _session(path) == _session(image)]
    named = [path for path in own if stem_of(path).startswith(stem_of(image))]
    return ";".join(path.as_posix() for path in named or (own if only else []))


def _session(path: Path) -> str:
    return next((part for part in path.parts if part.startswith("ses-")), "")
