"""A table beside images: which of its columns names the image, the label, the question and so on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from omnifm.data.manifest.manifest_table import YES_NO, marked, parts
from omnifm.data.published_split import split_of
from omnifm.data.reading.files import VOLUMES, stem_of, suffix_of
from omnifm.data.recognise.column_words import NAMED_ROLES, column_called
from omnifm.data.recognise.dicom_layout import PSEUDONYMS, header_facts
from omnifm.data.recognise.folder_contents import FolderContents
from omnifm.data.recognise.folder_layouts import with_content
from omnifm.data.recognise.image_places import ImagePlaces, image_places
from omnifm.data.recognise.layout import FolderLayout, Hints
from omnifm.data.recognise.path_words import modality_in, split_word
from omnifm.data.recognise.pseudonyms import pseudonym_key
from omnifm.data.tables import read_table
from omnifm.utils.errors import DataError, did_you_mean
from omnifm.utils.words import joined

_SEEN = 0.5
"""So many of a column's cells must be names of images for it to be the column of images."""
_FEW = 20
"""A column with at most so many different values may be one of labels."""


def label_table(contents: FolderContents, hints: Hints) -> FolderLayout | None:
    """Recognise tables whose rows name images, with labels, questions or masks in other columns."""
    if not contents.images and not contents.dicom:
        return None
    places = image_places(contents.images)
    of_masks = {path for image in places.images for path in image.masks}
    of_series = {path.parent for path in contents.dicom} - {Path()}
    files = [path for path in (*contents.images, *contents.dicom) if path not in of_masks]
    listed = list(_tables(contents, hints))
    for known in (_Names(files), _Names(sorted(of_series))):
        if tables := {path: table for path, table in listed if known.column_of(table)}:
            break
    else:
        if hints.table:
            raise DataError(f"{contents.root / hints.table}: no column of it names the images of the folder.")
        return None
    path, table = _single(contents, tables)
    column = known.column_of(table)
    others = [name for name in table if name != column]
    found = {role: name for role in NAMED_ROLES if (name := column_called(others, role))}
    if hints.label:
        if hints.label not in table:
            raise DataError(
                f"{contents.root / path}: has no column {hints.label!r}. {did_you_mean(hints.label, table)}"
            )
        found["label"] = hints.label
    recognised = [f"{path}: the column {column!r} names the images."]
    guessed: list[str] = []
    rows = pd.DataFrame({"image": table[column].map(known.path_of)})
    for role, name in found.items():
        rows[role] = table[name]
    if "answer" not in rows or "question" not in rows:
        rows = rows.drop(columns=[role for role in ("question", "answer", "type") if role in rows])
        _add_labels(rows, table, [column, *found.values()], found, contents.root / path, recognised, guessed)
    else:
        rows = rows.drop(columns=[role for role in ("label", "mask") if role in rows])
        recognised.append(f"Questions and answers are in {found['question']!r} and {found['answer']!r}.")
    _add_masks(rows, places, _Names(contents.images), recognised)
    missing = rows["image"] == ""
    if missing.any():
        guessed.append(
            f"{missing.sum()} rows name no image that is there, such as row {rows.index[missing][0]}: left out."
        )
    unnamed = len(known.paths) - rows["image"].nunique() + bool(missing.any())
    if unnamed:
        guessed.append(f"{unnamed} images are in no row of the table: left out.")
    rows = rows[~missing].reset_index(drop=True)
    if "split" in rows:
        _check_split(rows, found["split"], guessed)
    _add_from_headers(rows, contents, hints, recognised)
    if "modality" not in rows or not (rows["modality"] != "").any():
        word = hints.modality or modality_in(contents.root.resolve().name) or "unknown"
        rows["modality"] = word
        if word == "unknown":
            guessed.append("The modality is not known: correct it in the experiment, or give --modality.")
    recognised += [f"The {role} is the column {found[role]!r}." for role in ("patient", "institution") if role in found]
    teaches = [role for role in ("answer", "label", "mask") if role in rows and (rows[role] != "").any()]
    if not teaches and not hints.table:
        return None  # a table that says nothing about the images
    kind = "questions" if "answer" in teaches else "labels" if "label" in teaches else "images"
    volumes = rows["image"].map(lambda path: suffix_of(Path(path)) in VOLUMES or Path(path) in of_series)
    return FolderLayout(
        f"a table of {kind}",
        with_content(rows),
        (*teaches, *([] if "answer" in teaches else ["image"])),
        {"axes": 3} if volumes.any() else {},
        of_table=True,
        recognised=tuple(recognised),
        guessed=tuple(guessed),
    )


class _Names:
    """Finds an image by how a table may name it: its path, its name, or its name without ending."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self._known: dict[str, Path | None] = {}
        for path in paths:
            tails = ["/".join(path.parts[start:]) for start in range(len(path.parts))]
            stems = [str(Path(tail).with_name(stem_of(path))) for tail in tails]
            for name in {*tails, *stems}:
                self._known[name] = None if name in self._known else path

    def path_of(self, cell: str) -> str:
        """Return the path of the image that a cell names, or nothing."""
        name = cell.replace("\\", "/").removeprefix("./")
        parts = name.split("/")
        for start in range(len(parts)):  # a path on another machine ends like the one here
            if path := self._known.get("/".join(parts[start:])):
                return path.as_posix()
        return ""

    def column_of(self, table: pd.DataFrame) -> str:
        """Return the column that names most images, or nothing if none names half of its rows."""
        seen = {name: (table[name].map(self.path_of) != "").mean() for name in table} if len(table) else {}
        best = max(seen, key=lambda name: seen[name], default="")
        return best if best and seen[best] >= _SEEN else ""


def _tables(contents: FolderContents, hints: Hints) -> Iterable[tuple[Path, pd.DataFrame]]:
    if hints.table:
        yield Path(hints.table), read_table(contents.root / hints.table)
        return
    for path in contents.tables:
        yield path, read_table(contents.root / path)
    for path in contents.texts:
        try:
            entries = json.loads((contents.root / path).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            continue  # another program's file, which may be anything
        if isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries):
            yield path, pd.DataFrame(entries).astype(object).fillna("").map(str)


def _single(contents: FolderContents, tables: dict[Path, pd.DataFrame]) -> tuple[Path, pd.DataFrame]:
    """Return the one table; those called train, val and test are one."""
    if len(tables) == 1:
        return next(iter(tables.items()))
    splits = {path: split_word(_split_of(path)) for path in tables}
    if all(splits.values()) and len(set(splits.values())) == len(tables):
        parts = [table.assign(split=splits[path]) for path, table in tables.items()]
        return next(iter(tables)), pd.concat(parts, ignore_index=True).fillna("")
    names = joined((path.as_posix() for path in tables), 6)
    raise DataError(
        f"{contents.root}: {len(tables)} tables name the images ({names}), and it is not known which one counts: "
        "give --table."
    )


def _split_of(path: Path) -> str:
    """Return the word of a split in a table's name, such as ``train_labels.csv``."""
    words = stem_of(path).lower().replace("-", "_").split("_")
    return next((word for word in words if split_of(word)), "")


def _add_labels(
    rows: pd.DataFrame,
    table: pd.DataFrame,
    taken: Sequence[str],
    found: dict[str, str],
    path: Path,
    recognised: list[str],
    guessed: list[str],
) -> None:
    """Find the labels: a column called so, columns of 0 and 1, or the one column of few values."""
    if "label" in rows:
        recognised.append(f"The label is the column {found['label']!r}: {joined(sorted(set(rows['label'])), 6)}.")
        return
    others = [name for name in table if name not in taken]
    marks = [name for name in others if (table[name] != "").any() and set(table[name].str.lower()) <= {*YES_NO, ""}]
    if len(marks) > 1:
        rows["label"] = marked(table[marks])
        recognised.append(f"{len(marks)} columns of 0 and 1 are labels: {joined(marks, 8)}.")
        return
    few = [name for name in others if 1 < table[name].nunique() <= min(_FEW, len(table) / 2)]
    if len(few) > 1:
        raise DataError(f"{path}: the labels could be in {joined(map(repr, few))}. Say which column with --label.")
    if few:
        rows["label"] = table[few[0]]
        guessed.append(f"The label is the column {few[0]!r}: {joined(sorted(set(rows['label'])), 6)}.")


def _add_masks(rows: pd.DataFrame, places: ImagePlaces, known: _Names, recognised: list[str]) -> None:
    """Add the masks that the table names, or that lie beside the images."""
    if "mask" in rows:
        rows["mask"] = rows["mask"].map(lambda cell: ";".join(filter(None, map(known.path_of, parts(cell)))))
    elif places.masked and "answer" not in rows:
        masks = {image.path.as_posix(): image.masks for image in places.images}
        rows["mask"] = rows["image"].map(lambda path: ";".join(mask.as_posix() for mask in masks.get(path, ())))
    if "mask" in rows:
        recognised.append(f"{(rows['mask'] != '').sum()} images have masks.")


def _add_from_headers(rows: pd.DataFrame, contents: FolderContents, hints: Hints, recognised: list[str]) -> None:
    """Add what the table does not say of DICOM images and their headers do: the modality, the patient as a digest."""
    first = {path.parent.as_posix(): path for path in reversed(contents.dicom)}
    first |= {path.as_posix(): path for path in contents.dicom}
    lacking = [role for role in ("patient", "modality") if role not in rows]
    if not lacking or not any(cell in first for cell in rows["image"]):
        return
    key = pseudonym_key()
    facts = [header_facts(contents.root / first[cell], key) if cell in first else None for cell in rows["image"]]
    for role in lacking:
        rows[role] = ["" if fact is None else getattr(fact, role) for fact in facts]
    if "modality" in lacking and hints.modality:
        rows["modality"] = hints.modality
    if "patient" in lacking and rows["patient"].any():
        recognised.append(PSEUDONYMS)


def _check_split(rows: pd.DataFrame, column: str, guessed: list[str]) -> None:
    words = rows["split"].str.lower().map(lambda word: split_of(word) or "")
    if (words == "").any():
        guessed.append(f"The column {column!r} holds other words than train, validation and test: no split is taken.")
        del rows["split"]
    else:
        rows["split"] = words
