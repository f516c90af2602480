"""What is shown on a terminal, or in a log that is read on one: nothing that others wrote controls it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from omnifm.utils.printable import printable


class SafeConsole(Console):
    """A console that writes out the control characters in what it is given; its own colours and cursor stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render to segments, all of which can be printed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, keep="\n"))


class SafeFormatter(logging.Formatter):
    """Writes out the control characters of a record, which stays one line; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of the library
        """Return the line."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name of the library
        """Return the traceback."""
        return printable(super().formatException(ei), keep="\n")


def log_to(stream: Any, form: str = logging.BASIC_FORMAT) -> None:
    """Send warnings to a stream, unless logging is set up already; ``form`` is that of a line."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SafeFormatter(form))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
