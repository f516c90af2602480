"""Which guarantee an experiment gives to a patient, for the page of ``omnifm privacy show``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

from omnifm.deploy.privacy_words import NO_PRIVACY, NO_PROMISE, PRIVACY, PROMISE, SEEN_ALONE
from omnifm.engines.flower.disclosure import Disclosure


def guarantee(found: Disclosure) -> Iterator[str]:
    """Yield in plain words what an arm's privacy settings promise to a patient, and what they do not."""
    plan, values = found.arm.runtime.privacy, asdict(found.arm.experiment.privacy)
    if plan:
        epsilon = plan.budget.epsilon
        promised = {"epsilon": epsilon, "delta": plan.budget.delta, "factor": math.exp(epsilon)}
        yield from (line.format_map(promised) for line in PROMISE)
    keys = [key for key, value in values.items() if value and (plan or key in ("clip", "secure_aggregation"))]
    yield from (PRIVACY[key].format_map(values) for key in keys if PRIVACY[key])
    if not plan and not values["clip"]:
        yield "Uploads are not clipped ([privacy] clip = 0)."
    if not values["secure_aggregation"]:
        yield SEEN_ALONE
    yield from NO_PROMISE if plan else NO_PRIVACY
