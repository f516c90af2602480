"""When a command ends early, its finished work is kept, and a message says how to resume."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from omnifm.cli.console import err, os_error_text
from omnifm.utils.errors import OmniFMError, OutOfTime
from omnifm.utils.signals import Interrupted, interruptible

OUT_OF_TIME = 75
"""The exit status when time is up: EX_TEMPFAIL of sysexits.h."""


@contextmanager
def stoppable(command: str, things: str, folder: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """When the block is asked to stop, say that the finished rounds (or cells) are kept, and exit."""
    try:
        with interruptible():
            yield
    except (Interrupted, OutOfTime) as end:
        stopped, status = ("Stopped", end.status) if isinstance(end, Interrupted) else (str(end), OUT_OF_TIME)
        again = f"omnifm {command} --resume {shlex.quote(str(folder))}"
        rest = f". The finished {things} are kept: resume with  {again}" if begun() else " before the first round."
        err.print(f"{stopped}{rest}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(status) from None


@contextmanager
def kept(things: str, folder: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """When the block fails, add to the error that the finished rounds (or cells) are kept."""
    try:
        yield
    except OmniFMError as error:
        if not begun():
            raise
        raise type(error)(f"{error}\nThe finished {things} are kept in {folder}.") from None
    except (MemoryError, RuntimeError, OSError) as error:
        from omnifm.workers.memory import is_shortage

        if is_shortage(error):
            text = "There is not enough memory. Lower training.batch_size, data.size or --workers."
        elif isinstance(error, OSError):
            text = os_error_text(error)
        else:
            raise
        raise OmniFMError(f"{text}\nThe finished {things} are kept in {folder}: correct this, then resume.") from None
