"""The errors that a user can cause, each with the thing, the place and the remedy in one message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OutOfTime(Exception):  # noqa: N818 - what was asked for, and no error
    """A run pauses between two rounds, to be resumed: its time is up, or a callback asks for it. It says why."""


class RoundRefused(Exception):  # noqa: N818 - what was decided, and no error
    """A round does not count: the federation goes on from the last state. It says why."""


class OmniFMError(Exception):
    """Base class of errors that users can fix: the command prints them without a traceback."""


class ExperimentError(OmniFMError):
    """The experiment file, or a ``--set``, asks for something that does not exist or does not fit."""


class FolderInUseError(ExperimentError):
    """Another process is working in the folder; names it."""


class IncompatibleError(ExperimentError):
    """An algorithm cannot serve this task or these settings; says why."""


class DataError(OmniFMError):
    """A file, an image, a label or a partition of the data is not usable."""


class CheckpointError(OmniFMError):
    """A checkpoint cannot be written or read."""


class DeploymentError(OmniFMError):
    """A setting or file of a deployment is not valid; names the file, the key or the machine."""


class NonFiniteLossError(OmniFMError):
    """A client's loss became NaN or infinite."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the nearest known name, whatever its case, or lists them all."""
    names = {name.lower(): name for name in sorted(known)}
    near = difflib.get_close_matches(given.lower(), names, n=1)
    return f"Did you mean {names[near[0]]!r}?" if near else f"Known: {', '.join(names.values())}."


def first_line(error: BaseException) -> str:
    """Return what an error of a library is and says, in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
