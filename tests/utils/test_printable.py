from __future__ import annotations

import pytest

from omnifm.utils.printable import printable


@pytest.mark.parametrize("text", ["", "plain [words]", "Žilina, 病院 3", "a\u00a0b", "🏥", "back\\slash"])
def test_what_can_be_printed_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b31m\x7f\0", r"\x9b31m\x7f\x00"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_controls_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_some_may_stay() -> None:
    assert printable("a\n\x1bb", keep="\n") == "a\n\\x1bb"
