from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.table import Table
from rich.text import Text

from omnifm.utils.terminal import SafeConsole, SafeFormatter, log_to

CLEAR = "\x1b[2J\x1b]0;title\x07"


def test_nothing_printed_controls_the_terminal_but_the_console_itself() -> None:
    table = Table("hospital")
    table.add_row(f"North{CLEAR}")
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, color_system="standard", width=80)
    for thing in (table, Text(CLEAR), f"[red]red[/]{CLEAR}"):
        console.print(thing)
    shown = file.getvalue()
    assert r"North\x1b[2J" in shown
    assert "\x1b[31mred" in shown  # its own colour
    assert "\x1b[2J" not in shown
    assert "\x1b]" not in shown
    assert "\x07" not in shown


def test_lines_stay_lines() -> None:
    file = io.StringIO()
    SafeConsole(file=file, width=80).print("one\ntwo")
    assert file.getvalue() == "one\ntwo\n"


def test_a_record_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as if nothing had been set up
    stream = io.StringIO()
    log_to(stream, "%(message)s")
    logging.getLogger("omnifm.test").warning("%s: refused", f"a\nERROR: all is lost{CLEAR}")
    assert stream.getvalue() == r"a\nERROR: all is lost\x1b[2J\x1b]0;title\x07: refused" + "\n"


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError(CLEAR)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    lines = SafeFormatter().format(record).splitlines()
    assert lines[0] == "failed"
    assert lines[-1] == r"ValueError: \x1b[2J\x1b]0;title\x07"
