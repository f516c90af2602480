"""What an experiment can name: tasks, algorithms, data sets and networks, each with a line about it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from omnifm.algorithms import registry as algorithms
from omnifm.data.sources import SOURCES
from omnifm.tasks.registry import TASKS
from omnifm.utils.registration import load_plugins


class CatalogueEntry(NamedTuple):
    """A name, what it is, and in what it is used: sources of a task, tasks of a source or a network."""

    name: str
    about: str
    used: tuple[str, ...] = ()


def _tasks() -> list[CatalogueEntry]:
    return [CatalogueEntry(name, first_sentence(task.make), _sources(task.make)) for name, task in TASKS.items()]


def _algorithms() -> list[CatalogueEntry]:
    return [CatalogueEntry(name, first_sentence(kind)) for name, kind in algorithms.ALGORITHM_SETTINGS.items()]


def _data() -> list[CatalogueEntry]:
    serves = {name: _sources(task.make) for name, task in TASKS.items()}
    return [
        CatalogueEntry(name, first_sentence(kind), tuple(task for task, sources in serves.items() if name in sources))
        for name, kind in SOURCES.items()
    ]


def _networks() -> list[CatalogueEntry]:
    return [
        CatalogueEntry(name, first_sentence(kind), (task,))
        for task, registered in TASKS.items()
        for name, kind in getattr(registered.make, "networks", {}).items()
    ]


CATALOGUES: dict[str, Callable[[], list[CatalogueEntry]]] = {
    "tasks": _tasks,
    "algorithms": _algorithms,
    "data": _data,
    "networks": _networks,
}
"""What can be listed, each by its name; those of installed packages are among them."""


def entries(what: str) -> list[CatalogueEntry]:
    """Return what is known of a kind.

    Raises:
        ExperimentError: a package that adds to it cannot be loaded.
    """
    load_plugins()
    return CATALOGUES[what]()


def first_sentence(kind: Any) -> str:
    """Return the first sentence about a class: of the package's own that of its file, which has no other idea."""
    own = str(kind.__module__).startswith("omnifm.")
    text = (own and sys.modules[kind.__module__].__doc__) or inspect.getdoc(kind) or ""
    paragraph = re.sub(r":\w+:`~?([^`]+)`|`{1,2}([^`]*)`{1,2}", r"\1\2", text.strip().partition("\n\n")[0])
    line = " ".join(paragraph.split())
    return re.split(r"(?<=[^.][a-z0-9)\]]\.)\s", line)[0]


def _sources(task: Any) -> tuple[str, ...]:
    return tuple(getattr(task, "sources", ()))
