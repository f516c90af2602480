"""What the index says of each finished study, kept beside the pages: studies may be run on different machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evidence.claims import decide, gain_text
from evidence.figures import ALONE, ORACLE, OWN, POOLED, Figures
from evidence.studies import Study

from omnifm.results.formatting import MISSING, metric_title, number, with_spread

HEAD = ["metric", *(f"`{name}`" for name in (ALONE, OWN, ORACLE)), "best reference", f"`{POOLED}`"]
HEAD += ["gained by joining", "claims that hold"]


class Outcome(NamedTuple):
    """The ``command`` that was run, its cells in the index, as in ``HEAD``, and the mean and spread of each row."""

    command: str
    cells: list[str]
    scores: dict[str, str]

    @classmethod
    def of(cls, study: Study, figures: Figures, root: Path) -> Outcome:
        """Return that of a finished study."""
        means, best, decimals = figures.scores["mean"], figures.best_reference, figures.findings.decimals
        verdicts = list(decide(study.claims, figures))
        cells = [
            metric_title(figures.findings.metric),
            *(number(means.get(name), decimals) for name in (ALONE, OWN, ORACLE)),
            f"{number(means.get(best), decimals)} (`{best}`)" if best else MISSING,
            number(means.get(POOLED), decimals),
            gain_text(figures.gain(OWN, ALONE), figures) if {OWN, ALONE} <= set(figures.names) else MISSING,
            f"{sum(verdict.holds is True for verdict in verdicts)} of {len(verdicts)}" if verdicts else MISSING,
        ]
        lines = figures.scores.loc[figures.names]
        return cls(
            study.command(root),
            cells,
            {str(row): with_spread(line["mean"], line["spread"], decimals) for row, line in lines.iterrows()},
        )


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """Return the outcomes of a file by study; none if it is not there."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: Outcome(**one) for name, one in found.items()}


def outcomes_text(outcomes: Mapping[str, Outcome]) -> str:
    """Return the text of a file of outcomes."""
    return json.dumps({name: one._asdict() for name, one in outcomes.items()}, indent=1, ensure_ascii=False) + "\n"
