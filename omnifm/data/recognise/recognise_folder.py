"""Which layout a folder has: the recognisers are asked in turn, and a task may rule some of them out."""

from __future__ import annotations

from omnifm.data.recognise.dicom_layout import dicom_series
from omnifm.data.recognise.folder_contents import FolderContents
from omnifm.data.recognise.folder_layouts import image_folders, paired_folders
from omnifm.data.recognise.layout import TEACHES, FolderLayout, Hints, Recogniser
from omnifm.data.recognise.published_layouts import bids, medmnist_file, nnunet
from omnifm.data.recognise.table_layouts import label_table
from omnifm.utils.errors import DataError, did_you_mean
from omnifm.utils.words import joined

RECOGNISERS: list[Recogniser] = [medmnist_file, nnunet, bids, label_table, dicom_series, paired_folders, image_folders]
"""Asked in this order. A recogniser of your own is one more such function."""


def recognise(contents: FolderContents, hints: Hints, task: str = "") -> tuple[FolderLayout, str, str]:
    """Return the layout of a folder, the task that it serves, and what is learned: a key of :data:`TEACHES`.

    Args:
        contents: what is in the folder.
        hints: what is known of it beforehand.
        task: which it is to serve; empty, the likeliest.

    Raises:
        DataError: no layout is recognised, none serves the task, or one could be read in several ways.
    """
    if task and task not in TEACHES.values():
        raise DataError(f"A manifest cannot serve task = {task!r} by itself. {did_you_mean(task, TEACHES.values())}")
    wanted = next((learned for learned, known in TEACHES.items() if known == task), "")
    given = [f"--{name} {value!r}" for name, value in (("label", hints.label), ("table", hints.table)) if value]
    others, untabled = [], []
    for recogniser in RECOGNISERS:
        layout = recogniser(contents, hints)
        if layout is None or not len(layout.rows):
            continue
        if given and not layout.of_table:
            untabled.append(layout.name)
        elif not wanted or wanted in layout.teaches:
            learned = wanted or layout.teaches[0]
            return layout, TEACHES[learned], learned
        else:
            others.append(f"{layout.name} (for {joined(TEACHES[learned] for learned in layout.teaches)})")
    if others:
        raise DataError(f"{contents.root}: holds nothing for task = {task!r}; it was recognised as {joined(others)}.")
    if untabled:
        raise DataError(
            f"{contents.root}: no table in it names the images, of which {joined(given)} could say something. "
            f"Without it, the folder is taken for {untabled[0]}."
        )
    raise DataError(
        f"{contents.root}: its layout is not recognised ({_held(contents)}). Put images in a folder for each class, "
        "images and masks in folders of these names, or a table with a column of paths beside them."
    )


def _held(contents: FolderContents) -> str:
    counts = {
        "images": contents.images,
        "DICOM files": contents.dicom,
        "tables": contents.tables,
        "arrays": contents.arrays,
    }
    return joined(f"{len(paths)} {what}" for what, paths in counts.items() if paths)


def passed_over(contents: FolderContents) -> str:
    """Return a sentence about the files that are no data, or nothing."""
    said = []
    if contents.litter:
        said.append(f"{contents.litter} left behind by operating systems and editors")
    if contents.others:
        said.append(f"{sum(contents.others.values())} of other kinds ({joined(contents.others, 4)})")
    return f"Passed over: {joined(said)}." if said else ""
