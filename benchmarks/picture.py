"""Draw the measurements of ``peers.py``: ``python benchmarks/picture.py FILE.json docs/performance.svg``."""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

NAMES = {
    "ours": "OmniFM",
    "plain": "plain loop, a thread a core",
    "plain-1": "plain loop, one thread",
    "flower": "Flower simulation (Ray)",
    "pfl": "pfl",
    "pfl-2": "pfl, a process a core",
}
OURS, OTHERS = "#0b7285", "#adb5bd"


def main(source: Path, target: Path) -> None:
    """Draw a panel for each workload: seconds a round, one bar a contender."""
    mpl.rcParams.update({"svg.hashsalt": "omnifm", "svg.fonttype": "none", "font.size": 9})
    measured = json.loads(source.read_text(encoding="utf-8"))
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    for axes, (title, runs) in zip(figure.subplots(1, len(measured), squeeze=False)[0], measured.items(), strict=True):
        names = [name for name in NAMES if name in runs]
        seconds = [statistics.median(statistics.median(run["rounds"]) for run in runs[name]) for name in names]
        bars = axes.barh(
            [NAMES[name] for name in names], seconds, color=[OURS if name == "ours" else OTHERS for name in names]
        )
        axes.bar_label(bars, [f"{value:.2g} s" for value in seconds], padding=3)
        axes.set_title(textwrap.fill(title, 52), fontsize=8, loc="left")
        axes.set_xlabel("seconds a round")
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
