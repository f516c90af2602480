"""The pages of ``docs/results/``: each study's figures as Markdown tables, and an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

from evidence.claims import decide, gain_text
from evidence.figures import ALONE, ORACLE, OWN, Figures
from evidence.outcomes import HEAD, Outcome
from evidence.studies import Study

from omnifm.results.formatting import (
    MISSING,
    metric_title,
    number,
    percent,
    settings_text,
    with_interval,
    with_spread,
)
from omnifm.utils.words import joined

WRITTEN = "<!-- Written by benchmarks/results.py from the comparisons' folders: do not edit. -->\n"
HOLDS = {True: "yes", False: "**no**", None: "these seeds cannot decide"}
GLANCE_NOTE = (
    "Test accuracy, mean over hospitals ± standard deviation over three seeds, of `intra-`, `mixed-` and "
    "`cross-untuned`: one learning rate for all rows."
)
BY_CLIENT = (OWN, "omnifm-groups", ORACLE, "fedbn", "fedavg", "fedavg-plain", "paper")


def study_page(study: Study, figures: Figures, root: Path) -> str:
    """Return the page of one study."""
    findings = figures.findings
    folder = findings.folder
    points = max((len(arm.points) for arm in folder.arms), default=1)
    tuned = f"settings chosen among {points} on validation data" if points > 1 else "settings as in the file"
    direction = "Lower is better." if findings.lower else "Higher is better."
    parts = [
        WRITTEN,
        f"# {study.name}\n",
        f"{study.about}\n",
        f"```sh\n{study.command(root)}\n```\n",
        f"Seed{'s' * (len(folder.seeds) > 1)} {joined(map(str, folder.seeds))}; {tuned}"
        + (f" of seed {joined(map(str, folder.tuning_seeds))}" if points > 1 and folder.tuning_seeds else "")
        + f"; run {folder.date:%Y-%m-%d} with {versions(folder.versions)}. Test {metric_title(findings.metric)}, "
        f"{folder.points[figures.point]}. {direction} How: [protocol](protocol.md).\n",
        *section("What it decides", claim_table(study, figures)),
        *section("Rows", score_table(figures), score_notes(figures)),
        *section("Participation", level_table(figures)),
        *section(
            "What each hospital gained by joining",
            gain_table(figures),
            "Difference from the same hospital alone (`local`), mean over seeds ± its standard error.",
        ),
        *section(
            "Circles",
            circle_table(figures),
            "Pairs: of all pairs of hospitals, those on which circle and declared group agree after the last round; "
            "least of all seeds in brackets. Settled: the round since which the circles are those of the end, median.",
        ),
        *section("Cost", cost_table(figures), "Megabytes: both ways, all rounds, per hospital. Seconds: median."),
    ]
    return "\n".join(parts)


def index_page(
    studies: Mapping[str, Sequence[Study]], outcomes: Mapping[str, Outcome], glance: Mapping[str, Outcome]
) -> str:
    """Return the index: the studies at a ``glance`` by scenario, and under each heading a table of those finished."""
    parts = [
        WRITTEN,
        "# Results\n",
        "What a hospital gains by joining, study by study, after a [protocol](protocol.md) written in advance. "
        "Studies of earlier versions: [earlier results](../results.md).\n",
        *section(
            "At a glance",
            glance_table(glance),
            f"{GLANCE_NOTE}\n\n![Each hospital's gain over training alone](joining.svg)",
        ),
    ]
    for heading, entries in studies.items():
        rows = [[f"[{one.name}]({one.name}.md)", *outcomes[one.name].cells] for one in entries if one.name in outcomes]
        missing = [f"`{one.name}`" for one in entries if one.name not in outcomes]
        note = f"Planned and not run yet: {joined(missing)}." if missing else ""
        content = table(["study", *HEAD], rows)
        parts += section(heading, content, note) if content else section(heading, f"{note}\n")
    return "\n".join(parts)


def glance_table(outcomes: Mapping[str, Outcome]) -> str:
    """Return mean and spread of each row in each scenario."""
    names = dict.fromkeys(name for one in outcomes.values() for name in one.scores)
    rows = [[f"`{name}`", *(one.scores.get(name, MISSING) for one in outcomes.values())] for name in names]
    return table(["row", *(f"`{scenario}`" for scenario in outcomes)], rows)


def claim_table(study: Study, figures: Figures) -> str:
    """The claims that this study decides."""
    rows = [[verdict.claim, verdict.measured, HOLDS[verdict.holds]] for verdict in decide(study.claims, figures)]
    return table(["OmniFM is", "measured", "holds"], rows)


def score_table(figures: Figures) -> str:
    """Mean, spread, worst hospital and gain over training alone, of each row."""
    findings, rows = figures.findings, []
    for arm in findings.rows:
        scored = arm.name in figures.names
        mean, worst, gain, sides = MISSING, MISSING, MISSING, MISSING
        if scored:
            line = figures.scores.loc[arm.name]
            mean = with_spread(line["mean"], line["spread"], findings.decimals)
            worst = number(line["worst"], findings.decimals)
        if scored and arm.name in figures.against_local.index:
            pair = figures.against_local.loc[arm.name]
            gain = with_interval(pair["difference"], pair["low"], pair["high"], findings.decimals)
            sides = f"{pair['better']:.0f} / {pair['worse']:.0f}"
        rows.append([f"`{arm.name}`", mean, worst, gain, sides, settings_text(arm.settings) or "defaults"])
    head = ["row", "mean ± spread over seeds", "worst hospital", "over local [95 % interval]", "gain / lose", "chosen"]
    return table(head, rows)


def score_notes(figures: Figures) -> str:
    """Notes on the rows: what each is, and what failed or was left out."""
    notes = [(arm.name, figures.findings.note(arm)) for arm in figures.findings.rows]
    return "\n".join(f"- `{name}`: {note}." for name, note in notes if note)


def level_table(figures: Figures) -> str:
    """Mean and spread at each level of participation, if there are several."""
    findings = figures.findings
    if len(findings.folder.levels) < 2:
        return ""
    scores = findings.levels.reset_index()
    scores = scores[scores["point"] == figures.point].set_index(["arm", "level"])
    rows = [
        [f"`{name}`", *(_spread(scores, (name, level), findings.decimals) for level in findings.folder.levels)]
        for name in figures.names
    ]
    return table(["row", *(f"{percent(level)} a round" for level in findings.folder.levels)], rows)


def _spread(scores: object, key: tuple[str, float], decimals: int) -> str:
    line = scores.loc[key] if key in scores.index else None  # type: ignore[attr-defined]
    return MISSING if line is None else with_spread(line["mean"], line["spread"], decimals)


def gain_table(figures: Figures) -> str:
    """Each hospital's gain over training alone, in the most important rows."""
    best = [figures.best_reference] if figures.best_reference else []
    names = [name for name in dict.fromkeys([*BY_CLIENT, *best]) if name in figures.names]
    if ALONE not in figures.names or not names:
        return ""
    gains = {name: figures.gain_by_client(name) for name in names}
    rows = [
        [client, stats["group"], f"{stats['train']} / {stats['validation']} / {stats['test']}"]
        + [gain_text(gains[name][client], figures) if client in gains[name] else MISSING for name in names]
        for client, stats in figures.findings.folder.clients.items()
    ]
    return table(["hospital", "group", "train / validation / test", *(f"`{name}`" for name in names)], rows)


def circle_table(figures: Figures) -> str:
    """The agreement of circles with the declared groups."""
    rows = []
    for arm, level, cells in figures.agreements():
        pairs, settled = [cell.pairs for cell in cells], median(cell.settled for cell in cells)
        numbers = sorted({cell.circles for cell in cells}), sorted({cell.alone for cell in cells})
        counts = [f"{few[0]}" if len(few) == 1 else f"{few[0]} to {few[-1]}" for few in numbers]
        share = f"{percent(round(fmean(pairs), 3))} [{percent(round(min(pairs), 3))}]"
        rows.append([f"`{arm.name}`", percent(level), share, *counts, f"{settled:g}"])
    return table(["row", "participation", "pairs that agree [least]", "circles", "alone", "settled in round"], rows)


def cost_table(figures: Figures) -> str:
    """Bytes and seconds of each row."""
    costs = figures.findings.costs
    rows = [
        [f"`{name}`", number(costs.at[name, "megabytes_per_client"], 2), number(costs.at[name, "seconds_per_round"], 2)]
        for name in figures.names
        if name in costs.index
    ]
    return table(["row", "MB", "seconds a round"], rows)


def section(title: str, content: str, note: str = "") -> list[str]:
    """Return a heading with a table and a note; nothing if the table is empty."""
    return [f"## {title}\n", content, *([f"{note}\n"] if note else [])] if content else []


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; empty without rows."""
    lines = [f"| {' | '.join(cells)} |" for cells in ([*head], ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def versions(installed: Mapping[str, str]) -> str:
    """Return the versions that the numbers depend on."""
    return joined(f"{name} {installed[name]}" for name in ("omnifm", "torch", "python") if name in installed) or MISSING
