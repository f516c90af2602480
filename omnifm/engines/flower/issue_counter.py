"""The numbers of a run's requests, by which a hospital tells a replayed one from the newest."""

from __future__ import annotations

import time
from pathlib import Path

from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import DeploymentError

FILE = "issued"
_BLOCK = 1000


class IssueCounter:
    """A counter that the run's folder keeps. It writes down a block of numbers ahead, not each.

    A run without the file starts at the time: version 0.1 numbered its requests so, and a resumed run must go on above.

    Raises:
        DeploymentError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        try:
            self._last = int(self._path.read_text()) if self._path.exists() else time.time_ns()
        except ValueError:
            raise DeploymentError(
                f"{self._path} is damaged: it should hold a number above those of all requests of this run. Write the "
                "time in nanoseconds since 1970 into it."
            ) from None
        self._ahead = self._last

    def next(self) -> int:
        """Return a number above all before it.

        Raises:
            OSError: the folder cannot be written.
        """
        self._last += 1
        if self._last > self._ahead:
            self._ahead = self._last + _BLOCK
            write_atomically(self._path, str(self._ahead).encode())
        return self._last
