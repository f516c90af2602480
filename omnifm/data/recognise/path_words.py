"""What words in paths say: of splits, of masks, of modalities and of patients."""

from __future__ import annotations

import re
from pathlib import Path

from omnifm.data.published_split import SPLIT_FOLDERS

_MASK_FOLDERS = re.compile(r"masks?|annotations?|gt|groundtruth|truth|segmentations?|segs?|labelmaps?")
_IMAGE_FOLDERS = re.compile(r"images?|imgs?|scans?|originals?|inputs?")

_MASK = r"(?:mask|seg|segm|segmentation|gt|groundtruth|ground_truth|label|labelmap|annotation|manual\d?|1stho|2ndho)"
MASK_ENDING = re.compile(rf"^(?P<of>.+?)[ ._-]+{_MASK}(?:[ ._-]?\d+|[ ._-]?\(\d+\))?$", re.IGNORECASE)
"""The stem of a mask that lies beside its image: ``x_mask``, ``x_mask_1``, ``x-seg``; ``of`` is the image's."""

MODALITY_WORDS = {
    "CT": "ct|cta|computedtomography",
    "MRI": "mri|mr|magneticresonance",
    "T1": "t1|t1w|t1n",
    "T1ce": "t1ce|t1c|t1gd",
    "T2": "t2|t2w",
    "FLAIR": "flair|t2f",
    "PET": "pet|pt",
    "SPECT": "spect",
    "ultrasound": "ultrasound|us|busi|sonography|echo",
    "X-ray": "xray|x-ray|cxr|dx|cr|radiograph|radiographs|chestxray|chest_xray",
    "mammography": "mammography|mammogram|mammo|mg",
    "fundus": "fundus|retina|retinal",
    "OCT": "oct",
    "histology": "histology|histopathology|wsi|pathology",
    "dermoscopy": "dermoscopy|dermatoscopy|isic|ham10000",
    "endoscopy": "endoscopy|colonoscopy",
    "microscopy": "microscopy|bloodcells|blood_cells",
}
"""Words by which the modality of a folder's images may be known."""

_PATIENT = re.compile(r"^(?:p|pt|pat|patient|sub|subj|subject|case|person|id|anon)[-_ ]?\d+$", re.IGNORECASE)
_PATIENT_PART = re.compile(
    r"(?:^|[_-])((?:pat|patient|sub|subj|subject|case|person)[-_ ]?\d+)(?=[_.-]|$)", re.IGNORECASE
)


def split_word(part: str) -> str:
    """Return the split that a folder of images or masks is called by, as ``val`` or ``train_images``, or nothing."""
    words = _words(part)
    known = {SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS}
    plain = set(words) <= {*SPLIT_FOLDERS, "set", "data"}
    return known.pop() if len(known) == 1 and (plain or of_masks(part) or of_images(part)) else ""


def of_masks(part: str) -> bool:
    """Return whether a folder is called as those of masks are: ``masks``, ``ISIC2018_Training_GroundTruth``."""
    return any(map(_MASK_FOLDERS.fullmatch, _words(part)))


def of_images(part: str) -> bool:
    """Return whether a folder is called as those of images are, where masks or tables lie beside them."""
    return any(map(_IMAGE_FOLDERS.fullmatch, _words(part)))


def _words(part: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", part.lower()) if word]


def modality_word(part: str) -> str:
    """Return the modality that a folder is called by, or nothing."""
    word = part.lower().replace(" ", "")
    return next((name for name, known in MODALITY_WORDS.items() if word in known.split("|")), "")


def modality_in(text: str) -> str:
    """Return a modality of which a word stands in a text, or nothing; short words count only by themselves."""
    words = re.split(r"[^a-z0-9]+", text.lower())
    return next((name for name, known in MODALITY_WORDS.items() if set(known.split("|")) & set(words)), "")


def is_patient(part: str) -> bool:
    """Return whether a folder is called like a patient: ``patient12``, ``sub-03``, or a number of four digits up."""
    return bool(_PATIENT.match(part)) or (part.isdigit() and len(part) >= 4)


def patient_part(path: Path, stem: str) -> str:
    """Return the part of a path that names a patient by a word for it, such as ``pat012``, or nothing."""
    for part in path.parts[:-1]:
        if _PATIENT.match(part):
            return part
    found = _PATIENT_PART.search(stem)
    return found[1] if found else ""
