"""What can be wrong with the files of a data set without decoding any: one small function for each rule.

A rule of your own is one more such function in :data:`FILE_RULES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from omnifm.data.check.examples import Examples
from omnifm.data.check.finding import Finding, error
from omnifm.data.check.row_rules import SHOWN, RowRule
from omnifm.data.reading.files import is_litter
from omnifm.utils.words import joined


def files_there(examples: Examples) -> Iterator[Finding]:
    """Every file must exist, and hold something."""
    words = {
        -1: "does not exist. Put it there, or correct or remove the row",
        -3: "is no file, but a pipe or a device. Replace or remove it",
        0: "is empty. Replace or remove it",
    }
    sizes = examples.files["path"].map(examples.sizes)
    for number in (sizes[sizes.isin(list(words))]).index:
        row, role, path = examples.files.loc[number, ["row", "role", "path"]]
        yield error(examples.place(row), f"its {role} {path} {words[sizes[number]]}.")


def litter_listed(examples: Examples) -> Iterator[Finding]:
    """What operating systems and editors leave behind is no image."""
    names = examples.files["path"]
    for number in names.index[[is_litter(Path(name)) for name in names]]:
        row, role, path = examples.files.loc[number, ["row", "role", "path"]]
        yield error(
            examples.place(row), f"its {role} {path} is left behind by an operating system or editor. Remove the row."
        )


def masks_shared(examples: Examples) -> Iterator[Finding]:
    """Two images of which one mask is said to be cannot both be right, unless they are one image."""
    masks, images = examples.of("mask"), examples.of("image").groupby("row")["path"].first()
    of_image = pd.DataFrame({"path": masks["path"], "image": masks["row"].map(images), "row": masks["row"]})
    several = of_image.drop_duplicates(["path", "image"])
    for path, mine in several[several.duplicated("path", keep=False)].groupby("path", sort=False):
        first, *others = mine["row"]
        there = joined((examples.place(row) for row in others), SHOWN)
        yield error(examples.place(first), f"its mask {path} is also that of {there}. Give each image its own.")


FILE_RULES: list[RowRule] = [files_there, litter_listed, masks_shared]
"""What is looked for in the files, in this order."""
