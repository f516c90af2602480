"""VQA-Med, the ImageCLEF contests of 2019, 2020 and 2021 (Ben Abacha et al., CLEF Working Notes of those years)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from omnifm.data.questions import Question, as_text, pool_of, read_utf8
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.utils.errors import DataError
from omnifm.utils.settings import settings

_REMEDY = "Put the unpacked archives of VQA-Med there (docs/data.md names them)."


class _Part(NamedTuple):
    """A file of questions with the split, the type, and the folder of its images, all below the source's folder.

    ``columns`` are those of a line, parted by bars; ``answers`` is the file of the answers, if separate.
    """

    split: str
    type: str
    file: str
    images: str
    columns: tuple[str, ...] = ("image", "question", "answer")
    answers: str = ""


def _categories(split: str, folder: str, short: str, images: str) -> tuple[_Part, ...]:
    files = {"modality": "C1_Modality", "plane": "C2_Plane", "organ": "C3_Organ", "abnormality": "C4_Abnormality"}
    return tuple(
        _Part(split, kind, f"{folder}/QAPairsByCategory/{file}_{short}.txt", f"{folder}/{images}")
        for kind, file in files.items()
    )


_ASKED = ("image", "question")
_TRAINVAL = "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets"
_TEST20, _TEST21 = "VQA-TestSet-ReferenceAnswers-VQAMed2020-Task1", "Task1-VQA-2021-TestSet-w-GroundTruth"
_NEW = "VQA-Med-2021-Tasks-1-2-NewValidationSets"
_TRAIN20 = _Part(
    "train",
    "abnormality",
    f"{_TRAINVAL}/VQAMed2020-VQAnswering-TrainingSet/VQAnswering_2020_Train_QA_pairs.txt",
    f"{_TRAINVAL}/VQAMed2020-VQAnswering-TrainingSet/VQAnswering_2020_Train_images",
)
_VAL20 = _Part(
    "validation",
    "abnormality",
    f"{_TRAINVAL}/VQAMed2020-VQAnswering-ValidationSet/VQAnswering_2020_Val_QA_Pairs.txt",
    f"{_TRAINVAL}/VQAMed2020-VQAnswering-ValidationSet/VQAnswering_2020_Val_images",
)
_YEARS: dict[int, tuple[_Part, ...]] = {
    2019: (
        *_categories("train", "ImageClef-2019-VQA-Med-Training", "train", "Train_images"),
        *_categories("validation", "ImageClef-2019-VQA-Med-Validation", "val", "Val_images"),
        _Part(
            "test",
            "",
            "VQAMed2019Test/VQAMed2019_Test_Questions_w_Ref_Answers.txt",
            "VQAMed2019Test/VQAMed2019_Test_Images",
            ("image", "type", "question", "answer"),
        ),
    ),
    2020: (
        _TRAIN20,
        _VAL20,
        _Part(
            "test",
            "abnormality",
            f"{_TEST20}/VQAMed2020-Task1-VQAnswering-Test-Questions.txt",
            f"{_TEST20}/Task1-2020-VQAnswering-Test-Images",
            _ASKED,
            f"{_TEST20}/VQAMed2020-Task1-VQAnswering-Test-ReferenceAnswers.txt",
        ),
    ),
    2021: (
        _TRAIN20,
        _VAL20._replace(split="train"),
        _Part(
            "validation",
            "abnormality",
            f"{_NEW}/VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt",
            f"{_NEW}/ImageCLEF-2021-VQA-Med-New-Validation-Images",
        ),
        _Part(
            "test",
            "abnormality",
            f"{_TEST21}/Task1-VQA-2021-TestSet-Questions.txt",
            f"{_TEST21}/VQA-500-Images",
            _ASKED,
            f"{_TEST21}/Task1-VQA-2021-TestSet-ReferenceAnswers.txt",
        ),
    ),
}


@settings
class VQAMedSource:
    """The unpacked archives of one year below ``<root>/<folder>``, split as published, by image.

    Answers "yes" and "no" count as closed, all others as open; where several answers are published, the first counts.
    2019 has four types of question; those of the later years all ask for abnormalities. 2021 trains on the training
    and validation sets of 2020, as its contest did. ``year`` is that of the contest. The set names no modality:
    ``modality`` is that of all images.
    """

    year: Literal[2019, 2020, 2021]
    kind: Literal["vqa_med"] = "vqa_med"
    folder: str = "vqa-med"
    modality: str = "radiology"
    name: str = ""

    def load(self, loading: Loading) -> SourceTable:
        """Read all questions of the year."""
        questions = [question for part in _YEARS[self.year] for question in self._questions(loading, part)]
        return pool_of(questions, self.name or f"vqa-med-{self.year}", loading, self)

    def _questions(self, loading: Loading, part: _Part) -> Iterator[Question]:
        folder = loading.root / self.folder
        reference = _answers(folder / part.answers, loading) if part.answers else {}
        for place, values in _lines(folder / part.file, part.columns, loading):
            image = values["image"].strip()
            if part.answers and image not in reference:
                raise DataError(f"{place}: {image} has no answer in {folder / part.answers}. Add or remove the line.")
            answer = as_text(reference.get(image, values.get("answer", "")), "answer", place)
            yield Question(
                place=place,
                image=folder / part.images / f"{image}.jpg",
                text=as_text(values["question"], "question", place),
                answer=answer,
                type=as_text(values.get("type", part.type), "type", place),
                closed=answer in ("yes", "no"),
                group=self.modality,
                split=part.split,
            )


def _lines(path: Path, columns: tuple[str, ...], loading: Loading) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place and the values of each line that is not empty; the last may hold alternatives, parted by # or |.

    Raises:
        DataError: the file is missing or not UTF-8, or a line has too few values.
    """
    for number, line in enumerate(read_utf8(path, _REMEDY, loading).splitlines(), start=1):
        if not line.strip():
            continue
        place, values = f"{path}, line {number}", line.split("|")
        if len(values) < len(columns):
            raise DataError(f"{place}: must be {'|'.join(columns)}, but is {line!r}. Correct or remove the line.")
        named = dict(zip(columns, values, strict=False))
        if "answer" in named:
            named["answer"] = named["answer"].partition("#")[0]
        yield place, named


def _answers(path: Path, loading: Loading) -> dict[str, str]:
    return {values["image"].strip(): values["answer"] for _, values in _lines(path, ("image", "answer"), loading)}
