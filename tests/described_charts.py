"""The charts in reports as their descriptions only: to draw them takes longer than the small run of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from markupsafe import Markup
from matplotlib.figure import Figure

from omnifm.results import charts

_DRAW = charts.svg


def described(figure: Figure, description: str) -> Markup:
    """Stand in for what draws a chart."""
    return Markup('<svg class="chart" aria-label="{}"></svg>').format(description)


@contextmanager
def drawn() -> Iterator[None]:
    """Draw the charts while the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "svg", _DRAW)
        yield
