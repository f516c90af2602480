"""All rules on all examples: what a check of data finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from omnifm.data.check.duplicate_rules import duplicate_images
from omnifm.data.check.examples import Examples
from omnifm.data.check.file_rules import FILE_RULES
from omnifm.data.check.finding import Finding, error
from omnifm.data.check.pixel_rules import PIXEL_RULES, ReadExample
from omnifm.data.check.row_rules import ROW_RULES
from omnifm.data.patient_rows import ClientSplit, Rows
from omnifm.data.subset import distinct
from omnifm.utils.errors import DataError

ReadingProgress = Callable[[range], Iterable[int]]
"""Lets a person see how far a loop over rows has come."""


def check_examples(
    examples: Examples, *, decode: bool = True, size: int = 0, progress: ReadingProgress = lambda rows: rows
) -> list[Finding]:
    """Return everything that is wrong, those of the listing first, then row by row.

    Args:
        examples: of all sources.
        decode: whether images are read too.
        size: the side of the images of the experiment, 0 where there is none.
        progress: of reading.
    """
    found = list(examples.problems)
    for rule in (*ROW_RULES, *FILE_RULES):
        found += rule(examples)
    if decode and examples.read is not None:
        contents = [""] * len(examples)
        missing = set(examples.files["row"][examples.files["path"].map(examples.sizes).isin([-1, -3, 0])])
        seen: dict[str, str] = {}
        keys = examples.files.groupby("row")["path"].agg("|".join)
        for row in progress(range(len(examples))):
            key = keys.get(row, "")
            if row in missing or not key or key in seen:
                contents[row] = seen.get(key, "")
                continue
            contents[row], problems = _read(examples, row, size)
            seen[key] = contents[row]
            found += problems
        examples = replace(examples, frame=examples.frame.assign(content=contents))
    found += duplicate_images(examples)
    return found


def _read(examples: Examples, row: int, size: int) -> tuple[str, list[Finding]]:
    """Return the digest of an example's content, and what is wrong with it."""
    assert examples.read is not None
    place = examples.place(row)
    try:
        example = ReadExample(place, examples.read(row), size)
    except DataError as problem:
        return "", [error(place, str(problem).removeprefix(f"{place}: "))]
    return example.content, [finding for rule in PIXEL_RULES for finding in rule(example)]


def dealable_rows(examples: Examples) -> Rows:
    """Return what a partition looks at."""
    frame = examples.frame
    patients = frame["patient"].where(frame["patient"] != "", frame["name"])
    classes = distinct(frame["label"].tolist())
    numbers = {name: number for number, name in enumerate(classes)}
    return Rows(
        patients=tuple(patients),
        modalities=tuple(frame["modality"]),
        institutions=tuple(frame["institution"]),
        splits=tuple(split or None for split in frame["split"]),
        classes=tuple(numbers[label] for label in frame["label"]),
    )


def dealt(examples: Examples, shares: Sequence[ClientSplit]) -> Examples:
    """Return examples with their client and their split there."""
    client, part = [""] * len(examples), [""] * len(examples)
    for share in shares:
        for split, rows in (("train", share.train), ("validation", share.validation), ("test", share.test)):
            for row in rows:
                client[row], part[row] = share.name, split
    return replace(examples, frame=examples.frame.assign(client=client, part=part))
