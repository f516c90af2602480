"""What a comparison says, in plain words that its numbers bear."""

from __future__ import annotations

import math
from collections.abc import Sequence

from omnifm.results.comparison.columns import SURE
from omnifm.results.comparison.numbers import Pairs, Summary
from omnifm.results.comparison.paired import Paired
from omnifm.results.comparison.reader import ComparedArm
from omnifm.results.numerals import metric_name, number, signed
from omnifm.results.verdict import ALONE, Verdict, count_gains


def judge(summary: Summary) -> Verdict:
    """Say whether anything beats hospitals on their own, which arm is best, and who loses."""
    failed = [arm.name for arm in summary.comparison.arms if arm not in summary.comparison.played]
    remarks = [f"Without a result, and so not judged: {', '.join(failed)}."] if failed else []
    if not summary.together and summary.sweeps:
        return Verdict("This comparison varies settings: it is there to look at, and judges no arm.", remarks)
    if not summary.together:
        return Verdict("No arm that lets hospitals learn together has a result: there is nothing to judge.", remarks)
    first, *others = summary.comparison.points
    return Verdict(
        _over_local(summary, first),
        [
            *(_over_local(summary, point) for point in others if ALONE in summary.gains),
            _best(summary),
            *_hospitals(summary),
            *_clearly(summary, summary.gains.get(ALONE, {}), f"hospitals on their own ({ALONE})", summary.together),
            *_anchor(summary),
            *remarks,
            _doubt(summary),
        ],
    )


def _over_local(summary: Summary, point: str) -> str:
    """Say whether learning together beats staying alone."""
    text = summary.comparison.points[point].capitalize()
    gains = [(arm, pair) for arm in summary.together if (pair := _gain(summary, arm, point))]
    if not gains:
        return f"Whether joining beats staying alone cannot be told: {ALONE} has no result."
    sign, decimals = -1 if summary.lower else 1, summary.places
    gains.sort(key=lambda found: -sign * found[1].difference)
    sure = [(arm, pair) for arm, pair in gains if _sure(pair) and sign * pair.difference > 0]
    if sure:
        told = [f"{arm.name} ({_told(pair, decimals)})" for arm, pair in sure]
        return f"{text}, {_and(told)} clearly beat{'s' if len(told) == 1 else ''} hospitals on their own ({ALONE})."
    arm, pair = gains[0]
    if sign * pair.difference <= summary.least:
        nearest = f"{arm.name} comes nearest ({_told(pair, decimals)})"
        return f"{text}, no arm beats hospitals on their own ({ALONE}): {nearest}."
    ahead = sum(sign * pair.difference > summary.least for _, pair in gains)
    return (
        f"{text}, no arm is shown to beat hospitals on their own ({ALONE}): {ahead} of {len(gains)} "
        f"{'lies' if ahead == 1 else 'lie'} above, none clearly; most of all {arm.name} ({_told(pair, decimals)})."
    )


def _best(summary: Summary) -> str:
    """Name the best at each evaluation point."""
    told = []
    for point, name in summary.comparison.points.items():
        ranked = _ranked(summary, point)
        if ranked:
            top, spread = number(ranked[0][1], summary.places), summary.score(ranked[0][0], point).spread
            names = [arm.name for arm, value in ranked if number(value, summary.places) == top]
            doubt = f" ± {number(spread, summary.places)}" if spread is not None else ""
            told.append(f"{name} {_and(names)}, {top}{doubt}")
    count, metric = len(summary.together), metric_name(summary.comparison.metric)
    which = (
        f"Best test {metric} of {count} arms that learn together" if count > 1 else "The one arm that learns together"
    )
    return f"{which}: {'; '.join(told)}."


def _hospitals(summary: Summary) -> list[str]:
    """Count who gains and who loses by joining the best arm."""
    ranked = _ranked(summary, summary.comparison.point)
    base = next((arm for arm in summary.rows if arm.name == ALONE and ALONE in summary.gains), None)
    if base is None or not ranked:
        return []
    best, sign = ranked[0][0], -1 if summary.lower else 1
    pairs = zip(
        summary.comparison.clients,
        summary.by_hospital(best, summary.comparison.point),
        summary.by_hospital(base, summary.comparison.point),
        strict=True,
    )
    gains = {c: sign * round(a - b, 6) for c, a, b in pairs if a is not None and b is not None}
    return [count_gains(best.name, gains, summary.places)]


def _anchor(summary: Summary) -> list[str]:
    """Say what differs clearly from OmniFM, of the rivals and of its own pieces."""
    anchor = summary.anchor
    if anchor is None:
        return []
    rivals = [arm for arm in summary.together if arm is not anchor]
    pieces = [arm for arm in summary.comparison.played if arm.kind in ("ablation", "control")]
    told = []
    for arms, name in ((rivals, "that learn together"), (pieces, "that take a piece off or control for one")):
        if arms:
            found = _clearly(summary, summary.against_anchor, anchor.name, arms)
            told += found or [f"Other arms {name} ({len(arms)}): none can be told from {anchor.name}."]
    return told


def _clearly(summary: Summary, pairs: Pairs, base: str, arms: Sequence[ComparedArm]) -> list[str]:
    """Name the arms that differ from another clearly, and those that do so only before the correction of p."""
    told = []
    for point, text in summary.comparison.points.items():
        found: dict[str, list[str]] = {}
        for arm in arms:
            pair = pairs.get((arm.name, point))
            if pair is None or not (_sure(pair) or _apart(pair)):
                continue
            side = "better" if (pair.difference > 0) != summary.lower else "worse"
            how = f"Clearly {side} than {base}" if _sure(pair) else f"Likely {side} than {base}, not clearly"
            found.setdefault(how, []).append(arm.name)
        told += [f"{how}, {text}: {_and(names)}." for how, names in sorted(found.items())]
    return told


def _doubt(summary: Summary) -> str:
    """Say what so few seeds and hospitals cannot tell."""
    seeds, hospitals = len(summary.comparison.seeds), len(summary.comparison.clients)
    text = (
        "Clearly means: p below 0.05 by a bootstrap over seeds and hospitals, corrected by Holm for all comparisons; "
        "likely: the 95 % interval leaves out zero. "
    )
    if seeds == 1 and hospitals == 1:
        text += "With one seed and one hospital there is no interval: nothing here can be told from luck."
    elif seeds == 1:
        text += f"With one seed only the {hospitals} hospitals are resampled: the luck of the seed is in no interval."
    else:
        distinct = math.comb(2 * seeds - 1, seeds)
        text += f"{seeds} seeds have {distinct} distinct resamples, so intervals are rough; they are widened for it."
    return f"{text} The best arm is picked by these same test scores, which flatters it a little."


def _ranked(summary: Summary, point: str) -> list[tuple[ComparedArm, float]]:
    """Return the arms that learn together with their means, the best first."""
    means = [(arm, value) for arm in summary.together if (value := summary.score(arm, point).mean) is not None]
    return sorted(means, key=lambda pair: pair[1], reverse=not summary.lower)


def _gain(summary: Summary, arm: ComparedArm, point: str) -> Paired | None:
    return summary.gains.get(ALONE, {}).get((arm.name, point))


def _sure(pair: Paired) -> bool:
    return pair.holm is not None and pair.holm < SURE


def _apart(pair: Paired) -> bool:
    return pair.low is not None and pair.high is not None and (pair.low > 0 or pair.high < 0)


def _told(pair: Paired, decimals: int) -> str:
    text = signed(pair.difference, decimals)
    if pair.low is None or pair.high is None:
        return text
    return f"{text}, 95 % interval {signed(pair.low, decimals)} to {signed(pair.high, decimals)}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
