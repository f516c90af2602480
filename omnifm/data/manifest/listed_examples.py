"""The rows of a manifest as a check looks at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from omnifm.data.check.examples import Examples
from omnifm.data.manifest.manifest_images import RowImages
from omnifm.data.manifest.manifest_table import Manifest, paths_in


def listed(
    manifest: Manifest,
    learned: str,
    *,
    names: Sequence[str],
    modality: str,
    institution: str,
    read: Callable[[int], RowImages],
) -> Examples:
    """Return the rows of a manifest, and their files.

    Args:
        manifest: the table.
        learned: what is learned from it.
        names: the labels or the regions.
        modality: of rows that do not say.
        institution: of rows that do not say.
        read: reads the files of a row, by its number in the table, as a run does.
    """
    frame = manifest.frame
    count = len(frame)

    def column(role: str, default: str = "") -> pd.Series[str]:
        return frame[role].where(frame[role] != "", default) if role in frame else pd.Series([default] * count)

    rows = {
        "place": [manifest.place(row) for row in frame.index],
        "name": frame["image"],
        "label": manifest.labels if learned == "label" else [""] * count,
        "patient": column("patient"),
        "modality": column("modality", modality),
        "institution": column("institution", institution),
        "split": column("split"),
    }
    paths = []
    roles = {"image": ["image"], "mask": list(manifest.columns_of("mask").values()), "pair": ["pair"]}
    for role in dict.fromkeys(("image", learned)):
        for cells in (frame[name] for name in roles.get(role, ())):
            for number, cell in enumerate(cells):
                paths += [(number, role, str(path)) for path in paths_in(cell, manifest.path.parent)]
    numbers = frame.index.to_numpy()
    return Examples(
        pd.DataFrame({name: pd.Series(list(values), dtype="str") for name, values in rows.items()}),
        pd.DataFrame(paths, columns=["row", "role", "path"]),
        learned,
        tuple(names),
        tuple(manifest.problems(learned)),
        (manifest.path.parent,),
        read=lambda row: read(int(numbers[row])),
    )
