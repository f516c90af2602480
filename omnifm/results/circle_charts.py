"""Charts of circles: who is with whom over the rounds. The number stands in each bar beside its colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import matplotlib
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from omnifm.results import charts

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
"""Okabe and Ito's, which people tell apart however they see colours; the others of the report only as lines."""
_LIGHT, _DARK = "#ffffff", "#111111"
_SETTINGS = charts.SETTINGS | {"axes.grid": False}
_WIDTH = 6.0
_DIGIT = 0.12
"""How many inches of a bar a digit takes."""


def circle_chart(numbers: pd.DataFrame) -> Markup:
    """Draw a line for each client (row of ``numbers``) and a bar while it is in a circle; blank: it is alone."""
    colours, rounds = _colours(numbers), list(numbers.columns)
    height = 0.2 if len(numbers) <= 24 else 0.16
    with matplotlib.rc_context(_SETTINGS | {"font.size": 9 if height == 0.2 else 7}):
        figure = Figure(figsize=(_WIDTH, height * len(numbers) + 0.7))
        axes = figure.add_subplot(
            xlabel="round", xlim=(rounds[0] - 0.5, rounds[-1] + 0.5), ylim=(len(numbers) - 0.5, -0.5)
        )
        for place, (_, row) in enumerate(numbers.iterrows()):
            start = rounds[0] - 0.5
            for circle, same in groupby(row.fillna(-1)):
                width = len(list(same))
                if circle >= 0:
                    axes.barh(place, width, left=start, height=0.84, color=colours[circle], linewidth=0)
                    if width * _WIDTH / len(rounds) > _DIGIT * len(f"{circle:.0f}"):
                        ink = _LIGHT if colours[circle] == _COLOURS[0] else _DARK
                        style: charts.Style = {"color": ink, "fontsize": 7, "ha": "center", "va": "center_baseline"}
                        axes.text(start + width / 2, place, f"{circle:.0f}", **style)
                start += width
        for border in _borders(numbers.iloc[:, -1]):
            axes.axhline(border, color=charts.GREY, linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_yticks(range(len(numbers)), [charts.label(name) for name in numbers.index])
        axes.tick_params(axis="y", length=0)
        return charts.svg(figure, _described(numbers))


def size_chart(sizes: Mapping[int, Sequence[int]], clients: int) -> Markup:
    """Draw the circles' ``sizes`` after each round on top of each other, the largest below; blank: who is alone."""
    table = pd.DataFrame({number: pd.Series(found, dtype=float) for number, found in sizes.items()}).fillna(0.0)
    rounds = list(sizes)
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(_WIDTH, 3))
        axes = figure.add_subplot(xlabel="round", ylabel="hospitals", ylim=(0, clients))
        edges, below = [rounds[0] - 0.5, *(number + 0.5 for number in rounds)], 0.0 * table.sum()
        axes.set_xlim(edges[0], edges[-1])
        for place, (_, row) in enumerate(table.iterrows()):
            colour = _COLOURS[place % len(_COLOURS)]
            axes.stairs(below + row, edges, baseline=below, fill=True, color=colour, linewidth=0)
            below = below + row
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        ends = ", ".join(map(str, sizes[rounds[-1]])) or "none"
        return charts.svg(
            figure, f"Sizes of circles by round. After round {rounds[-1]}: {ends} of {clients} hospitals."
        )


def _colours(numbers: pd.DataFrame) -> dict[float, str]:
    """Give each circle its colour: those of the end first, so that neighbours differ; then those that have gone."""
    found = [*numbers.iloc[:, -1].dropna(), *sorted(numbers.stack().dropna())]
    return {circle: _COLOURS[place % len(_COLOURS)] for place, circle in enumerate(dict.fromkeys(found))}


def _borders(last: pd.Series) -> list[float]:
    """Return the places between the clients of one circle and those of the next."""
    values = last.fillna(-1).tolist()
    return [place - 0.5 for place in range(1, len(values)) if values[place] != values[place - 1]]


def _described(numbers: pd.DataFrame) -> str:
    """Say who is with whom in the end, for those who cannot see it."""
    last = numbers.iloc[:, -1]
    texts = [f"circle {circle:.0f}: {', '.join(names)}" for circle, names in last.groupby(last).groups.items()]
    alone = list(last.index[last.isna()])
    texts += [f"alone: {', '.join(alone)}"] if alone else []
    return f"Circles by round. After round {numbers.columns[-1]}, {'; '.join(texts)}."
