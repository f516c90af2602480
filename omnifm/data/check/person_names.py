"""Whether a text looks as if it held the name of a person; a check says in which row, and never the name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

_CAPITALISED = r"[^\W\d_a-z][^\W\d_A-Z]+(?:-[^\W\d_a-z][^\W\d_A-Z]+)?"
_TWO_WORDS = re.compile(rf"(?:^|[/_\W\d])({_CAPITALISED})(?:, ?| |_|-|\.)({_CAPITALISED})(?=$|[/_\W\d])")
_DICOM = re.compile(r"([^\W\d_]{2,})\^([^\W\d_]{2,})")

_ORDINARY_WORDS = """
    abdomen abnormal acute adult ankle anon anonym anonymised anonymized anonymous anterior arm atlas axial
    baseline benign biopsy bladder blood body bone brain breast cancer cardiac case cell cells centre cervical
    chest child chronic clinic clinical colon contrast control coronal data dataset day dense disease dog elbow
    enhanced eye face female femur first flair follow foot fracture frontal fundus group hand head healthy heart
    hip hospital image images infection knee label labels large late lateral left lesion lesions liver lobe low
    lower lung lungs lymph male malignant mask masks mass melanoma metastasis mild mr mri neck negative neuro no
    nodule none normal old original output part patient patients pelvis pet phantom phase pneumonia positive post
    posterior pre prostate rectum region report retina right sagittal sample scan scans segmentation sequence
    series severe shoulder side site skin skull slice slices small spine spleen stage standard stomach study
    subject surgery test thorax thyroid tissue train training tumor tumour type ultrasound unknown unnamed up
    upper uterus valid validation vertebra view visit volume week with without wrist xray year young
"""
ORDINARY = frozenset(re.findall(r"\w+", _ORDINARY_WORDS))
"""Words that often begin with a capital letter in names of files, and are no names of people."""


def names_in(texts: Iterable[str], known: Collection[str] = ()) -> list[bool]:
    """Return of each text whether it looks as if it held a first and a last name.

    Two neighbouring words that begin with capital letters do, or two joined by ``^`` as in DICOM, unless one of them is
    ordinary, is ``known`` (labels, modalities), or stands in more than half of the texts: a name does not.
    """
    pairs = [_pairs(text) for text in texts]
    counts = Counter(word for found in pairs for word in {word for pair in found for word in pair})
    common = {word for word, count in counts.items() if count > max(3, len(pairs) / 2)}
    harmless = ORDINARY | common | {word for text in known for word in re.findall(r"[^\W\d_]+", text.lower())}
    return [any(not harmless & set(pair) for pair in found) for found in pairs]


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(one.lower(), other.lower()) for one, other in (*_TWO_WORDS.findall(text), *_DICOM.findall(text))]
