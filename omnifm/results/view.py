"""What the parts of the report have in common: the look of an arm, of a number, and of what is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omnifm.results.charts import SLOTS, Style
from omnifm.results.run_reader import ArmRecord
from omnifm.results.verdict import ALONE

MISSING = "–"  # noqa: RUF001 - the typographic sign for nothing here

View = dict[str, Any]
"""What the template takes."""


def arm_styles(arms: Sequence[ArmRecord]) -> dict[str, Style]:
    """Give each arm its look: grey for the first in which hospitals stay alone, colours in turn for the others."""
    styles: dict[str, Style] = {}
    place = 0
    for arm in arms:
        if arm.algorithm == ALONE and not any(s.slot == SLOTS - 1 for s in styles.values()):
            styles[arm.name] = Style(SLOTS - 1)
        else:
            styles[arm.name] = Style(place % (SLOTS - 1), place // (SLOTS - 1))
            place += 1
    return styles


def number(value: float | None) -> str:
    """Return a value to three decimals, with a true minus sign."""
    return MISSING if value is None else f"{value:.3f}".replace("-", "−")  # noqa: RUF001 - the minus sign
