"""What may be known of the patient and the series of a DICOM file: digests, and which fields would tell more."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import NamedTuple

from omnifm.data.reading.dicom import frames_of, quiet, read_header

IDENTIFYING = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientMotherBirthName",
    "ReferringPhysicianName",
)
"""The fields of a header that can tell who a patient is, by pydicom's names."""


class DicomSummary(NamedTuple):
    """What sorts DICOM files into patients and series, without telling who or which they are.

    ``patient`` and ``series`` are keyed digests, ``patient`` empty where the header names none; ``identifying`` are the
    fields of :data:`IDENTIFYING` that hold something, by name only.
    """

    modality: str
    patient: str
    series: str
    frames: int
    identifying: tuple[str, ...]


def summarise_dicom(path: Path, key: bytes) -> DicomSummary:
    """Return what sorts a file.

    Args:
        path: of a DICOM file.
        key: a secret of whoever asks: the numbers of patients are short, and without it could be tried one by one.

    Raises:
        DataError: it cannot be read, or holds no image.
    """
    header = read_header(path)
    with quiet(path):
        held = {name: str(header.get(name) or "").strip() for name in IDENTIFYING}
        patient = held["PatientID"] or held["PatientName"]
        return DicomSummary(
            modality=str(header.get("Modality") or ""),
            patient=_digest(patient, key) if patient else "",
            series=_digest(f"{header.get('SeriesInstanceUID')} {header.Rows} {header.Columns}", key),
            frames=frames_of(header),
            identifying=tuple(name for name, value in held.items() if value),
        )


def _digest(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:16]
