"""SLAKE 1.0: questions in English and Chinese about 642 images (Liu et al., ISBI 2021)."""

from __future__ import annotations

from typing import Literal

from omnifm.data.questions import Question, as_text, is_closed, pool_of, read_entries
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.utils.settings import settings

_KEYS = ("img_name", "question", "answer", "q_lang", "location", "modality", "answer_type", "content_type")
_REMEDY = "Put train.json, validate.json, test.json and imgs/ of SLAKE there."
_FILES = {"train": "train.json", "validation": "validate.json", "test": "test.json"}
_TYPES = {"color": "colour", "quantity": "count"}
_GROUPS = {"x-ray": "X-ray", "ct": "CT", "mri": "MRI"}


@settings
class SLAKESource:
    """``<root>/<folder>/{train,validate,test}.json`` and ``imgs/xmlabN/source.jpg``, split as published, by image.

    ``language`` chooses among the questions (``both`` for all); ``group`` what counts as the modality: ``modality``, or
    ``location``, the region of the body. The masks and the knowledge graph are not used.
    """

    kind: Literal["slake"] = "slake"
    folder: str = "Slake1.0"
    language: Literal["en", "zh", "both"] = "en"
    group: Literal["modality", "location"] = "modality"
    name: str = "slake"

    def load(self, loading: Loading) -> SourceTable:
        """Read the questions of the language."""
        folder = loading.root / self.folder
        questions = []
        for split, name in _FILES.items():
            for place, entry in read_entries(folder / name, _KEYS, _REMEDY, loading):
                if self.language not in ("both", as_text(entry["q_lang"], "q_lang", place)):
                    continue
                kind = as_text(entry["content_type"], "content_type", place)
                group = as_text(entry[self.group], self.group, place)
                questions.append(
                    Question(
                        place=place,
                        image=folder / "imgs" / as_text(entry["img_name"], "img_name", place),
                        text=as_text(entry["question"], "question", place),
                        answer=as_text(entry["answer"], "answer", place),
                        type=_TYPES.get(kind, kind),
                        closed=is_closed(entry["answer_type"], place),
                        group=_GROUPS.get(group, group.capitalize()),
                        split=split,
                    )
                )
        return pool_of(questions, self.name, loading, self)
