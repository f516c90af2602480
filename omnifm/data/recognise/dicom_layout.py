"""DICOM: files are gathered into series, and each series is an image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from omnifm.data.reading.dicom_patient import DicomSummary, summarise_dicom
from omnifm.data.recognise.folder_contents import FolderContents
from omnifm.data.recognise.folder_layouts import with_content
from omnifm.data.recognise.folder_levels import folder_levels
from omnifm.data.recognise.layout import FolderLayout, Hints
from omnifm.data.recognise.path_words import split_word
from omnifm.data.recognise.pseudonyms import pseudonym_key
from omnifm.data.subset import distinct
from omnifm.utils.errors import DataError
from omnifm.utils.words import joined

_NO_IMAGES = ("SEG", "RTDOSE")
"""Modalities of what was made of images, and would be taken for images itself."""
PSEUDONYMS = "Patients are digests of what the headers say: no name or number of a patient is written."


def header_facts(path: Path, key: bytes) -> DicomSummary | None:
    """Return what sorts a DICOM file; None, if it cannot be read or holds no image."""
    try:
        return summarise_dicom(path, key)
    except DataError:
        return None


def dicom_series(contents: FolderContents, hints: Hints) -> FolderLayout | None:
    """Recognise series of DICOM; folders above them can be classes and splits.

    A series in a folder of its own is one image, a volume; other files are an image each. The patient is a digest of
    the header's patient, so that nobody's name or number is in the manifest.
    """
    if not contents.dicom or len(contents.images) > len(contents.dicom):
        return None
    key = pseudonym_key()
    found: list[tuple[Path, DicomSummary]] = []
    unread: list[Path] = []
    made: list[Path] = []
    for path in contents.dicom:
        summary = header_facts(contents.root / path, key)
        if summary is None:
            unread.append(path)
        elif summary.modality in _NO_IMAGES:
            made.append(path)
        else:
            found.append((path, summary))
    if not found:
        others = [*unread, *made]
        raise DataError(
            f"{contents.root}: none of its {len(others)} DICOM files is an image, such as {others[0]}. "
            "Give the folder that holds your images."
        )
    series: dict[tuple[Path, str], list[tuple[Path, DicomSummary]]] = defaultdict(list)
    in_folder: dict[Path, set[str]] = defaultdict(set)
    for path, summary in found:
        series[path.parent, summary.series].append((path, summary))
        in_folder[path.parent].add(summary.series)
    rows, volumes = [], 0
    for (folder, _), files in sorted(series.items(), key=lambda one: one[1][0][0]):  # no digest decides the order
        alone = len(in_folder[folder]) == 1 and len(files) > 1 and folder != Path()
        volumes += alone or files[0][1].frames > 1
        for path, summary in files[:1] if alone else files:
            rows.append((folder if alone else path, summary, len(folder.parts) - alone))
    return _layout(rows, volumes, [*_left_out(unread, made)], hints)


def _left_out(unread: Sequence[Path], made: Sequence[Path]) -> Iterator[str]:
    if unread:
        yield f"{len(unread)} files hold no image or cannot be read: left out, such as {unread[0].as_posix()}."
    if made:
        kinds = joined(_NO_IMAGES)
        yield f"{len(made)} files of modality {kinds} were made of images and are none: left out, such as {made[0]}."


def _layout(
    rows: list[tuple[Path, DicomSummary, int]], volumes: int, left_out: Sequence[str], hints: Hints
) -> FolderLayout:
    levels, splits = [], []
    for path, _, depth in rows:
        parts = path.parts[:depth]
        splits.append(next((word for part in parts if (word := split_word(part))), ""))
        levels.append(tuple(part for part in parts if not split_word(part)))
    above = folder_levels(levels)
    frame = pd.DataFrame(
        {
            "image": [path.as_posix() for path, *_ in rows],
            "label": above.labels,
            "patient": [summary.patient for _, summary, _ in rows],
            "split": splits,
            "modality": [hints.modality or summary.modality or "unknown" for _, summary, _ in rows],
            "institution": above.institutions,
        }
    )
    kinds = joined(distinct(frame["modality"].tolist()), 6)
    recognised = [f"{len(frame)} DICOM images ({volumes} of them volumes): {kinds}."]
    recognised.append(PSEUDONYMS)
    recognised += above.recognised
    guessed = [*above.guessed, *left_out]
    if 0 < volumes < len(frame):
        guessed.append("Some images are volumes and others single: each volume gives slices.")
    settings = {"slices": 8} if volumes else {}
    teaches = ("label", "image") if frame["label"].any() else ("image",)
    return FolderLayout("DICOM", with_content(frame), teaches, settings, tuple(recognised), tuple(guessed))
