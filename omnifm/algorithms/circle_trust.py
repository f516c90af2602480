"""Whether a circle is useful, judged by how much of it its members accept; one that is not is divided."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

DECAY = 0.77
"""Weight of a comparison relative to the next one of the same client."""
ENOUGH, SURE = 1.7, 2.3
"""Total weight of comparisons before a circle is judged, and before a member leaves it: that of two and of three. On a
few dozen validation images they are noisy: fewer have divided circles of great use."""
USEFUL, USELESS = 0.4, 0.15
"""A circle divides if its members accept less than the first, on average and in the median: a few that say that they
accept nothing divide no circle of others. A member that accepts less than the second leaves it. Members of useful
circles accept ½ or more most of the time, and hardly anything in one of no use."""
_BEYOND, _SHARPEST = 1.5, 64.0

MeanAffinity = Callable[[], Mapping[str, float]]
"""Returns each member's mean affinity to the other members of its circle, where known."""


@dataclass(frozen=True)
class Trust:
    """How much clients ``accepted`` of what they received, and the powers, ``sharp``, of their affinities.

    ``accepted`` holds for each client the decayed sum of accepted shares and the sum of their weights. The affinity of
    two clients is raised to the larger of their powers (1 for a client not in ``sharp``): after a circle has proved
    useless, only members that are much more alike stay together.
    """

    accepted: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sharp: Mapping[str, float] = field(default_factory=dict)

    def with_reports(self, shares: Mapping[str, float]) -> Trust:
        """Return the trust after a round in which members of circles compared, and accepted these shares."""
        after = dict(self.accepted)
        for client, share in shares.items():
            total, weight = after.get(client, (0.0, 0.0))
            after[client] = (DECAY * total + share, DECAY * weight + 1.0)
        return replace(self, accepted=after)

    def of_those(self, stayed: Collection[str]) -> Trust:
        """Return the trust without what clients other than ``stayed`` accepted, which was of another circle."""
        return replace(self, accepted={name: value for name, value in self.accepted.items() if name in stayed})

    def judged(self, members: Sequence[str], affinity: MeanAffinity, alike: float) -> Trust:
        """Return the trust after judging one circle.

        Args:
            members: the circle's.
            affinity: called only if somebody leaves; not sharpened. For a member that it lacks, 1 is assumed.
            alike: the affinity from which clients form a circle.
        """
        known = {name: self.accepted[name] for name in members if self.accepted.get(name, (0, 0))[1] >= ENOUGH}
        if len(known) < len(members) / 2:
            return self
        mean = {name: total / weight for name, (total, weight) in known.items()}
        useless = max(sum(mean.values()) / len(mean), median(mean.values())) < USEFUL
        sure = {name for name, share in mean.items() if share < USELESS and known[name][1] >= SURE}
        leaving = set(members) if useless else sure
        if not leaving:
            return self
        sharp, affinities = dict(self.sharp), affinity()
        for name in filter(leaving.__contains__, members):
            near = affinities.get(name, 1.0)
            power = _BEYOND * math.log(alike) / math.log(near) if 0 < near < 1 else _SHARPEST
            sharp[name] = min(_SHARPEST, max(power, self.sharp.get(name, 1.0)))
        accepted = {name: value for name, value in self.accepted.items() if name not in leaving}
        return Trust(accepted, sharp)
