"""Names that sources give by themselves: of institutions, which must differ, and of classes, which may be misspelt."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import PurePath

from omnifm.data.source import Source
from omnifm.utils.errors import DataError
from omnifm.utils.words import joined

_log = logging.getLogger("omnifm")


def check_names(sources: Sequence[Source]) -> None:
    """Check that no two sources of different folders are one institution only because their folders end alike.

    Their patients would be taken for the same. What has no ``folder`` and ``name`` is not looked at.

    Raises:
        DataError: two are; names their folders.
    """
    folders: dict[str, tuple[str, bool]] = {}
    for source in sources:
        folder, given = getattr(source, "folder", None), getattr(source, "name", None)
        if not isinstance(folder, str) or not isinstance(given, str):
            continue
        path = PurePath(folder)
        name = given or path.name
        other, named = folders.setdefault(name, (path.as_posix(), bool(given)))
        if other != path.as_posix() and not (named and given):
            raise DataError(
                f"Two sources, {other!r} and {path.as_posix()!r}, would both be the institution {name!r}, and their "
                "patients one. Give each a name of its own; or, if they are one institution, the same name."
            )


def warn_of_alike(classes: Sequence[str]) -> None:
    """Warn, in one line, of classes whose names differ only in case, blanks or underscores."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(" ".join(name.casefold().replace("_", " ").split()), []).append(name)
    groups = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if groups:
        _log.warning(
            "Classes with nearly the same name count as different: %s. If they are one, rename the folders or labels.",
            joined(groups, most=5),
        )
