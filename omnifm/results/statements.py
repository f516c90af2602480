"""The sentences above the tables: which arm is best, what joining gains, and what these numbers cannot show."""

from __future__ import annotations

import math

from omnifm.results.findings import Findings
from omnifm.results.formatting import metric_name, number, with_interval, with_spread
from omnifm.results.result_folder import ArmRecord
from omnifm.utils.words import joined


def statements(found: Findings) -> list[str]:
    """Return one sentence for each evaluation point, then who learned with whom, what is missing, and the limits."""
    missing = [arm.name for arm in found.folder.arms if arm not in found.folder.finished]
    notes = [f"Without results so far: {joined(missing)}."] if missing else []
    if not found.federated:
        reason = "No arm that trains clients together has results: nothing can be ranked."
        return ["Sweeps are shown but not ranked." if found.sweeps else reason, *notes]
    texts = [_best(found, point, name) for point, name in found.folder.points.items()]
    circles = [sentence for arm, sentence in found.circle_sentences.items() if arm == found.anchor]
    return [*filter(None, texts), *circles, *notes, _limits(found)]


def leaders(found: Findings, point: str) -> list[ArmRecord]:
    """Return the federated arms with the best mean at an evaluation point, equal as it is shown."""
    means = {
        arm.name: round(float(found.scores.loc[(arm.name, point), "mean"]), found.decimals)
        for arm in found.federated
        if (arm.name, point) in found.scores.index
    }
    best = (min if found.lower else max)(means.values(), default=None)
    return [arm for arm in found.federated if arm.name in means and means[arm.name] == best]


def _best(found: Findings, point: str, name: str) -> str:
    best = leaders(found, point)
    if not best:
        return ""
    row = found.scores.loc[(best[0].name, point)]
    arms, score = joined(arm.name for arm in best), with_spread(row["mean"], row["spread"], found.decimals)
    metric, count = f"mean test {metric_name(found.metric)}", len(found.federated)
    text = f"{arms} {'has' if len(best) == 1 else 'share'} the best {metric} of {count} federated arms: {score}"
    if count == 1:
        text = f"{arms}, the only federated arm, has a {metric} of {score}"
    text = f"{name.capitalize()}, {text}"
    base = next(iter(found.baselines), None)
    if base is None or base not in found.comparisons or (best[0].name, point) not in found.comparisons[base].index:
        return f"{text}. No arm trains each hospital alone, so what joining gains is unknown."
    gain = found.comparisons[base].loc[(best[0].name, point)]
    interval = with_interval(gain["difference"], gain["low"], gain["high"], found.decimals)
    clients = f"{gain['better']} of {len(found.folder.clients)} hospitals gain and {gain['worse']} lose"
    return f"{text}; {interval} compared with hospitals training alone ({base}), {gain['verdict']}: {clients}."


def _limits(found: Findings) -> str:
    """Return what so few seeds, clients and test images cannot show."""
    seeds, clients = len(found.folder.seeds), len(found.folder.clients)
    if seeds == 1 and clients == 1:
        text = "With one seed and one hospital there is no interval: any difference can be chance."
    elif seeds == 1:
        text = (
            f"With one seed, intervals cover the choice of the {clients} hospitals but not the randomness of training."
        )
    else:
        count = math.comb(2 * seeds - 1, seeds)
        text = (
            f"{seeds} seeds have {count} distinct resamples, so intervals are rough; they are widened to allow for it."
        )
    sizes = [holds.get("test", 0) for holds in found.folder.clients.values()]
    score = found.scores["mean"].max()
    if found.metric == "accuracy" and min(sizes, default=0) > 0 and 0 < score < 1:
        swing = number(1.96 * math.sqrt(score * (1 - score) / min(sizes)), 2)
        text += f" The {min(sizes)} images of the smallest test set alone move its accuracy by about ±{swing} (95 %)."
    return f"{text} The best arm is chosen by these same test scores, which flatters it slightly."
