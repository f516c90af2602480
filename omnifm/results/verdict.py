"""What a run says, in plain words that its numbers bear: who gains by learning together, and how sure one can be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from omnifm.results.numerals import metric_name, number, signed
from omnifm.results.run_reader import ArmRecord, Run, mean

ALONE = "local"
POOLED = "centralised"


@dataclass(frozen=True)
class Verdict:
    """One sentence, and what must be known beside it."""

    headline: str
    remarks: list[str] = field(default_factory=list)


def alone(run: Run) -> ArmRecord | None:
    """Return the first finished arm in which every hospital trains on its own."""
    return next((arm for arm in run.finished if arm.algorithm == ALONE), None)


def best_arms(run: Run, point: str, arms: list[ArmRecord] | None = None) -> list[ArmRecord]:
    """Return the arms with the highest mean of the main metric, equal as it is shown."""
    metric = run.main_metric
    if metric is None:
        return []
    means = [(arm, mean(arm.scores(point, metric).values())) for arm in (run.finished if arms is None else arms)]
    evaluated = [(arm, round(value, run.places(metric))) for arm, value in means if value is not None]
    top = max((value for _, value in evaluated), default=None)
    return [arm for arm, value in evaluated if value == top]


def give_verdict(run: Run) -> Verdict:
    """Say which arm of learning together is best at the first point, and who gains by it over training alone."""
    waiting = [arm.name for arm in run.arms if not arm.finished]
    remarks = [f"Not finished, and so not judged: {', '.join(waiting)}."] if waiting else []
    remarks += [f"{arm.name} ended early, {arm.stopped}." for arm in run.finished if arm.stopped]
    metric = run.main_metric
    if metric is None:
        return Verdict("No arm is finished yet, so there is nothing to judge.", remarks)
    together = [arm for arm in run.finished if arm.algorithm not in (ALONE, POOLED)]
    best = best_arms(run, run.point, together)
    if not best:
        return Verdict("No finished arm lets the hospitals learn together: nothing can be said of joining.", remarks)
    return Verdict(
        _headline(run, best, len(together), metric),
        [*_gains(run, best[0], metric), *_personalised(run, together, metric), *remarks, _doubt(run, best[0], metric)],
    )


def _headline(run: Run, best: list[ArmRecord], arms: int, metric: str) -> str:
    score, decimals = mean(best[0].scores(run.point, metric).values()) or 0.0, run.places(metric)
    names = " and ".join(arm.name for arm in best)
    if arms == 1:
        place = f"{names} is the one arm that learns together"
    elif len(best) == 1:
        place = f"{names} is the best of {arms} arms that learn together"
    else:
        place = f"{names} are equal, the best of {arms} arms that learn together"
    text = f"{place}: mean test {metric_name(metric)} {number(score, decimals)} {run.points[run.point]}"
    local = alone(run)
    own = local.scores(run.point, metric) if local else {}
    change = mean(value - own[client] for client, value in best[0].scores(run.point, metric).items() if client in own)
    if local is None or change is None:
        return f"{text}."
    apart = number(abs(change), decimals)
    side = f"{apart} {'above' if change > 0 else 'below'}" if float(apart) else "equal to"
    return f"{text}, {side} hospitals on their own ({local.name})."


def _gains(run: Run, best: ArmRecord, metric: str) -> list[str]:
    """Count who gains and who loses by joining."""
    local = alone(run)
    if local is None:
        return ["No finished arm trains each hospital alone, so what joining is worth cannot be told."]
    own, joined = local.scores(run.point, metric), best.scores(run.point, metric)
    gains = {client: round(joined[client] - own[client], 6) for client in joined if client in own}
    return [count_gains(best.name, gains, run.places(metric))]


def count_gains(arm: str, gains: Mapping[str, float], decimals: int = 3) -> str:
    """Count the hospitals that gain and lose by joining an arm."""
    if not gains:
        return "No hospital has this score both alone and together."
    up, down = sum(g > 0 for g in gains.values()), sum(g < 0 for g in gains.values())
    counts = [f"{up} gain{'s' if up == 1 else ''}", f"{down} lose{'s' if down == 1 else ''}"]
    if same := len(gains) - up - down:
        counts.append(f"{same} stay{'s' if same == 1 else ''} the same")
    hospitals = f"{len(gains)} hospital{'s' if len(gains) != 1 else ''}"
    text = f"Of {hospitals} that join {arm}, {', '.join(counts[:-1])} and {counts[-1]}"
    high, low = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    ends = [f"{high} gains most ({signed(gains[high], decimals)})"] if gains[high] > 0 else []
    ends += [f"{low} loses most ({signed(gains[low], decimals)})"] if gains[low] < 0 else []
    return f"{text}{'; ' if ends else ''}{', '.join(ends)}."


def _personalised(run: Run, together: list[ArmRecord], metric: str) -> list[str]:
    best = best_arms(run, "after_local_training", together)
    if not best or run.point == "after_local_training":
        return []
    score, decimals = mean(best[0].scores("after_local_training", metric).values()) or 0.0, run.places(metric)
    local = alone(run)
    own = mean(local.scores("after_local_training", metric).values()) if local else None
    against = f" ({signed(score - own, decimals)} to {local.name})" if local and own is not None else ""
    names = ", ".join(arm.name for arm in best)
    return [f"Personalised, the best of them reaches {number(score, decimals)}{against}: {names}."]


def _doubt(run: Run, best: ArmRecord, metric: str) -> str:
    """Say what one run cannot tell."""
    seeds = run.seeds
    one = "This is one run with one seed" if len(seeds) == 1 else f"Each arm is one run (seeds {seeds})"
    text = f"{one}: it cannot tell small differences from luck; repeat it with other seeds before believing them."
    sizes = [holds.get("test", 0) for holds in run.clients.values()]
    score = mean(best.scores(run.point, metric).values())
    if metric == "accuracy" and sizes and min(sizes) > 0 and score is not None and 0 < score < 1:
        swing = 1.96 * math.sqrt(score * (1 - score) / min(sizes))
        text += (
            f" The choice of test images alone moves one hospital's accuracy by about ±{swing:.2f} "
            f"(95 %, {min(sizes)} images in the smallest test set)."
        )
    if len(run.finished) > 1:
        text += " The best arm is picked by these same test scores, which flatters it a little."
    return text
