"""Circles: groups of similar clients, and how new circles descend from old ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from omnifm.data.client_stats import ClientStats

ALONE = -1
"""Stands for a circle's number if the client is in none."""
CircleSource = Literal["bank", "group", "off"]
"""What forms circles: evidence from the bank, the declared groups (mostly the modality), or nothing."""


@dataclass(frozen=True)
class Circles:
    """The circle ``of`` each client by name; others are alone. ``next`` is the number of the next new circle."""

    of: Mapping[str, int] = field(default_factory=dict)
    next: int = 0

    def circle(self, client: str) -> int:
        """Return a client's circle, or :data:`ALONE`."""
        return self.of.get(client, ALONE)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the circles, in order."""
        return sorted(set(self.of.values()))

    @property
    def members(self) -> dict[int, list[str]]:
        """The names of each circle's members."""
        members: dict[int, list[str]] = {number: [] for number in self.numbers}
        for client, number in self.of.items():
            members[number].append(client)
        return members

    @classmethod
    def of_groups(cls, clients: Sequence[ClientStats]) -> Circles:
        """Return one circle for each declared group of two or more clients; clients without data are alone."""
        members: dict[str, list[str]] = {}
        for client in (one for one in clients if one.train):
            members.setdefault(client.group, []).append(client.name)
        return cls().regrouped([names for names in members.values() if len(names) > 1])[0]

    def regrouped(self, groups: Sequence[Sequence[str]]) -> tuple[Circles, dict[int, dict[int, float]]]:
        """Return the circles of these groups, and for each the shares of the old circles in it (summing to 1).

        A group takes the number of the old circle that most of its members come from; where several claim a number, the
        one with the most members gets it. Members that were alone have no share.
        """
        sources = [Counter(number for name in names if (number := self.circle(name)) != ALONE) for names in groups]
        claims = sorted(
            ((count, -place, number) for place, source in enumerate(sources) for number, count in source.items()),
            reverse=True,
        )
        numbers: dict[int, int] = {}
        for _, place, number in claims:
            if -place not in numbers and number not in numbers.values():
                numbers[-place] = number
        next_number = self.next
        for place in range(len(groups)):
            if place not in numbers:
                numbers[place], next_number = next_number, next_number + 1
        of = {name: numbers[place] for place, names in enumerate(groups) for name in names}
        shares = {
            numbers[place]: {number: count / source.total() for number, count in source.items()}
            for place, source in enumerate(sources)
        }
        return replace(self, of=of, next=next_number), shares
