"""What the parts of the report have in common: the look of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omnifm.results.charts import SLOTS, Style
from omnifm.results.run_reader import ArmRecord
from omnifm.results.verdict import ALONE

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
