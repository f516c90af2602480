"""Questions and answers of a manifest as the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from omnifm.data.columns import Column, Texts
from omnifm.data.manifest.manifest_table import Manifest
from omnifm.data.questions import as_text

CLOSED_ANSWERS = ("yes", "no")
"""Answers that only a question which allows few has."""


def question_types(manifest: Manifest) -> list[str]:
    """Return the type of each question: as the table says, or else whether it is closed, its answer being yes or no."""
    closed = manifest.frame["answer"].str.lower().isin(CLOSED_ANSWERS).map({True: "closed", False: "open"})
    if "type" not in manifest.frame:
        return list(closed)
    return list(manifest.frame["type"].where(manifest.frame["type"] != "", closed))


def question_columns(manifest: Manifest, types: Sequence[str]) -> dict[str, Column]:
    """Return the fields ``question``, ``answer``, ``closed`` and ``label``, which is the type's place in ``types``.

    Raises:
        DataError: a text holds an invalid character.
    """
    frame = manifest.frame
    texts = {
        role: [as_text(cell, role, manifest.place(row)) for row, cell in frame[role].items()]
        for role in ("question", "answer")
    }
    return {
        "question": Texts.of(texts["question"]),
        "answer": Texts.of(texts["answer"]),
        "closed": torch.tensor([answer in CLOSED_ANSWERS for answer in texts["answer"]]),
        "label": torch.tensor([types.index(kind) for kind in question_types(manifest)]),
    }
