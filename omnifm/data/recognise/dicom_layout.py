"""DICOM: files are gathered into series, and each series is an image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
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
    for path in contents.dicom:
        try:
            found.append((path, summarise_dicom(contents.root / path, key)))
        except DataError:
            unread.append(path)
    if not found:
        raise DataError(f"{contents.root}: none of its {len(unread)} DICOM files holds an image, such as {unread[0]}.")
    series: dict[tuple[Path, str], list[tuple[Path, DicomSummary]]] = defaultdict(list)
    in_folder: dict[Path, set[str]] = defaultdict(set)
    for path, summary in found:
        series[path.parent, summary.series].append((path, summary))
        in_folder[path.parent].add(summary.series)
    rows, volumes = [], 0
    for (folder, _), files in sorted(series.items()):
        alone = len(in_folder[folder]) == 1 and len(files) > 1 and folder != Path()
        volumes += alone or files[0][1].frames > 1
        for path, summary in files[:1] if alone else files:
            rows.append((folder if alone else path, summary, len(folder.parts) - alone))
    return _layout(rows, volumes, unread, hints)


def _layout(
    rows: list[tuple[Path, DicomSummary, int]], volumes: int, unread: Sequence[Path], hints: Hints
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
    recognised.append("Patients are digests of what the headers say: no name or number of a patient is written.")
    recognised += above.recognised
    guessed = list(above.guessed)
    if unread:
        guessed.append(
            f"{len(unread)} files hold no image or cannot be read: left out, such as {unread[0].as_posix()}."
        )
    if 0 < volumes < len(frame):
        guessed.append("Some images are volumes and others single: each volume gives slices.")
    settings = {"slices": 8} if volumes else {}
    teaches = ("label", "image") if frame["label"].any() else ("image",)
    return FolderLayout("DICOM", with_content(frame), teaches, settings, tuple(recognised), tuple(guessed))
