"""What was promised of OmniFM, and what a study's figures say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from evidence.figures import ALONE, ORACLE, OWN, POOLED, Estimate, Figures
from evidence.studies import Claims

from omnifm.results.formatting import signed


class Verdict(NamedTuple):
    """A claim, what was measured, and whether it holds; None if these seeds cannot tell."""

    claim: str
    measured: str
    holds: bool | None


def decide(claims: Claims, figures: Figures) -> Iterator[Verdict]:
    """Judge each claim by the means over seeds; what lacks a row is undecided."""
    for name, limit in claims.items():
        try:
            yield _JUDGES[name](figures, float(limit))
        except KeyError as missing:
            yield Verdict(name, f"no row {missing}", None)


def _over_local(figures: Figures, least: float) -> Verdict:
    return _over(figures, ALONE, "hospitals alone", least)


def _over_references(figures: Figures, least: float) -> Verdict:
    best = figures.best_reference or "reference"
    return _over(figures, best, f"the best reference, {best}", least)


def _under_groups(figures: Figures, most: float) -> Verdict:
    return _over(figures, ORACLE, "the declared groups", -most)


def _over(figures: Figures, base: str, what: str, least: float) -> Verdict:
    gain = figures.gain(OWN, base)
    claim = f"at least {signed(least)} from {what}"
    return Verdict(claim, shown(gain, figures), gain.mean >= least)


def _leads(figures: Figures, _: float) -> Verdict:
    rivals = {name: figures.gain(name, OWN) for name in figures.names if name not in (OWN, POOLED)}
    name, lead = max(rivals.items(), key=lambda rival: rival[1].mean)
    holds = True if lead.mean <= 0 else None if lead.error != lead.error else lead.mean <= lead.error
    return Verdict(
        "first, or within one standard error of the first, among all rows but pooled data",
        f"{name} is the best other row: {shown(lead, figures)} from OmniFM",
        holds,
    )


def _no_harm(figures: Figures, _: float) -> Verdict:
    gains = figures.gain_by_client(OWN)
    least = min(gains, key=lambda client: gains[client].mean)
    harmed = [client for client, gain in gains.items() if gain.mean < -gain.error]
    known = all(gain.error == gain.error for gain in gains.values())
    return Verdict(
        "no hospital below its own model by more than a standard error",
        f"{len(harmed)} of {len(gains)}; {least} gains least: {shown(gains[least], figures)}",
        not harmed if known else None,
    )


def _above_local(figures: Figures, _: float) -> Verdict:
    gain = figures.gain(OWN, ALONE)
    holds = gain.mean > 2 * gain.error if gain.error == gain.error else None
    return Verdict("above hospitals alone by more than two standard errors", shown(gain, figures), holds)


def shown(gain: Estimate, figures: Figures) -> str:
    """Return a gain with its standard error, if there is one."""
    text = signed(gain.mean, figures.found.decimals).removeprefix("±")
    return text if gain.error != gain.error else f"{text} ± {gain.error:.{figures.found.decimals}f}"


_JUDGES: dict[str, Callable[[Figures, float], Verdict]] = {
    "over_local": _over_local,
    "over_references": _over_references,
    "under_groups": _under_groups,
    "leads": _leads,
    "no_harm": _no_harm,
    "above_local": _above_local,
}
