"""Charts as SVG for the inside of a page, by matplotlib without pyplot.

Letters stay text and take the colour of the page around them; the other colours can be read on white and on black. So
one drawing serves both. The same input gives the same text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from omnifm.results.curves import Curves
from omnifm.results.result_folder import ArmRecord

_INK, GREY, ACCENT = "#010203", "#8b929c", "#2f8be0"
_COLOURS = (ACCENT, "#e0702c", "#26a175", "#c05fb4", "#b98a0c", "#d4505c", "#1a9fb5")
_SHARES = LinearSegmentedColormap.from_list("shares", [(0.18, 0.55, 0.88, alpha) for alpha in (0.04, 0.75)])
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
_MARKERS = "os^DvPX"
SETTINGS: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "omnifm", "text.parse_math": False,  # a client may be called "$T_1$"
    "font.size": 9, "font.family": "sans-serif", "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": GREY,
    "xtick.color": GREY, "ytick.color": GREY, "xtick.labelcolor": _INK, "ytick.labelcolor": _INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.grid": True,
    "grid.color": GREY, "grid.alpha": 0.35, "grid.linewidth": 0.6, "legend.frameon": False,
    "axes.titlesize": 9, "figure.constrained_layout.use": True,
}  # fmt: skip

Style = dict[str, Any]
"""How an arm is drawn: colour, marker and dash, so that colour is never the only sign."""


def arm_styles(arms: Iterable[ArmRecord]) -> dict[str, Style]:
    """Give each arm its look: grey for those in which clients stay alone, colours in turn for the others."""
    styles: dict[str, Style] = {}
    turns = {True: 0, False: 0}
    for arm in arms:
        grey = arm.algorithm == "local"
        place = turns[grey]
        turns[grey] += 1
        colour = GREY if grey else _COLOURS[place % len(_COLOURS)]
        dash = _DASHES[(place if grey else place // len(_COLOURS)) % len(_DASHES)]
        styles[arm.name] = {"color": colour, "marker": _MARKERS[place % len(_MARKERS)], "linestyle": dash}
    return styles


def line_chart(
    curves: Curves, styles: Mapping[str, Style], xlabel: str, ylabel: str, chosen: Mapping[str, int]
) -> Markup:
    """Draw the curves of all arms; ``chosen`` is an x of each to be ringed."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(6, 3))
        axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
        for arm, curve in curves.items():
            axes.plot(curve["x"], curve["y"], label=label(arm), markersize=4, linewidth=1.5, **styles[arm])
            ringed = curve[curve["x"] == chosen.get(arm)]
            axes.plot(ringed["x"], ringed["y"], "o", markersize=10, markerfacecolor="none", color=styles[arm]["color"])
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=xlabel == "round"))
        figure.legend(loc="outside right upper")
        return svg(figure, f"{ylabel} by {xlabel}. {_ends(curves)}")


def small_charts(
    panels: Mapping[str, Curves], styles: Mapping[str, Style], xlabel: str, ylabel: str, behind: Curves | None = None
) -> Markup:
    """Draw a small chart for each panel, all on the same axes, before the curves ``behind`` in grey.

    A curve that is called as its panel is shaded between ``low`` and ``high``.
    """
    with matplotlib.rc_context(SETTINGS | {"font.size": 8, "axes.titlesize": 8}):
        figure, grid = _grid(len(panels), 1.35, shared=True)
        for axes, (title, curves) in zip(grid, panels.items(), strict=False):
            axes.set_title(label(title), loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=xlabel == "round"))
            for curve in (behind or {}).values():
                axes.plot(curve["x"], curve["y"], color=GREY, linewidth=0.5, alpha=0.6)
            for arm, curve in curves.items():
                axes.plot(curve["x"], curve["y"], markersize=2.5, linewidth=1.2, **styles[arm])
                if arm == title:
                    style = {"color": styles[arm]["color"], "alpha": 0.2, "linewidth": 0}
                    axes.fill_between(curve["x"], curve["low"], curve["high"], **style)
        figure.supxlabel(xlabel, fontsize=8)
        ends = " ".join(f"{title}: {_ends(curves)}." for title, curves in panels.items())
        return svg(figure, f"{ylabel} by {xlabel}. {ends}")


def dot_chart(values: pd.DataFrame, styles: Mapping[str, Style], xlabel: str) -> Markup:
    """Draw a line of dots for each row (a client), one for each column (an arm)."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(6, 0.24 * len(values) + 0.8))
        axes = figure.add_subplot(xlabel=xlabel)
        for arm in values:
            style = {**styles[arm], "linestyle": "none"}
            axes.plot(values[arm], range(len(values)), markersize=6, alpha=0.9, label=label(arm), **style)
        axes.set_yticks(range(len(values)), [label(name) for name in values.index])
        axes.set_ylim(len(values) - 0.5, -0.5)
        figure.legend(loc="outside right upper")
        return svg(figure, f"{xlabel} of each hospital; the numbers are in the table.")


def forest_chart(rows: pd.DataFrame, xlabel: str, xlim: tuple[float, float]) -> Markup:
    """Draw differences with their intervals around zero, one line for each row; what is clear is filled."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(6, 0.2 * len(rows) + 0.7))
        axes = figure.add_subplot(xlabel=xlabel, xlim=xlim)
        axes.axvline(0, color=_INK, linewidth=0.9)
        for place, (_, row) in enumerate(rows.iterrows()):
            axes.plot([row["low"], row["high"]], [place, place], color=ACCENT, linewidth=1.5)
            fill = ACCENT if str(row["verdict"]).startswith("clearly") else "none"
            axes.plot(row["difference"], place, "o", color=ACCENT, markersize=6, markerfacecolor=fill)
        axes.set_yticks(range(len(rows)), [label(name) for name in rows.index])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        return svg(figure, f"{xlabel}: " + "; ".join(f"{name} {row.difference:+.3f}" for name, row in rows.iterrows()))


def heat_maps(tables: Mapping[str, pd.DataFrame], rows: str, columns: str) -> Markup:
    """Draw tables of counts, each row shaded by its shares; numbers are shown in tables of up to 16 columns."""
    most = max(len(table.columns) for table in tables.values())
    with matplotlib.rc_context(SETTINGS | {"axes.grid": False, "font.size": 8, "axes.titlesize": 8}):
        figure, grid = _grid(len(tables), min(1.2 + 0.25 * most, 9), 3 if most < 6 else 2 if most < 12 else 1)
        for axes, (title, table) in zip(grid, tables.items(), strict=False):
            axes.pcolormesh(table.div(table.sum(axis=1).clip(lower=1e-9), axis=0), cmap=_SHARES, vmin=0, vmax=1)
            height, width = table.shape
            for y, x in product(range(height), range(width)) if most <= 16 else ():
                axes.text(x + 0.5, y + 0.5, f"{table.iat[y, x]:.0f}", ha="center", va="center", fontsize=7)
            axes.set(title=label(title, 40), xlabel=columns, ylabel=rows, ylim=(height, 0))
            names = [label(name) for name in table.columns]
            axes.set_xticks([x + 0.5 for x in range(width)], names, rotation=40, ha="right", rotation_mode="anchor")
            axes.set_yticks([y + 0.5 for y in range(height)], [label(name) for name in table.index])
        return svg(figure, "; ".join(f"{title}: {columns} by {rows}" for title, table in tables.items()))


def label(text: str, most: int = 24) -> str:
    """Shorten a name for a chart, to one line without control characters."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _grid(count: int, height: float, columns: int = 5, shared: bool = False) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure of so many axes, ``columns`` in a row, each so many inches high."""
    columns = min(columns, max(count, 1))
    rows = -(-count // columns)
    figure = Figure(figsize=(9 * columns / 5 if shared else 9, height * rows + 0.3))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid)


def _ends(curves: Curves) -> str:
    """Return where curves begin and end, for screen readers."""
    return "; ".join(f"{arm}: {curve['y'].iloc[0]:.3g} to {curve['y'].iloc[-1]:.3g}" for arm, curve in curves.items())


def svg(figure: Figure, description: str) -> Markup:
    """Return a drawing as SVG, with a description for those who cannot see it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the page's font draws the letters
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = buffer.getvalue().decode().replace(_INK, "currentColor")
    text = re.sub(r'<g id="[\w.]+"', "<g", text[text.index("<svg") :])  # an id may be in a page only once
    text = text.removeprefix("<svg")
    drawn = Markup(text)  # nosec B704  # what matplotlib wrote is escaped already
    return Markup('<svg class="chart" role="img" aria-label="{}"').format(label(description, 9999)) + drawn
