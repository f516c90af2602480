"""What can be wrong with a table of examples, whatever is in the files: one small function for each rule.

A rule of your own is one more such function in :data:`ROW_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from omnifm.data.check.examples import Examples
from omnifm.data.check.finding import Finding, caution, error
from omnifm.data.check.person_names import names_in
from omnifm.utils.words import joined

RowRule = Callable[[Examples], Iterator[Finding]]
"""Looks at all examples and yields what it finds."""

SHOWN = 5
"""How many places one finding names that is about several."""


def lone_labels(examples: Examples) -> Iterator[Finding]:
    """A label of one image, or of one patient, cannot be in training and in test."""
    for label, rows in _by_label(examples).items():
        patients = examples.frame["patient"].iloc[rows]
        if len(rows) == 1:
            yield caution(
                examples.place(rows[0]),
                f"is the only example of {label!r}, which then cannot be both learned and tested. Add examples, or "
                "join it with another class.",
            )
        elif (patients != "").all() and patients.nunique() == 1:
            yield caution(
                examples.place(rows[0]),
                f"all {len(rows)} examples of {label!r} are of this one patient, so that it cannot be both learned and "
                "tested. Add patients, or join it with another class.",
            )


def untrained_labels(examples: Examples) -> Iterator[Finding]:
    """A label that training never shows is tested in vain."""
    if not (examples.parts == "train").any():
        return
    for label, rows in _by_label(examples).items():
        parts = examples.parts.iloc[rows]
        if (parts != "train").all() and (parts != "").all():
            yield caution(
                examples.place(rows[0]),
                f"{label!r} occurs in {len(rows)} examples, none of which is for training. Move some, or leave it out.",
            )


def spellings(examples: Examples) -> Iterator[Finding]:
    """Words that differ only in case or blanks are different classes, hospitals or modalities."""
    columns = {"modality": "modalities", "institution": "institutions"}
    found = {what: _rows_by(examples.frame[column]) for column, what in columns.items()}
    found["classes"] = _by_label(examples)
    for what, rows_by in found.items():
        alike: dict[str, list[str]] = {}
        for word in rows_by:
            alike.setdefault(" ".join(word.casefold().split()), []).append(word)
        for words in alike.values():
            if len(words) > 1:
                words.sort(key=lambda word: len(rows_by[word]))
                counts = joined(f"{word!r} ({len(rows_by[word])})" for word in words)
                yield caution(
                    examples.place(rows_by[words[0]][0]),
                    f"{counts} differ only in case or blanks, and count as {len(words)} {what}. Spell them alike.",
                )


def patients_in_several_splits(examples: Examples) -> Iterator[Finding]:
    """A patient in training and test makes the test easier than a new patient would be."""
    yield from _torn(examples, examples.parts, "so that the test is easier than a new patient would be", error)


def patients_in_several_hospitals(examples: Examples) -> Iterator[Finding]:
    """A patient whom two hospitals hold is one who cannot be assigned to either."""
    why = "and a federation takes hospitals to have different patients"
    yield from _torn(examples, examples.frame["institution"], why, error)


def patients_unknown(examples: Examples) -> Iterator[Finding]:
    """Without patients, images of one may come into training and test."""
    frame = examples.frame
    for folder, rows in frame.groupby(frame["place"].str.rpartition(", row ")[0]).indices.items():
        unknown = int((frame["patient"].iloc[rows] == "").sum())
        if folder and unknown:
            yield caution(
                folder,
                f"{unknown} of {len(rows)} rows do not say whose image it is: each counts as a patient of its own, and "
                "if a patient has several, they can be in training and in test, which flatters the results. Add a "
                "column patient.",
            )


def names_of_people(examples: Examples) -> Iterator[Finding]:
    """The name of a patient has no place in the name of a file, or in a table."""
    frame = examples.frame
    known = {
        *examples.label_names,
        *frame["label"].unique(),
        *frame["modality"].unique(),
        *frame["institution"].unique(),
    }
    for column, what in (("name", "the file's path"), ("patient", "the patient")):
        for row, found in enumerate(names_in(frame[column], known)):
            if found:
                yield caution(
                    examples.place(row) if ", row " in examples.place(row) else _hidden(examples, row),
                    f"{what} looks as if it held a person's name. Rename it to a number; it is never written into a "
                    "run, but messages name files.",
                )


ROW_RULES: list[RowRule] = [
    lone_labels,
    untrained_labels,
    spellings,
    patients_in_several_splits,
    patients_in_several_hospitals,
    patients_unknown,
    names_of_people,
]
"""What is looked for in the rows, in this order."""


def _by_label(examples: Examples) -> dict[str, list[int]]:
    """Return the rows of each label; of questions there are none."""
    if examples.learned != "label":
        return {}
    labels = examples.frame["label"]
    return _rows_by(labels.str.split("|").explode() if labels.str.contains("|", regex=False).any() else labels)


def _rows_by(words: pd.Series[str]) -> dict[str, list[int]]:
    """Return the rows of each word, of a column whose index are the numbers of the rows."""
    return {str(word): list(rows) for word, rows in words.groupby(words, sort=False).groups.items() if word}


def _torn(
    examples: Examples, column: pd.Series[str], why: str, severity: Callable[[object, str], Finding]
) -> Iterator[Finding]:
    frame = pd.DataFrame({"patient": examples.frame["patient"], "where": column})
    frame = frame[(frame["patient"] != "") & (frame["where"] != "")]
    places = frame.drop_duplicates()
    for _, mine in places[places.duplicated("patient", keep=False)].groupby("patient", sort=False):
        first, *others = mine.index
        there = joined((f"{mine['where'][row]} ({examples.place(row)})" for row in others), SHOWN)
        yield severity(
            examples.place(first),
            f"its patient is in {mine['where'][first]} here, and also in {there}, {why}. Keep one patient in one.",
        )


def _hidden(examples: Examples, row: int) -> str:
    """Return where a row is without naming its file."""
    folder = examples.folders[0] if examples.folders else "The data"
    return f"{folder}, image {row + 1} in the order of names"
