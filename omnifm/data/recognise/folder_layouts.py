"""Folders of images whose names and folders say all: classes, masks beside the images or in folders, pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from omnifm.data.reading.files import VOLUMES, stem_of, suffix_of
from omnifm.data.recognise.folder_contents import FolderContents
from omnifm.data.recognise.folder_levels import folder_levels
from omnifm.data.recognise.image_places import ImagePlace, image_places
from omnifm.data.recognise.layout import FolderLayout, Hints
from omnifm.data.recognise.mask_values import regions_seen
from omnifm.data.recognise.path_words import modality_in, modality_word, patient_part
from omnifm.data.subset import distinct
from omnifm.utils.words import joined


def image_folders(contents: FolderContents, hints: Hints) -> FolderLayout | None:
    """Recognise class folders, masks beside images or in folders of their own, and folders of splits."""
    if not contents.images:
        return None
    places = image_places(contents.images)
    if not places.images:
        return None
    found = folder_levels([image.levels for image in places.images])
    recognised, guessed = list(found.recognised), list(found.guessed)
    rows = pd.DataFrame(
        {
            "image": [image.path.as_posix() for image in places.images],
            "label": found.labels,
            "mask": [";".join(mask.as_posix() for mask in image.masks) for image in places.images],
            "patient": _patients(places.images, found.patients),
            "split": [image.split for image in places.images],
            "modality": found.modalities,
            "institution": found.institutions,
        }
    )
    settings: dict[str, Any] = {}
    if places.masked:
        count = sum(bool(image.masks) for image in places.images)
        recognised.append(f"{count} of {len(rows)} images have masks, which are not read as images.")
        masks = [contents.root / mask for image in places.images for mask in image.masks]
        regions, sentences = regions_seen(masks)
        settings |= regions
        guessed += sentences
    if places.lone_masks:
        shown = joined((mask.as_posix() for mask in places.lone_masks), 3)
        guessed.append(f"{len(places.lone_masks)} files are called like masks, but of no image: left out ({shown}).")
    if splits := [split for split in distinct(rows["split"].tolist()) if split]:
        recognised.append(f"Folders are splits: {joined(splits)}.")
    if not found.patients[0] and rows["patient"].any():
        example = next(patient for patient in rows["patient"] if patient)
        guessed.append(f"Names of files tell patients, such as {example!r}.")
    rows["modality"] = _modalities(rows, contents.root, hints, guessed)
    volumes = [path for path in contents.images if suffix_of(path) in VOLUMES]
    if volumes:
        settings |= {"axes": 3}
    teaches = (*(["label"] if rows["label"].any() else []), *(["mask"] if places.masked else []), "image")
    name = "class folders" if rows["label"].any() else "a folder of images"
    with_masks = " with masks" if places.masked else ""
    return FolderLayout(
        f"{name}{with_masks}",
        with_content(rows),
        teaches,
        settings=settings,
        recognised=tuple(recognised),
        guessed=tuple(guessed),
    )


def paired_folders(contents: FolderContents, hints: Hints) -> FolderLayout | None:
    """Recognise two folders, called by modalities, that hold images of the same names."""
    by_parent: dict[Path, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in contents.images:
        by_parent[path.parent.parent][path.parent.name].add(path.name)
    rows = []
    for parent, folders in sorted(by_parent.items()):
        if len(folders) == 2 and all(map(modality_word, folders)) and len({*map(frozenset, folders.values())}) == 1:
            # In a folder called A-B, A is the first; elsewhere the order is that of the alphabet.
            first, second = sorted(folders, key=lambda name: (not parent.name.startswith(f"{name}-"), name))
            for name in sorted(folders[first]):
                paths = [(parent / folder / name).as_posix() for folder in (first, second)]
                rows.append((*paths, f"{first}-{second}/{stem_of(Path(name))}", f"{first}-{second}"))
    if not rows or len(rows) * 2 != len(contents.images):
        return None
    frame = pd.DataFrame(rows, columns=["image", "pair", "patient", "modality"])
    pairs = joined(distinct(frame["modality"].tolist()))
    return FolderLayout(
        "pairs of two modalities",
        frame,
        ("pair", "image"),
        recognised=(f"{len(frame)} pairs of images of one name: {pairs}.",),
        guessed=("Each pair counts as a patient of its own: if several are of one, correct the column patient.",),
    )


def with_content(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a manifest without the columns that are empty in every row."""
    return rows[[column for column in rows if column == "image" or (rows[column] != "").any()]]


def _patients(images: Sequence[ImagePlace], folders: Sequence[str]) -> list[str]:
    """Return the patient of each image by its folder, or by a word in its name; of none unless nearly all have one."""
    if any(folders):
        return list(folders)
    named = [patient_part(image.path, stem_of(image.path)) for image in images]
    return named if all(named) and len(set(named)) > 2 else [""] * len(images)


def _modalities(rows: pd.DataFrame, root: Path, hints: Hints, guessed: list[str]) -> list[str]:
    """Return the modality of each row; that of all is guessed by words in the names of folders."""
    if hints.modality:
        return [hints.modality] * len(rows)
    if rows["modality"].any():
        return list(rows["modality"])
    texts = (root.resolve().name, *distinct(rows["image"].map(lambda path: str(Path(path).parent)).tolist())[:20])
    if found := next((word for text in texts if (word := modality_in(text))), ""):
        guessed.append(f"The modality of all images is {found}, as a folder is called.")
        return [found] * len(rows)
    guessed.append("The modality is not known: correct it in the experiment, or give --modality.")
    return ["unknown"] * len(rows)
