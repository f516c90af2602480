"""How an algorithm is built that is more than its own settings: on another one, or with settings of other sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from omnifm.algorithms.aggregation.aggregator import Aggregator
from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.algorithms.algorithm import Algorithm
from omnifm.spectral.bank import BankSettings
from omnifm.utils.errors import ExperimentError, did_you_mean


@dataclass(frozen=True)
class BuildContext:
    """What an experiment offers: the checked settings of all ``sections`` by name, ``[bank]`` and the aggregator."""

    sections: Mapping[str, Any]
    bank: BankSettings = field(default_factory=BankSettings)
    aggregator: Aggregator = field(default_factory=WeightedMean)

    def base(self, name: str, key: str) -> Algorithm:
        """Return the algorithm of this name to build upon; ``key`` is the setting that names it.

        Raises:
            ExperimentError: it is none, or itself composed, or pools all data.
        """
        bases = {own: made for own, made in self.sections.items() if isinstance(made, Algorithm)}
        bases = {own: made for own, made in bases.items() if not made.pools_data}
        if name not in bases:
            raise ExperimentError(f"{key} = {name!r} is no algorithm to build upon. {did_you_mean(name, bases)}")
        return bases[name].with_aggregator(self.aggregator)


class Composed(Protocol):
    """Settings that are not the algorithm itself but build it.

    If they name an algorithm to build upon, the field is called ``base``: a client's policy looks there.
    """

    def build(self, context: BuildContext) -> Algorithm:
        """Return the algorithm."""
        ...
