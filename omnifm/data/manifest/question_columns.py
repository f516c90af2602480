"""Questions and answers of a manifest as the columns of a table."""

from __future__ import annotations

import torch

from omnifm.data.columns import Column, Texts
from omnifm.data.manifest.manifest_table import Manifest
from omnifm.data.questions import as_text
from omnifm.data.subset import distinct

CLOSED = ("yes", "no")
"""Answers that only a question which allows few has."""


def question_columns(manifest: Manifest) -> tuple[dict[str, Column], tuple[str, ...]]:
    """Return the fields ``question``, ``answer``, ``closed`` and ``label`` (the type), and the names of the types.

    A question is closed if its answer is yes or no. Without a column of types, that is its type.

    Raises:
        DataError: a text holds an invalid character.
    """
    frame = manifest.frame
    texts = {
        role: [as_text(cell, role, manifest.place(row)) for row, cell in frame[role].items()]
        for role in ("question", "answer")
    }
    closed = [answer in CLOSED for answer in texts["answer"]]
    types = frame["type"].tolist() if "type" in frame else [""] * len(frame)
    types = [kind or ("closed" if shut else "open") for kind, shut in zip(types, closed, strict=True)]
    names = tuple(sorted(distinct(types)))
    return {
        "question": Texts.of(texts["question"]),
        "answer": Texts.of(texts["answer"]),
        "closed": torch.tensor(closed),
        "label": torch.tensor([names.index(kind) for kind in types]),
    }, names
