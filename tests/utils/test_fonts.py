"""Letters for which there is a font are drawn, and of others one warning tells, not one a letter."""

from __future__ import annotations

import io
import logging
import warnings

import pytest
from matplotlib.figure import Figure

from omnifm.utils.fonts import all_scripts


def draw(text: str) -> None:
    figure = Figure(figsize=(2, 1))
    figure.text(0.1, 0.5, text)
    figure.savefig(io.BytesIO(), format="png")


def test_letters_without_a_font_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), all_scripts():
        draw("\U0001f9ff clinic \U0001f9ff")  # no font that pictures are drawn with has this sign
        draw("\U0001f9ff")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "omnifm"]
    assert line.startswith("No font on this machine has the letters \U0001f9ff: the picture shows boxes")


def test_nothing_is_said_of_letters_that_are_drawn(caplog: pytest.LogCaptureFixture) -> None:
    with all_scripts():
        draw("Zürich Łódź")
    assert not caplog.records


def test_other_warnings_pass() -> None:
    with pytest.warns(UserWarning, match="something else"), all_scripts():
        warnings.warn("something else", stacklevel=1)
