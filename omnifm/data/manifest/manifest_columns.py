"""The columns of a manifest: what each is called in the table, and where the table calls it otherwise."""

from __future__ import annotations

from typing import Any

import pandas as pd

from omnifm.utils.errors import DataError, did_you_mean
from omnifm.utils.settings import Distinct, settings

SYNONYMS = {
    "image": ("images", "path", "file", "filename"),
    "label": ("labels", "class"),
    "mask": ("masks",),
    "pair": ("target",),
    "patient": ("patient_id",),
    "institution": ("hospital", "site"),
}
"""What else a column may be called without being mapped; the word itself comes first."""


@settings
class ManifestColumns:
    """What the columns of a table are called; empty, a column is called by its own word, if the table has it.

    Attributes:
        image: the path of the image, seen from the table's folder. Several paths, separated by ``;`` or ``|``, are the
            channels of one image.
        label: its label, or several, separated by ``;`` or ``|``. A list names columns of 0 and 1, one for each label.
        mask: the path of its mask; several, separated likewise, are united. A list names columns of paths, one for
            each region.
        question: a question about the image.
        answer: the answer to it.
        type: the type of the question.
        pair: the path of a second image, to be fused with the first.
        patient: whose image it is.
        split: train, validation or test.
        modality: the modality of the image.
        institution: where the image comes from.
    """

    image: str = ""
    label: str | Distinct[str] = ""
    mask: str | Distinct[str] = ""
    question: str = ""
    answer: str = ""
    type: str = ""
    pair: str = ""
    patient: str = ""
    split: str = ""
    modality: str = ""
    institution: str = ""


ROLES = tuple(ManifestColumns.__dataclass_fields__)
"""The words by which the columns are known."""


def renamed(table: pd.DataFrame, columns: ManifestColumns, place: object) -> pd.DataFrame:
    """Return the columns that have a role, called by it: ``image``, ``label`` and so on.

    Of a role that is mapped to a list of columns, each is called ``role:column``.

    Raises:
        DataError: a column that is named is not there, or two are called alike.
    """
    by_name: dict[str, list[Any]] = {}
    for name in table.columns:
        by_name.setdefault(_folded(name), []).append(name)
    chosen: dict[str, Any] = {}
    for role in ROLES:
        wanted = getattr(columns, role)
        if isinstance(wanted, tuple):
            chosen |= {f"{role}:{name}": _found(name, by_name, table, f"columns.{role}", place) for name in wanted}
        elif wanted:
            chosen[role] = _found(wanted, by_name, table, f"columns.{role}", place)
        else:
            words = [word for word in (role, *SYNONYMS.get(role, ())) if word in by_name]
            if words:
                chosen[role] = _found(words[0], by_name, table, f"columns.{role}", place)
    return pd.DataFrame({role: table[name] for role, name in chosen.items()}, index=table.index)


def _found(wanted: str, by_name: dict[str, list[Any]], table: pd.DataFrame, key: str, place: object) -> Any:
    if wanted in table.columns:
        return wanted
    names = by_name.get(_folded(wanted), [])
    if not names:
        raise DataError(f"{place}: has no column {wanted!r} ({key}). {did_you_mean(wanted, map(str, table.columns))}")
    if len(names) > 1:
        raise DataError(f"{place}: has {len(names)} columns called {wanted!r}. Rename all but one, or set {key}.")
    return names[0]


def _folded(name: object) -> str:
    return str(name).strip().casefold()
