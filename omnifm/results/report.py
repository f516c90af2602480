"""The sections of a report: the order of tables, charts and pictures."""

from __future__ import annotations

import shlex

import pandas as pd
from markupsafe import Markup

from omnifm.results import result_tables
from omnifm.results.charts import arm_styles, dot_chart, forest_chart, heat_maps, line_chart, small_charts
from omnifm.results.circle_charts import circle_chart, size_chart
from omnifm.results.circle_history import circle_table
from omnifm.results.curves import Curves, curves, spent
from omnifm.results.findings import Findings
from omnifm.results.formatting import metric_name, metric_title
from omnifm.results.html import Section, fill, page
from omnifm.results.pictures import read_examples
from omnifm.results.result_folder import POINTS, ArmRecord
from omnifm.results.retrievals import retrieved
from omnifm.results.statements import leaders, statements
from omnifm.results.summary import client_means

FEW_ARMS = 8
"""Up to here the arms share a chart; more of them get a small chart each."""

CURVES_OF_CLIENTS = 24
"""Up to here each client has a chart of its own; drawing more takes too long."""

OPEN_CLIENTS = 8
CONFUSION_CLASSES = 30
CONFUSION_TABLES = 60
"""So many tables are drawn, those of the best arm in any case; ``result.json`` has them all."""


def report_html(found: Findings) -> str:
    """Return the report of a run or of a comparison as HTML."""
    sections = [_results(found), *(_compared(found, base) for base in found.comparisons), _clients(found)]
    sections += [_learning(found), _participation(found), _tuning(found)]
    if not found.folder.is_comparison:
        sections += [_mistakes(found), _pictures(found), _circles(found), _bank(found)]
    sections += [_cost(found), _again(found)]
    shown = [section for section in sections if section.blocks]
    return page(found=found, folder=found.folder, statements=statements(found), sections=shown)


def _results(found: Findings) -> Section:
    section = Section("results", "Results")
    if found.rows:
        section.add(result_tables.score_table(found, found.rows))
    if found.sweeps:
        section.add(result_tables.score_table(found, found.sweeps))
    if notes := dict.fromkeys(found.notes.values()):
        section.add(Markup('<p class="quiet">{}</p>').format(Markup("<br>").join(notes)), "Notes")
    if len(metrics := _test_metrics(found)) > 1 and found.rows:
        section.add(result_tables.metric_table(found, metrics), folded=len(found.rows) > FEW_ARMS)
    return section


def _compared(found: Findings, base: str) -> Section:
    """Compare with a baseline or with the anchor: forest plots on one scale, and the numbers."""
    section = Section(f"over-{list(found.comparisons).index(base)}", f"Compared with {base}")
    section.lead = "Bars are 95 % intervals, paired by seed and hospital; dots are filled where p is below 0.05."
    rows = [arm.name for arm in found.rows]
    table = found.comparisons[base]
    table = table[table.index.isin(rows, level="arm")]
    ends = [0.0, *table[["difference", "low", "high"]].stack()]
    margin = 0.05 * (max(ends) - min(ends)) or 0.01
    for point, name in found.folder.points.items():
        shown = result_tables.at(table, point)
        if len(shown):
            shown = shown.loc[[arm for arm in rows if arm in shown.index]]
            title = f"Difference of test {metric_name(found.metric)} from {base}, {name}"
            xlabel = f"difference of test {metric_name(found.metric)}"
            section.add(forest_chart(shown, xlabel, (min(ends) - margin, max(ends) + margin)), title)
    if section.blocks:
        section.add(result_tables.difference_table(found, base))
        for point in found.folder.points:
            section.add(result_tables.table_by_client(found, point, base=base), folded=True)
    return section


def _clients(found: Findings) -> Section:
    section = Section("clients", "Hospital by hospital")
    if not found.folder.clients:
        return section
    styles, name = arm_styles(found.arms), f"test {metric_title(found.metric)}"
    for point, when in found.folder.points.items():
        values = result_tables.at(client_means(found.main, found.metric).droplevel("level"), point).T
        if values.size and len(values.columns) <= FEW_ARMS:
            section.add(dot_chart(values, styles, name), f"T{name[1:]} {when}")
    for point in found.folder.points:
        section.add(result_tables.table_by_client(found, point))
    others = [
        result_tables.table_by_client(found, point, metric)
        for metric in _test_metrics(found)
        for point in found.folder.points
        if metric != found.metric
    ]
    if others:
        contents = [Markup("<h3>{}</h3>{}").format(table.title, table.to_html()) for table in others]
        section.add(Markup().join(contents), "Other metrics by hospital", folded=True)
    section.add(result_tables.holdings_table(found))
    return section


def _test_metrics(found: Findings) -> list[str]:
    """Return the metrics of the test, the main one in front."""
    known = found.main.loc[found.main["split"] == "test", "metric"]
    return list(dict.fromkeys([found.metric, *known])) if len(known) else []


def _learning(found: Findings) -> Section:
    """Validation by round and by cost, training loss, and the curves of each client."""
    section = Section("learning", "Learning", "Mean over hospitals and seeds.")
    if len(found.arms) > FEW_ARMS:
        section.lead += " Shade: range over seeds; thin grey: all other arms; thick grey: hospitals training alone."
    main, name = found.main, f"Validation {metric_name(found.metric)}"
    points = {point: f"{name} {when}" for point, when in POINTS.items() if (main["point"] == point).any()}
    for point, text in points.items():
        best = main[(main["split"] == "test") & (main["point"] == point)].groupby("arm")["round"].first()
        chosen = {} if found.folder.is_comparison else best.to_dict()
        _add_curves(section, found, curves(main, "validation", found.metric, point), "round", text, chosen)
    if section.blocks and not found.folder.is_comparison:
        section.lead += " Rings: the rounds that validation chose."
    _add_curves(section, found, curves(main, "train", "loss"), "round", "Training loss")
    sent = spent(main[main["algorithm"] != "centralised"], "bytes_down", "bytes_up")
    costs = {"MB per hospital": sent / 1e6 / max(len(found.folder.clients), 1), "seconds": spent(main, "seconds")}
    for xlabel, cost in costs.items():
        for point, text in list(points.items())[:1]:
            by_cost = curves(main, "validation", found.metric, point, cost)
            by_cost = {arm: curve for arm, curve in by_cost.items() if curve["x"].iloc[-1] > 0}
            _add_curves(section, found, by_cost, xlabel, text, folded=True)
    clients = dict.fromkeys(main.loc[main["client"] != "", "client"])
    if len(clients) > CURVES_OF_CLIENTS:
        section.lead += " The curves of so many hospitals are not drawn; metrics.jsonl has them."
    if 1 < len(clients) <= CURVES_OF_CLIENTS and len(found.arms) <= FEW_ARMS:
        for point, text in points.items():
            panels = {c: curves(main[main["client"] == c], "validation", found.metric, point) for c in clients}
            chart = small_charts(panels, arm_styles(found.arms), "round", text)
            section.add(chart, f"{text}, each hospital", folded=len(section.blocks) > 6)
    return section


def _add_curves(
    section: Section,
    found: Findings,
    lines: Curves,
    xlabel: str,
    text: str,
    chosen: dict[str, int] | None = None,
    folded: bool = False,
) -> None:
    """Add a chart of all arms; of many, a small one each, before the others in grey."""
    styles = arm_styles(found.arms)
    if len(lines) > FEW_ARMS:
        alone = {arm: lines[arm] for arm in found.baselines[:1] if arm in lines}
        panels = {arm.name: {**alone, arm.name: lines[arm.name]} for arm in found.arms if arm.name in lines}
        section.add(small_charts(panels, styles, xlabel, text, lines), f"{text} by {xlabel}", folded)
    elif lines:
        lines = {arm.name: lines[arm.name] for arm in found.arms if arm.name in lines}
        section.add(line_chart(lines, styles, xlabel, text, chosen or {}), f"{text} by {xlabel}", folded)


def _participation(found: Findings) -> Section:
    section = Section("participation", "Participation")
    table = result_tables.level_table(found)
    if found.folder.is_comparison and len(table.cells):
        section.add(table)
    return section


def _tuning(found: Findings) -> Section:
    seeds = ", ".join(map(str, found.folder.tuning_seeds))
    section = Section("tuning", "Tuning", f"Tried with seed {seeds}; ✓ was run with all seeds. Test data took no part.")
    if any(arm.points for arm in found.arms):
        section.add(result_tables.tuning_table(found))
    return section


def best_first(found: Findings) -> list[ArmRecord]:
    """Return the finished arms, the best in front."""
    best = leaders(found, next(iter(found.folder.points)))[:1]
    return [*best, *(arm for arm in found.folder.finished if arm not in best)]


def _mistakes(found: Findings) -> Section:
    """Confusion tables of every arm, the best first, of the classes that occur."""
    point, when = next(iter(found.folder.points.items()))
    section = Section(
        "mistakes", "Mistakes", f"Confusion of classes on test images {when}; shades are shares of a row."
    )
    room = CONFUSION_TABLES
    for arm in best_first(found):
        result, shown = arm.cells[0].result, dict[str, pd.DataFrame]()
        names = dict(enumerate(result.get("label_names", [])))
        for client, entry in result["test"].get(point, {}).items():
            counts = entry.get("tables", {}).get("confusion") or []
            if not counts or any(not isinstance(row, list) or len(row) != len(counts) for row in counts):
                continue
            table = pd.DataFrame(counts).rename(index=names, columns=names)
            occurs = (table.sum(axis=1).to_numpy() + table.sum(axis=0).to_numpy()) > 0
            right, table = sum(row[place] for place, row in enumerate(counts)), table.loc[occurs, occurs]
            if 0 < len(table) <= CONFUSION_CLASSES:
                shown[f"{client}: {right:g} of {table.to_numpy().sum():g} right"] = table
        room -= len(shown)
        if shown and (room >= 0 or not section.blocks):
            section.add(heat_maps(shown, "truth", "prediction"), arm.name, folded=bool(section.blocks))
    return section


def _pictures(found: Findings) -> Section:
    arms, (examples, left_out) = best_first(found), read_examples(best_first(found))
    section = Section("pictures", "Pictures", "Test examples and what each arm made of them, ")
    section.lead += f"{next(iter(found.folder.points.values()))}."
    if any(right is not None for shown in examples.values() for example in shown for right in example.evaluations()):
        section.lead += " ✓ right, ✗ wrong."
    if left_out:
        section.lead += f" {left_out} left out to keep this file small; the pictures are in the arms' folders."
    for place, (client, shown) in enumerate(examples.items()):
        filled = fill("pictures.html.j2", client=client, shown=shown, named=len(arms) > 1)
        section.add(filled, client, folded=place >= OPEN_CLIENTS)
    return section


def _circles(found: Findings) -> Section:
    """Who learned with whom over the rounds, and how much of what it received each hospital took."""
    section = Section("circles", "Circles", "Hospitals that are alike average a part of the network among themselves.")
    for history in found.circles:
        section.lead += f" {history.sentence}"
        if history.numbers.size:
            section.add(circle_chart(history.numbers), f"{history.arm}: who learns with whom after each round")
        else:
            title = f"{history.arm}: sizes of the circles after each round"
            section.add(size_chart(history.sizes, len(history.clients)), title)
        if len((table := circle_table(history)).cells.columns):
            section.add(table, folded=len(history.clients) > CURVES_OF_CLIENTS)
    return section


def _bank(found: Findings) -> Section:
    """The bank: who retrieves whose prototypes, its size, the drift."""
    lead = "Hospitals share prototypes of their images' spectra, and retrieve those nearest to their own images."
    section = Section("bank", "The bank", lead)
    orders = {history.arm: history.clients for history in found.circles}
    for arm in found.folder.arms:
        if recent := retrieved(arm.cells[0], orders.get(arm.name, found.folder.clients)):
            title = (
                f"{arm.name}: whose prototypes each hospital retrieved in the last {recent.rounds} rounds, in percent"
            )
            title += "; hospitals of a circle stand together" if arm.name in orders else ""
            shares = {f"{100 * recent.from_others:.0f} % from others": 100 * recent.shares}
            section.add(heat_maps(shares, "reader", "owner"), title)
    for metric, text in {
        "bank_entries": "Prototypes in the bank",
        "drift": "Drift of prototypes (cosine distance)",
    }.items():
        _add_curves(section, found, curves(found.main, "train", metric), "round", text)
    return section


def _cost(found: Findings) -> Section:
    lead = "Bytes are those of broadcasts and uploads as they are packed; seconds are without evaluation."
    section = Section("cost", "Cost", f"{lead} Where data are pooled, the images would have to travel: not counted.")
    if len(found.costs):
        section.add(result_tables.cost_table(found))
    return section


def _again(found: Findings) -> Section:
    """What it takes to run it again."""
    folder = found.folder
    command = "compare" if folder.is_comparison else "run"
    words = ["omnifm", command, "experiment.toml"]
    words += ["--algorithms", folder.asked["algorithms"]] if folder.asked.get("algorithms") else []
    words += ["--seeds", str(folder.asked["seeds"])] if "seeds" in folder.asked else []
    words += ["--ablate"] if folder.asked.get("ablate") else []
    words += [word for sweep in folder.asked.get("sweep", ()) for word in ("--sweep", sweep)]
    section = Section("again", "Reproduce")
    commands = f"{shlex.join([*words, '--out', '../again'])}\nomnifm {command} --resume ."
    section.add(
        Markup("<pre><code>{}</code></pre>").format(commands), "From this report's folder: once more, or resume"
    )
    rows = [
        ((arm.name, cell.seed, f"{cell.level:g}"), cell.result.get("weights_sha256", ""))
        for arm in folder.arms for cell in arm.cells if cell.result
    ]  # fmt: skip
    if rows:
        text = "\n".join(f"{value}  {arm}, seed {seed}, participation {level}" for (arm, seed, level), value in rows)
        section.add_text(text, "SHA-256 of the final weights, with the same versions on the same kind of machine")
    section.add_text(folder.experiment, "experiment.toml")
    for arm in folder.arms if not folder.is_comparison else ():
        if arm.cells[0].settings:
            section.add_text(arm.cells[0].settings, f"{arm.name}: all settings, defaults included")
    if folder.versions:
        section.add_text("\n".join(f"{name} {version}" for name, version in folder.versions.items()), "Versions")
    return section
