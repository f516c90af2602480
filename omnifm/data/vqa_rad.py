"""VQA-RAD: questions of clinicians about 315 radiological images (Lau et al., Scientific Data 5, 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from omnifm.data.questions import Question, as_text, is_closed, pool_of, read_entries
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.utils.settings import settings

_KEYS = ("image_name", "image_organ", "answer", "answer_type", "question_type", "question")
_REMEDY = "Put trainset.json, testset.json and images/ of VQA-RAD there."
_TYPES = {
    "abn": "abnormality",
    "attrib": "attribute",
    "atrib": "attribute",
    "color": "colour",
    "count": "count",
    "modality": "modality",
    "organ": "organ",
    "other": "other",
    "plane": "plane",
    "pos": "position",
    "pres": "presence",
    "prse": "presence",
    "size": "size",
}
_FILES = {"train": "trainset.json", "test": "testset.json"}


@settings
class VQARADSource:
    """``<root>/<folder>/{trainset,testset}.json`` and ``images/``.

    ``split = "image"`` assigns images to training, validation and test. ``"question"`` keeps the published split, whose
    test images all occur in training; every tenth training question is then for validation. ``group`` is what counts as
    the modality: ``modality`` (a key that copies of the set have added; the original lacks it) or ``organ``. A question
    of several types counts for the first.
    """

    kind: Literal["vqa_rad"] = "vqa_rad"
    folder: str = "vqa-rad"
    split: Literal["image", "question"] = "image"
    group: Literal["modality", "organ"] = "modality"
    name: str = "vqa-rad"

    def load(self, loading: Loading) -> SourceTable:
        """Read all questions."""
        folder = loading.root / self.folder
        keys = (*_KEYS, "modality") if self.group == "modality" else _KEYS
        questions = []
        for split, name in _FILES.items():
            for number, (place, entry) in enumerate(read_entries(folder / name, keys, _REMEDY, loading)):
                found = "validation" if split == "train" and number % 10 == 9 else split
                image = folder / "images" / as_text(entry["image_name"], "image_name", place)
                questions.append(self._question(place, entry, image, found if self.split == "question" else None))
        return pool_of(questions, self.name, loading, self)

    def _question(self, place: str, entry: dict[str, Any], image: Path, split: str | None) -> Question:
        kind = as_text(entry["question_type"], "question_type", place).partition(",")[0].strip()
        group = as_text(entry["modality" if self.group == "modality" else "image_organ"], self.group, place)
        return Question(
            place=place,
            image=image,
            text=as_text(entry["question"], "question", place),
            answer=as_text(entry["answer"], "answer", place),
            type=_TYPES.get(kind, kind),
            closed=is_closed(entry["answer_type"], place),
            group={"x-ray": "X-ray"}.get(group, group.upper()),
            split=split,
        )
