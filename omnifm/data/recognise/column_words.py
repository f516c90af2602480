"""What the columns of tables that people keep beside images are called."""

from __future__ import annotations

from collections.abc import Iterable

_WORDS = {
    "label": "label labels class classes diagnosis dx category target finding findings disease grade pathology type y "
    "diagnose befund",
    "patient": "patient patient_id patientid patient id pid subject subject_id subjectid case case_id person lesion_id",
    "split": "split set subset partition fold usage",
    "modality": "modality",
    "institution": "institution hospital site center centre clinic source_hospital klinik krankenhaus",
    "question": "question q",
    "answer": "answer a",
    "type": "question_type content_type q_type",
    "mask": "mask mask_path segmentation",
}
NAMED_ROLES = tuple(_WORDS)
"""What a column can say of an image, by the names of a manifest's columns."""


def column_called(names: Iterable[str], role: str) -> str:
    """Return the column that is called by a word for a role, or nothing; the words are tried in their order."""
    found = {name.strip().lower().replace(" ", "_"): name for name in names}
    return next((found[word] for word in _WORDS[role].split() if word in found), "")
