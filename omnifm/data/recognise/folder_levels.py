"""What the folders above images stand for: classes, patients, modalities or hospitals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from omnifm.data.recognise.path_words import is_patient, modality_word
from omnifm.data.subset import distinct
from omnifm.utils.words import joined

_HOSPITAL = re.compile(r"^(?:hospital|site|cent(?:er|re)|institution|clinic)[-_ ]?\w+$", re.IGNORECASE)
_MOST = 0.9
"""So many of the images must be in folders of a level for it to mean something."""


@dataclass(frozen=True)
class FolderLevels:
    """What each image's folders say of it, one entry an image, empty where they say nothing."""

    labels: tuple[str, ...]
    patients: tuple[str, ...]
    modalities: tuple[str, ...]
    institutions: tuple[str, ...]
    recognised: tuple[str, ...]
    guessed: tuple[str, ...]


def folder_levels(levels: Sequence[tuple[str, ...]]) -> FolderLevels:
    """Tell what the folders above images stand for, level by level from the top.

    Folders called like patients, modalities or hospitals are these. Of the others the outermost that divides the images
    are classes; if nearly each holds a single image, patients.
    """
    found: dict[str, tuple[str, ...]] = {}
    recognised, guessed, other = [], [], []
    for depth in range(max((len(one) for one in levels), default=0)):
        words = tuple(one[depth] if len(one) > depth else "" for one in levels)
        names = [name for name in distinct(words) if name]
        if len(names) < 2 or sum(map(bool, words)) < _MOST * len(words):
            continue
        kind = _kind(names, len(levels))
        shown = joined(names, 4)
        if kind == "classes" and "classes" in found:
            other.append(shown)
        elif kind in found:
            guessed.append(f"Folders at two levels could be {kind}; the outer ones were taken, and not {shown}.")
        else:
            found[kind] = words
            recognised.append(f"{len(names)} folders are {kind}: {shown}.")
    if other:
        guessed.append(
            f"Folders at several levels could be classes: {joined(distinct(found['classes']), 4)} were taken, and not "
            f"{'; '.join(other)}. If that is wrong, correct the column label."
        )
    nothing = ("",) * len(levels)
    modalities = tuple(modality_word(name) or name for name in found.get("modalities", nothing))
    return FolderLevels(
        labels=found.get("classes", nothing),
        patients=found.get("patients", nothing),
        modalities=modalities,
        institutions=found.get("hospitals", nothing),
        recognised=tuple(recognised),
        guessed=tuple(guessed),
    )


def _kind(names: Sequence[str], images: int) -> str:
    if all(modality_word(name) for name in names):
        return "modalities"
    if all(_HOSPITAL.match(name) for name in names):
        return "hospitals"
    if sum(map(is_patient, names)) > _MOST * len(names) or len(names) > max(2, images / 2):
        return "patients"
    return "classes"
