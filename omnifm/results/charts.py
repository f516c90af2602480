"""Charts of the report: SVG text that takes its colours from the page, so that one drawing serves light and dark.

Drawn by matplotlib without pyplot. Ink, grid and series are drawn in stand-in colours, which become ``currentColor``
and CSS variables; letters stay text, in the page's font. The same input gives the same text.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

SLOTS = 7
"""Colours in the style sheet, ``--c0`` to ``--c6``; the last is grey."""

_INK, _GRID, _PAPER = "#010203", "#010204", "#010205"
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
_SVG_DASHES = ("", "6 3", "2 2")
_MARKERS = "os^DvPX"
_SHAPES = (
    "M14 2.2a2.8 2.8 0 1 0 .01 0z",
    "M11.4 2.4h5.2v5.2h-5.2z",
    "M14 1.6l3.4 6h-6.8z",
    "M14 1l3.4 4-3.4 4-3.4-4z",
    "M14 8.4l3.4-6h-6.8z",
    "M13 2h2v2h2v2h-2v2h-2v-2h-2v-2h2z",
    "M12 2l2 2 2-2 1 1-2 2 2 2-1 1-2-2-2 2-1-1 2-2-2-2 1-1z",
)
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "omnifm",
    "text.parse_math": False,  # a client may be called "$T_1$"
    "path.simplify": True,
    "font.size": 8.6,
    "font.family": ["DejaVu Sans"],
    "axes.unicode_minus": True,
    "axes.linewidth": 0.7,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True)
class Style:
    """How an arm looks in every chart: colour, dash and marker, so that colour is never the only sign."""

    slot: int
    turn: int = 0

    @property
    def colour(self) -> str:
        """The stand-in colour."""
        return f"#0102a{self.slot}"

    @property
    def swatch(self) -> Markup:
        """A key for legends, as SVG."""
        shape, dash = _SHAPES[self.slot], _SVG_DASHES[self.turn % len(_SVG_DASHES)]
        return Markup(
            '<svg class="swatch" viewBox="0 0 28 10" width="28" height="10" aria-hidden="true">'
            '<path d="M1 5H27" stroke="var(--c{0})" stroke-width="2" stroke-dasharray="{1}"/>'
            '<path d="{2}" fill="var(--c{0})"/></svg>'
        ).format(self.slot, dash, shape)


@dataclass(frozen=True)
class Line:
    """One line of a chart; ``ring`` is the x of a point to ring (the round that validation chose)."""

    name: str
    style: Style
    points: Sequence[tuple[float, float]]
    ring: float | None = None
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class Across:
    """What lines run over: its name, and how its axis is divided."""

    name: str = "round"
    whole: bool = True
    log: bool = False
    ticks: Sequence[float] | None = None


@dataclass(frozen=True)
class Interval:
    """One line of a forest plot. ``sure`` fills the mark; ``gap`` leaves room before a group."""

    name: str
    style: Style
    value: float
    low: float | None = None
    high: float | None = None
    sure: bool = False
    gap: bool = False


def line_chart(
    lines: Sequence[Line],
    title: str,
    ylabel: str,
    small: bool = False,
    ylim: tuple[float, float] | None = None,
    xlim: tuple[float, float] | None = None,
    zero: bool = False,
    across: Across | None = None,
    background: Sequence[Line] = (),
) -> Markup:
    """Draw lines over rounds, or what ``across`` says, before others in grey.

    ``small`` is for a grid of many; ``zero`` starts the axis of values there.
    """
    across = across or Across()
    with matplotlib.rc_context(_SETTINGS):
        width, height = (1.95, 1.35) if small else (4.5, 2.6)
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes(
            (0.36 / width, 0.25 / height, 1 - 0.46 / width, 1 - 0.35 / height)
            if small
            else (0.62 / width, 0.46 / height, 1 - 0.74 / width, 1 - 0.58 / height)
        )
        for line in background:
            if line.points:
                axes.plot(*zip(*line.points, strict=True), color=_GRID, linewidth=0.6, alpha=0.75)
        for line in lines:
            _draw_line(axes, line, small)
        _divide(axes, across, small)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3 if small else 5))
        if not small:
            axes.set_xlabel(across.name)
            axes.set_ylabel(ylabel)
        if xlim is not None:
            axes.set_xlim(*xlim)
        if ylim is not None:
            axes.set_ylim(*ylim)
        elif zero:
            axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        _clear(axes, "top", "right", "left")
        return _svg(figure, f"{title}. {_in_words(lines, across.name)}")


def bar_chart(
    names: Sequence[str],
    series: Sequence[tuple[str, Style, Sequence[float | None]]],
    title: str,
    xlabel: str,
    xlim: tuple[float, float] | None,
    decimals: int = 3,
) -> Markup:
    """Draw a group of bars for each name, a bar a series; where that would be too many, dots in place of bars."""
    bars = len(names) * len(series) <= 60
    row = 0.125 * len(series) + 0.12 if bars else 0.21
    labels = [label(name) for name in names]
    with matplotlib.rc_context(_SETTINGS):
        width, height = 4.5, row * len(names) + 0.55
        left = 0.22 + 0.075 * max(len(text) for text in labels)
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes(
            (left / width, 0.46 / height, 1 - (left + 0.4) / width, 1 - 0.55 / height), axisbelow=True
        )
        step = 0.8 / len(series)
        for place, (_, style, values) in enumerate(series):
            for at, value in enumerate(values):
                if value is None:
                    continue
                if bars:
                    y = at - 0.4 + step * (place + 0.5)
                    axes.barh(y, value, step * 0.86, color=style.colour, hatch="////" if style.turn else None,
                              edgecolor=_PAPER, linewidth=0)  # fmt: skip
                    axes.annotate(f"{value:.{decimals}f}", (max(value, 0), y), (2.5, 0), textcoords="offset points",
                                  va="center", fontsize=6.2)  # fmt: skip
                else:
                    axes.plot(value, at, _MARKERS[style.slot], color=style.colour, markersize=4.6, alpha=0.85,
                              markerfacecolor=style.colour if not style.turn else "none")  # fmt: skip
        axes.set_yticks(range(len(names)), labels)
        axes.set_ylim(len(names) - 0.45, -0.55)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        if xlim is not None:
            axes.set_xlim(*xlim)
        axes.set_xlabel(xlabel)
        axes.grid(axis="x")
        if not bars:
            axes.grid(axis="y", linewidth=0.4)
        _clear(axes, "top", "right", "bottom")
        axes.tick_params(axis="x", length=0)
        return _svg(figure, f"{title}. The numbers stand in the table of results.")


def forest_chart(rows: Sequence[Interval], title: str, xlabel: str, xlim: tuple[float, float] | None = None) -> Markup:
    """Draw differences with their intervals around zero, one line each; what is sure is filled."""
    places, at = [], -1.0
    for row in rows:
        at += 1.6 if row.gap else 1.0
        places.append(at)
    labels = [label(row.name, 24) for row in rows]
    with matplotlib.rc_context(_SETTINGS):
        width, height = 4.5, 0.19 * (at + 1) + 0.6
        left = 0.2 + 0.068 * max(len(text) for text in labels)
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((left / width, 0.46 / height, 1 - (left + 0.15) / width, 1 - 0.52 / height))
        axes.axvline(0, color=_INK, linewidth=0.9)
        for row, y in zip(rows, places, strict=True):
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [y, y], color=row.style.colour, linewidth=1.5, solid_capstyle="butt")
            axes.plot(row.value, y, _MARKERS[row.style.slot], color=row.style.colour, markersize=6, markeredgewidth=1.1,
                      markerfacecolor=row.style.colour if row.sure else _PAPER)  # fmt: skip
        axes.set_yticks(places, labels)
        axes.set_ylim(at + 0.7, -0.7)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        if xlim is not None:
            axes.set_xlim(*xlim)
        axes.set_xlabel(xlabel)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        _clear(axes, "top", "right", "bottom", "left")
        axes.tick_params(axis="x", length=0)
        told = [f"{row.name}: {row.value:+.3f}" for row in rows]
        return _svg(figure, f"{title}. {'; '.join(told)}.")


def label(text: str, most: int = 18) -> str:
    """Shorten a name for a chart, to one line without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def limits(values: Sequence[float]) -> tuple[float, float] | None:
    """Return limits common to several charts: all values with a margin, inside [0, 1] where they all are."""
    if not values:
        return None
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05
    if low >= 0 and high <= 1:
        return max(0.0, low - margin), min(1.0, high + margin) if high < 1 else 1.02
    return low - margin, high + margin


def _draw_line(axes: Axes, line: Line, small: bool) -> None:
    if not line.points:
        return
    x, y = zip(*line.points, strict=True)
    dash: Any = _DASHES[line.style.turn % len(_DASHES)]
    every = max(1, math.ceil(len(x) / (8 if small else 16)))
    axes.plot(
        x, y, linestyle=dash, color=line.style.colour, marker=_MARKERS[line.style.slot], markevery=every,
        linewidth=1.1 if small else 1.5, markersize=2.4 if small else 4.2, markeredgewidth=0, clip_on=False,
    )  # fmt: skip
    if line.low is not None and line.high is not None:
        axes.fill_between(x, line.low, line.high, color=line.style.colour, alpha=0.15, linewidth=0)
    if line.ring is not None and line.ring in x:
        axes.plot(line.ring, y[x.index(line.ring)], "o", markersize=6 if small else 10, markerfacecolor="none",
                  markeredgecolor=line.style.colour, markeredgewidth=1.2, clip_on=False)  # fmt: skip


def _divide(axes: Axes, across: Across, small: bool) -> None:
    """Set the scale and the ticks of what lines run over."""
    if across.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=4 if small else 8))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    elif across.ticks is not None:
        axes.set_xticks(across.ticks)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if small else 8, integer=across.whole, min_n_ticks=1))


def _in_words(lines: Sequence[Line], across: str) -> str:
    """Say what a chart of lines shows, for those who do not see it."""
    told = []
    for line in lines:
        if line.points:
            (first, a), (last, b) = line.points[0], line.points[-1]
            text = f"{line.name}: {a:.3g} at {across} {first:g}"
            told.append(text + (f", {b:.3g} at {across} {last:g}" if last != first else ""))
    return "; ".join(told) + "." if told else "Nothing to draw yet."


def _clear(axes: Axes, *spines: str) -> None:
    for spine in spines:
        axes.spines[spine].set_visible(False)


def _svg(figure: Figure, description: str) -> Markup:
    """Return a figure as SVG for the inside of a page: no preamble, no ids that meet those of another chart."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the page's font draws the letters
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", text, flags=re.DOTALL
    )
    text = re.sub(
        r' id="(?:figure|axes|patch|line2d|text|matplotlib|xtick|ytick|PolyCollection|FillBetween)[\w.]*"', "", text
    )
    key = hashlib.sha256((description + text).encode("utf-8", "replace")).hexdigest()[:8]
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{key}-", text).replace("xlink:href", "href")
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| version="[^"]*"| (?:width|height)="[\d.]+pt"', "", text, count=4)
    text = text.replace(_INK, "currentColor").replace(_GRID, "var(--grid)").replace(_PAPER, "var(--paper)")
    text = re.sub(r"#0102a(\d)", r"var(--c\1)", text)
    text = re.sub(r"\n\s*", "\n", text).strip()
    opening = Markup('<svg class="chart" role="img" aria-label="{}"').format(description)
    return opening + Markup(text.removeprefix("<svg"))  # matplotlib has escaped what it wrote
