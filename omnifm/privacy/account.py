"""What has left a client, written down before it leaves: so that a budget that is spent stays spent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from omnifm.privacy.accountant import Charge
from omnifm.privacy.budget import PrivacyBudget, highest_epsilon
from omnifm.training.private import COUNTS, Release
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import CheckpointError, PrivacyBudgetError
from omnifm.utils.lock import exclusively

_SLACK = 1 + 1e-6
_Entry = tuple[str, str, Release, Charge]
"""The arm of a run, the digest of what the release was computed from, what was released, and what it costs."""
_Entries = TypeAdapter(list[_Entry])


@dataclass(frozen=True)
class EpsilonLimit:
    """What all runs together may cost a patient of a hospital, for good."""

    epsilon: float
    delta: float


@dataclass
class PrivacyAccount:
    """Every release of a client, in the file ``path`` (None: in memory).

    The same release again, computed from the same with the same secret, is the same to the last bit, and costs nothing.
    So does a number of patients that another arm has told with the same noise.
    ``limit`` bounds the releases of all arms that the file holds.
    """

    path: Path | None = None
    limit: EpsilonLimit | None = None
    _memory: list[_Entry] = field(default_factory=list)

    def claim(self, arm: str, key: str, releases: Mapping[Release, int], budget: PrivacyBudget) -> None:
        """Write down releases, so many of each, computed from what ``key`` names; before they are made.

        With an arm's first one, the whole ``budget`` of the arm must fit into what the limit leaves.

        Raises:
            PrivacyBudgetError: the arm's budget or the limit would be exceeded; nothing is written down.
            CheckpointError: the file is damaged, or cannot be read or written: nothing may leave then.
        """
        with self._opened() as entries:
            known = {(arm, key, release) for arm, key, release, _ in entries}
            new = [
                (arm, key, release, budget.one(release)._replace(times=budget.one(release).times * count))
                for release, count in releases.items()
                if (arm, key, release) not in known
            ]
            if not new:
                return
            self._check_arm(arm, entries + new, budget)
            self._check_limit(arm, entries, new, budget)
            entries += new
            self._write(entries)

    def spent(self, delta: float, arm: str | None = None) -> float:
        """Return what an arm, or all of them, have cost a patient so far."""
        with self._opened() as entries:
            return _epsilon_of(entries, delta, arm)

    @staticmethod
    def _check_arm(arm: str, entries: list[_Entry], budget: PrivacyBudget) -> None:
        counts = Counter[Release]()
        for other, _, release, charge in entries:
            if other == arm:
                counts[release] += charge.times
        for release, count in counts.items():
            if count > (most := budget.charges[release].times):
                raise PrivacyBudgetError(
                    f"The privacy budget of the run is spent: {count} releases of {release} are more than the {most} "
                    f"that epsilon = {budget.epsilon:.3g} allows."
                )

    def _check_limit(self, arm: str, entries: list[_Entry], new: list[_Entry], budget: PrivacyBudget) -> None:
        if self.limit is None:
            return
        first = all(other != arm for other, *_ in entries)
        told = {(release, charge) for _, _, release, charge in entries if release in COUNTS}
        planned: list[_Entry] = [(arm, "", *one) for one in budget.charges.items() if one not in told]
        after = _epsilon_of([*entries, *(planned if first else new)], self.limit.delta)
        if after > self.limit.epsilon * _SLACK:
            before = _epsilon_of(entries, self.limit.delta)
            asked = f"the run costs {budget.epsilon:.3g}" if first else "another answer costs more"
            raise PrivacyBudgetError(
                f"The hospital's privacy budget does not allow it: epsilon {before:.3g} is spent, {asked}, and "
                f"together they are {after:.3g}, above policy.max_epsilon = {self.limit.epsilon:g}."
            )

    @contextmanager
    def _opened(self) -> Iterator[list[_Entry]]:
        if self.path is None:
            yield list(self._memory)
            return
        try:
            with exclusively(self.path.with_suffix(".lock")):
                yield _Entries.validate_json(self.path.read_bytes()) if self.path.exists() else []
        except OSError as error:
            raise CheckpointError(f"The privacy account {self.path} cannot be used: {error.strerror}.") from None
        except ValueError:
            raise CheckpointError(
                f"The privacy account {self.path} is damaged, and without it nobody knows what was spent. Restore it; "
                f"until then nothing leaves."
            ) from None

    def _write(self, entries: list[_Entry]) -> None:
        if self.path is None:
            self._memory[:] = entries
        else:
            write_atomically(self.path, json.dumps(entries).encode())


def _epsilon_of(entries: list[_Entry], delta: float, arm: str | None = None) -> float:
    found = [entry for entry in entries if arm in (None, entry[0])]
    counts = {(key, release, charge) for _, key, release, charge in found if release in COUNTS}
    costs = [(release, charge) for _, _, release, charge in found if release not in COUNTS]
    return highest_epsilon([*costs, *((release, charge) for _, release, charge in counts)], delta)
