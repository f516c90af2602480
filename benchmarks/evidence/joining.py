"""What joining gives, at a glance: a picture of every hospital's gain in three scenarios."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from evidence.figures import Figures
from matplotlib.figure import Figure

GLANCE = {scenario: f"{scenario}-untuned" for scenario in ("intra", "mixed", "cross")}
"""The studies of the table and the picture, by scenario."""
DRAWN = {"fedavg-plain": "#adb5bd", "fedbn": "#e8590c", "omnifm": "#0b7285"}


def draw_gains(figures: Mapping[str, Figures], target: Path) -> None:
    """Draw, for each scenario, every hospital's gain over training alone: mean over seeds and standard error."""
    mpl.rcParams.update({"svg.hashsalt": "omnifm", "svg.fonttype": "none", "font.size": 9})
    widths = [len(one.findings.folder.clients) for one in figures.values()]
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    panels = figure.subplots(1, len(figures), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, (scenario, one) in zip(panels, figures.items(), strict=True):
        clients = list(one.findings.folder.clients)
        axes.axhline(0, color="#495057", linewidth=0.8)
        drawn = {name: color for name, color in DRAWN.items() if name in one.names}
        for number, (name, color) in enumerate(drawn.items()):
            gains = [one.gain_by_client(name)[client] for client in clients]
            places = [place + 0.2 * (number - (len(drawn) - 1) / 2) for place in range(len(clients))]
            axes.errorbar(
                places,
                [gain.mean for gain in gains],
                [gain.error for gain in gains],
                fmt="o",
                markersize=4,
                linewidth=1,
                color=color,
                label=name,
            )
        axes.set_xticks(range(len(clients)), clients, rotation=60, ha="right")
        axes.set_title(scenario, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("gain over training alone")
    panels[-1].legend(frameon=False, fontsize=8)
    figure.savefig(target, metadata={"Date": None})
