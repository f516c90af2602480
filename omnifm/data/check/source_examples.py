"""The examples of any source, as a check looks at them: listed file by file, or, where that is not possible, loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from omnifm.data.check.examples import Examples, Listing
from omnifm.data.check.finding import Finding, caution, error
from omnifm.data.columns import Column, Shared, as_tensor, row_chunks
from omnifm.data.duplicates import content_of
from omnifm.data.listed_items import ListedItems
from omnifm.data.manifest.manifest_images import RowImages
from omnifm.data.reading import read_image
from omnifm.data.source import Loading, Source
from omnifm.data.subset import SourceTable, Subset


def source_examples(source: Source, loading: Loading) -> Examples:
    """Return the examples of a source, as far as possible without decoding them.

    Raises:
        DataError: there are none to list.
    """
    if isinstance(source, Listing):
        return source.examples(loading)
    listing = ListedItems()
    table = source.load(replace(loading, listing=listing))
    image = table.fields["image"]
    rows = image.index.tolist() if isinstance(image, Shared) else list(range(len(table)))
    different = image.values.shape[0] if isinstance(image, Shared) else len(table)
    blank = replace(table, **_first(table))
    if len(listing.items) != different:  # it reads its files in a way of its own
        return replace(_loaded(table, source.kind, rows), blank=blank)
    assert listing.make is not None
    items, make = listing.items, listing.make

    def read(row: int) -> RowImages:
        drawn = [fields["mask"] for fields, _ in make(rows[row]) if "mask" in fields]
        first = read_image(items[rows[row]][0])
        return RowImages((first,), drawn=torch.cat(drawn).numpy() if drawn else None)

    folder = Path(loading.root, str(getattr(source, "folder", "")))
    files = [
        (row, "image" if n == 0 else "part", str(path)) for row, i in enumerate(rows) for n, path in enumerate(items[i])
    ]
    frame = _frame(table, [str(items[item][0]) for item in rows], [loading.relative(items[item][0]) for item in rows])
    return Examples(
        frame,
        pd.DataFrame(files, columns=["row", "role", "path"]),
        _learned(table),
        table.label_names,
        tuple(_of_settings(source, folder)),
        (folder,),
        read=read,
        blank=blank,
    )


def _of_settings(source: Source, folder: Path) -> list[Finding]:
    if getattr(source, "patient_pattern", None) != "":
        return []
    text = (
        "no patient_pattern says whose an image is: each counts as a patient of its own, and if a patient has several, "
        "they can be in training and in test, which flatters the results. Set patient_pattern."
    )
    return [caution(folder, text)]


def _loaded(table: SourceTable, kind: str, rows: Sequence[int]) -> Examples:
    """Return the rows of a source that can only load all at once, with the digests of its images."""
    frame = _frame(table, [f"{kind}, {patient}" for patient in table.patients], [""] * len(table))
    image = table.fields["image"]
    values: Column = image.values if isinstance(image, Shared) else image
    contents, constant = [], []
    for part in row_chunks(values):
        flat = part.flatten(1)
        constant += (flat.amax(dim=1) == flat.amin(dim=1)).tolist()
        contents += [content_of(one) for one in part]
    frame["content"] = [contents[item] for item in rows]
    problems = [
        error(frame["place"].iat[row], "its image shows nothing: it is of one value. Replace or remove it.")
        for row, item in enumerate(rows)
        if constant[item]
    ]
    files = pd.DataFrame({name: pd.Series(dtype="object") for name in ("row", "role", "path")})
    return Examples(frame, files, _learned(table), table.label_names, tuple(problems))


def _learned(table: SourceTable) -> str:
    known = {"answer": "answer", "mask": "mask", "label": "label", "chroma": "pair"}
    return next((learned for field, learned in known.items() if field in table.fields), "image")


def _frame(table: SourceTable, places: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    labels = [""] * len(table)
    if _learned(table) == "label":
        label = as_tensor(table.fields["label"])
        held = [[int(one)] for one in label] if label.ndim == 1 else [row.nonzero()[:, 0].tolist() for row in label]
        labels = ["|".join(table.label_names[one] for one in row) for row in held]
    columns = {
        "place": places,
        "name": names,
        "label": labels,
        "patient": table.patients,
        "modality": table.modalities,
        "institution": table.institutions,
        "split": table.split or [""] * len(table),
    }
    return pd.DataFrame({name: np.asarray(values, dtype=object) for name, values in columns.items()})


def _first(table: SourceTable) -> dict[str, Any]:
    """Return the fields of a table of its first row alone."""
    one = Subset(table.fields, table.patients, torch.tensor([0])).whole()
    plain = {"patients": table.patients[:1], "modalities": table.modalities[:1], "institutions": table.institutions[:1]}
    return {"fields": one, "split": None, **plain}
