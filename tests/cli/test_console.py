"""What is shown while a command is at work."""

from __future__ import annotations

import io

import pytest

from omnifm.cli import console
from omnifm.utils.terminal import SafeConsole


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_what_is_being_done(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", SafeConsole(file=screen, force_terminal=terminal, width=80, color_system=None))
    with console.working("Loading [the] model") as tell:
        tell("Predicting 1 of 2: [a].png")
    shown = screen.getvalue()
    assert ("Predicting 1 of 2: [a].png" in shown) == terminal
    assert bool(shown) == terminal
