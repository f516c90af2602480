"""The rows of a manifest as a check looks at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from omnifm.data.check.examples import Examples
from omnifm.data.manifest.manifest_images import RowImages
from omnifm.data.manifest.manifest_table import Manifest, paths_in


def listed(
    manifest: Manifest,
    roles: Sequence[str],
    names: Sequence[str],
    *,
    read: Callable[[int], RowImages],
    modality: str = "",
    institution: str = "",
) -> Examples:
    """Return the rows of a manifest, and their files.

    Args:
        manifest: the table.
        roles: what is learned from it, the first above all.
        names: the labels or the regions.
        read: reads the files of a row, by its number in the table, as a run does.
        modality: of rows that do not say.
        institution: of rows that do not say.
    """
    frame = manifest.frame
    count = len(frame)

    def column(role: str, default: str = "") -> pd.Series[str]:
        return frame[role].where(frame[role] != "", default) if role in frame else pd.Series([default] * count)

    rows = {
        "place": [manifest.place(row) for row in frame.index],
        "name": frame["image"],
        "label": manifest.labels if "label" in roles else [""] * count,
        "patient": column("patient"),
        "modality": column("modality", modality),
        "institution": column("institution", institution),
        "split": column("split"),
    }
    if "answer" in roles and "answer" in frame:
        rows["answer"] = frame["answer"].str.lower().str.split().str.join(" ")
    files: list[tuple[int, str, str]] = []
    columns = {"image": ["image"], "mask": list(manifest.columns_of("mask").values()), "pair": ["pair"]}
    for role in dict.fromkeys(("image", *roles)):
        for cells in (frame[name] for name in columns.get(role, ())):
            files += [
                (n, role, str(path)) for n, cell in enumerate(cells) for path in paths_in(cell, manifest.path.parent)
            ]
    numbers = frame.index.to_numpy()
    # What an example lacks for one of several things that a table can teach, it may have for another.
    every = [list(manifest.problems(role)) for role in roles]
    shared = set.intersection(*map(set, every))
    problems = dict.fromkeys(
        problem if problem in shared else replace(problem, severity="warning") for found in every for problem in found
    )
    return Examples(
        pd.DataFrame({name: pd.Series(list(values), dtype="str") for name, values in rows.items()}),
        pd.DataFrame(files, columns=["row", "role", "path"]),
        "label" if "label" in roles else roles[0],
        tuple(names),
        tuple(problems),
        (manifest.path.parent,),
        read=lambda row: read(int(numbers[row])),
    )
