"""The same image twice: in training and test, at two hospitals, or under two labels."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from omnifm.data.check.examples import Examples
from omnifm.data.check.finding import Finding, caution, error


def duplicate_images(examples: Examples) -> Iterator[Finding]:
    """Yield the images of one content, whatever they are called.

    By ``content``, a column of ``examples.frame``, where the images are decoded; else by the bytes of their files. Of
    questions about one image only those in different splits are told.
    """
    frame = _identified(examples)
    frame = frame[(frame["content"] != "") & frame["content"].duplicated(keep=False)]
    for _, mine in frame.groupby("content", sort=False):
        first = mine.iloc[0]
        for row in mine.itertuples():
            if row.Index == mine.index[0] or (examples.learned == "answer" and row.part == first["part"]):
                continue
            same = f"is the same image as that of {examples.place(first['row'])}"
            if row.part != first["part"]:
                yield error(
                    examples.place(row.row),
                    f"{same}, which is for {_purpose(first['part'])}, and this for {_purpose(row.part)}: scores would "
                    "be of what was learned. Remove one of them.",
                )
            elif row.label != first["label"]:
                yield error(
                    examples.place(row.row),
                    f"{same}, but labelled {row.label!r} here and {first['label']!r} there. Correct or remove one.",
                )
            elif row.client != first["client"]:
                yield caution(
                    examples.place(row.row),
                    f"{same}, at another hospital ({first['client']}, here {row.client}). Remove one of them.",
                )
            else:
                yield caution(examples.place(row.row), f"{same}, so that it counts twice. Remove one of them.")


def _purpose(part: object) -> str:
    return {"train": "training", "": "no split"}.get(str(part), str(part))


def _identified(examples: Examples) -> pd.DataFrame:
    """Return a row for each different image of a split: ``row``, ``content``, ``label``, ``part`` and ``client``."""
    frame = examples.frame
    images = examples.of("image").groupby("row")["path"].agg("|".join).to_dict() if len(examples.files) else {}
    path = frame.index.to_series().map(lambda row: images.get(row, ""))
    if "content" in frame:
        content = frame["content"]
    else:
        content = path.map(lambda joined: "|".join(examples.digests.get(one, one) for one in joined.split("|")))
    found = pd.DataFrame(
        {
            "row": frame.index,
            "content": content,
            "path": path,
            "label": frame["label"],
            "part": examples.parts,
            "client": frame["client"] if "client" in frame else frame["institution"],
        }
    )
    return found.drop_duplicates(["path", "part"]) if examples.learned == "answer" else found
