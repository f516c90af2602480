"""The claims about OmniFM, and whether a study's figures support them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from evidence.figures import ALONE, ORACLE, OWN, POOLED, Estimate, Figures
from evidence.studies import Claims

from omnifm.results.formatting import signed


class Verdict(NamedTuple):
    """A claim, the measurement, and whether it holds; None if these seeds cannot decide."""

    claim: str
    measured: str
    holds: bool | None


def decide(claims: Claims, figures: Figures) -> Iterator[Verdict]:
    """Decide each claim by the means over seeds; it stays open if a row is missing."""
    for name, limit in claims.items():
        try:
            yield _DECISIONS[name](figures, float(limit))
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
    return Verdict(claim, gain_text(gain, figures), gain.mean >= least)


def _leads(figures: Figures, _: float) -> Verdict:
    rivals = {name: figures.gain(name, OWN) for name in figures.names if name not in (OWN, POOLED)}
    name, lead = max(rivals.items(), key=lambda rival: rival[1].mean)
    holds = True if lead.mean <= 0 else None if lead.error != lead.error else lead.mean <= lead.error
    return Verdict(
        "first, or within one standard error of the first, among all rows but pooled data",
        f"{name} is the best other row: {gain_text(lead, figures)} from OmniFM",
        holds,
    )


def _no_harm(figures: Figures, _: float) -> Verdict:
    gains = figures.gain_by_client(OWN)
    least = min(gains, key=lambda client: gains[client].mean)
    harmed = [client for client, gain in gains.items() if gain.mean < -gain.error]
    known = all(gain.error == gain.error for gain in gains.values())
    return Verdict(
        "no hospital below its own model by more than a standard error",
        f"{len(harmed)} of {len(gains)}; {least} gains least: {gain_text(gains[least], figures)}",
        not harmed if known else None,
    )


def _above_local(figures: Figures, _: float) -> Verdict:
    gain = figures.gain(OWN, ALONE)
    holds = gain.mean > 2 * gain.error if gain.error == gain.error else None
    return Verdict("above hospitals alone by more than two standard errors", gain_text(gain, figures), holds)


def gain_text(gain: Estimate, figures: Figures) -> str:
    """Return a gain with its standard error, if known."""
    text = signed(gain.mean, figures.findings.decimals).removeprefix("±")
    return text if gain.error != gain.error else f"{text} ± {gain.error:.{figures.findings.decimals}f}"


_DECISIONS: dict[str, Callable[[Figures, float], Verdict]] = {
    "over_local": _over_local,
    "over_references": _over_references,
    "under_groups": _under_groups,
    "leads": _leads,
    "no_harm": _no_harm,
    "above_local": _above_local,
}
