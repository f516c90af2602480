"""The answers that hospitals agree on before training, without showing each other a text of theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from omnifm.data.columns import read_texts
from omnifm.data.subset import Subset


def agreed_answers(hospitals: Sequence[Subset], patients: int) -> tuple[str, ...]:
    """Return, sorted, the answers that at least ``patients`` patients of one hospital's training data have.

    Each hospital finds such answers alone and shares only these: answers of a few patients stay there.
    """
    agreed: set[str] = set()
    for train in hospitals:
        bearers: dict[str, set[str]] = defaultdict(set)
        for answer, patient in zip(read_texts(train.column("answer")), train.patients, strict=True):
            bearers[answer].add(patient)
        agreed |= {answer for answer, of in bearers.items() if len(of) >= patients}
    return tuple(sorted(agreed))
