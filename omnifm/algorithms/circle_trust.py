"""Whether a circle is of use to its members, told from how much of it they accept; one that is not divides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

DECAY = 0.9
"""What an older report counts beside a new one."""
ENOUGH = 5.0
"""So much weight of reports a member must have, two comparisons of five rounds each, before a circle is judged."""
USEFUL, USELESS = 0.5, 0.25
"""A circle divides when its members accept less than half on average; a member leaves when it accepts less than ¼."""
_BEYOND, _SHARPEST = 1.5, 64.0

Affinity = Callable[[], Mapping[tuple[str, str], float]]


@dataclass(frozen=True)
class Trust:
    """How much clients have ``accepted`` of what they received, and how ``sharp`` their likeness is looked at.

    ``accepted`` holds for each client a sum of shares and their weight. The affinity of two clients is raised to the
    larger of their powers in ``sharp`` (1, if a client is not there): after a circle has proved useless, only those of
    its members who are much more alike stay together.
    """

    accepted: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sharp: Mapping[str, float] = field(default_factory=dict)

    def with_reports(self, shares: Mapping[str, float]) -> Trust:
        """Return it after a round in which members of circles reported these shares."""
        after = dict(self.accepted)
        for client, share in shares.items():
            total, weight = after.get(client, (0.0, 0.0))
            after[client] = (DECAY * total + share, DECAY * weight + 1.0)
        return replace(self, accepted=after)

    def judged(self, members: Sequence[str], affinity: Affinity, alike: float) -> Trust:
        """Return it after a look at one circle.

        Args:
            members: of the circle.
            affinity: returns that of pairs of them, not sharpened; it is asked for only if somebody leaves.
            alike: the affinity from which clients are a circle.
        """
        known = {name: self.accepted[name] for name in members if self.accepted.get(name, (0, 0))[1] >= ENOUGH}
        if len(known) < len(members) / 2:
            return self
        mean = {name: total / weight for name, (total, weight) in known.items()}
        useless = sum(mean.values()) / len(mean) < USEFUL
        leaving = members if useless else [name for name, share in mean.items() if share < USELESS]
        if not leaving:
            return self
        sharp, pairs = dict(self.sharp), affinity()
        for name in leaving:
            own = [value for pair, value in pairs.items() if name in pair]
            near = sum(own) / len(own) if own else 1.0
            power = _BEYOND * math.log(alike) / math.log(near) if 0 < near < 1 else _SHARPEST
            sharp[name] = min(_SHARPEST, max(power, self.sharp.get(name, 1.0)))
        accepted = {name: value for name, value in self.accepted.items() if name not in leaving}
        return Trust(accepted, sharp)
