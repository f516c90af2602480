"""Questions about images, as sets publish them: checked, and made into a table that keeps every image once.

Fields of such a table: ``image`` (shared by its questions), ``question`` and ``answer`` (texts, lower case, single
spaces), ``closed`` ``(rows,)`` bool (the answer is one of few that the question allows, such as yes and no). The label
of a row is the type of its question.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from omnifm.data.columns import Shared, Texts
from omnifm.data.limits import check_regular
from omnifm.data.source import Loading
from omnifm.data.source_images import SourceImages, prepared_images
from omnifm.data.subset import SourceTable
from omnifm.utils.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question as it was published. ``place`` is its position in the file, for messages.

    ``group`` is used as the modality of the image, ``split`` the published split, if there is one.
    """

    place: str
    image: Path
    text: str
    answer: str
    type: str
    closed: bool
    group: str
    split: str | None = None


def pool_of(questions: Sequence[Question], institution: str, loading: Loading, source: object) -> SourceTable:
    """Return questions as a table; every image is read once and counts as a patient.

    Raises:
        DataError: there is no question, or an image is missing or damaged.
    """
    if not questions:
        raise DataError(f"{institution}: no questions are left; look at the settings that choose among them.")
    paths = _numbered(questions)
    readers = {group: SourceImages(loading, group) for group in {question.group for question in questions}}
    groups = {question.image: question.group for question in reversed(questions)}
    of_images = [groups[path] for path in paths]
    mine = [readers[group] for group in of_images]
    image = prepared_images(loading, source, list(paths), mine, more=of_images).fields["image"]
    assert not isinstance(image, Texts | Shared)
    types = tuple(sorted({question.type for question in questions}))
    splits = [question.split for question in questions if question.split]
    return SourceTable(
        fields={
            "image": Shared(image, torch.tensor([paths[question.image] for question in questions])),
            "question": Texts.of([question.text for question in questions]),
            "answer": Texts.of([question.answer for question in questions]),
            "closed": torch.tensor([question.closed for question in questions]),
            "label": torch.tensor([types.index(question.type) for question in questions]),
        },
        label_names=types,
        patients=tuple(f"{institution}/{question.image.parent.name}/{question.image.name}" for question in questions),
        modalities=tuple(question.group for question in questions),
        institutions=(institution,) * len(questions),
        split=tuple(splits) if splits else None,
    )


def _numbered(questions: Sequence[Question]) -> dict[Path, int]:
    """Return the different images and their numbers, in order of first appearance.

    Raises:
        DataError: a question's image is missing.
    """
    for question in questions:
        if not question.image.is_file():
            raise DataError(
                f"{question.place}: its image {question.image} is missing. Put it there, or remove the entry."
            )
    return {path: number for number, path in enumerate(dict.fromkeys(question.image for question in questions))}


def read_utf8(path: Path, remedy: str, loading: Loading) -> str:
    """Return the text of a file, which is taken down as read.

    Raises:
        DataError: it is missing, or not UTF-8; names the first line that is not.
    """
    check_regular(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). {remedy}") from error
    loading.note(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}: line {line} is not UTF-8. Convert the file to UTF-8, or fetch it again.") from error


def read_entries(
    path: Path, keys: Sequence[str], remedy: str, loading: Loading
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the content of each entry of a JSON file that is a list of objects with these keys.

    Raises:
        DataError: the file is missing, not UTF-8, not JSON or not such a list.
    """
    try:
        entries = json.loads(read_utf8(path, remedy, loading))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not valid JSON ({error}). {remedy}") from error
    if not isinstance(entries, list):
        raise DataError(f"{path}: must be a list of questions, but is {_kind(entries)}. {remedy}")
    for number, entry in enumerate(entries, start=1):
        place = f"{path}, entry {number}"
        if not isinstance(entry, dict):
            raise DataError(f"{place}: must be an object with {', '.join(keys)}, but is {_kind(entry)}.")
        for key in keys:
            if key not in entry:
                raise DataError(f"{place}: has no {key!r}. Add it, or remove the entry.")
        yield place, entry


def as_text(value: object, what: str, place: str) -> str:
    """Return a text (or a number, as some sets publish) in lower case, with single spaces.

    Raises:
        DataError: it is empty, of another type, or holds an invalid character.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{place}: its {what} is {_kind(value)}, but must be a text. Correct or remove the entry.")
    text = " ".join(str(value).lower().split())
    if not text:
        raise DataError(f"{place}: its {what} is empty. Fill it in, or remove the entry.")
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise DataError(f"{place}: its {what} holds an invalid character ({text!r}). Correct or remove the entry.")
    return text


def is_closed(value: object, place: str) -> bool:
    """Return whether an answer type, as published, says CLOSED; spaces and case do not matter.

    Raises:
        DataError: it says neither CLOSED nor OPEN.
    """
    name = str(value).strip().upper()
    if name not in ("OPEN", "CLOSED"):
        raise DataError(f"{place}: its answer_type is {value!r}, but must be OPEN or CLOSED. Correct the entry.")
    return name == "CLOSED"


def _kind(value: object) -> str:
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "nothing" if value is None else names.get(type(value), "a number")
