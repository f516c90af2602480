"""The rules of ``[aggregation]`` by name. A new one is one file and one line here, or a registered class outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from omnifm.algorithms.aggregation.aggregator import Aggregator
from omnifm.algorithms.aggregation.centred_clipping import CentredClipping
from omnifm.algorithms.aggregation.geometric_median import GeometricMedian
from omnifm.algorithms.aggregation.krum import Krum, MultiKrum
from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.algorithms.aggregation.median import Median
from omnifm.algorithms.aggregation.trimmed_mean import TrimmedMean
from omnifm.utils.registration import class_decorator

Rule = TypeVar("Rule", bound=type[Aggregator])

AGGREGATORS: dict[str, type[Aggregator]] = {
    "mean": WeightedMean,
    "median": Median,
    "trimmed-mean": TrimmedMean,
    "krum": Krum,
    "multi-krum": MultiKrum,
    "centred-clipping": CentredClipping,
    "geometric-median": GeometricMedian,
}
"""The values of ``aggregation.rule``; the fields of each class are the other keys of ``[aggregation]``."""


def register_aggregator(name: str) -> Callable[[Rule], Rule]:
    """Return a class decorator that makes an aggregator known as ``aggregation.rule = name``.

    Raises:
        ValueError: (from the decorator) the name is taken, or the class is not a dataclass.
    """
    return class_decorator(AGGREGATORS, name, "Aggregator")


def make_aggregator(settings: Mapping[str, Any]) -> Aggregator:
    """Build an aggregator from ``[aggregation]`` of an experiment, which was checked."""
    return AGGREGATORS[settings["rule"]](**{key: value for key, value in settings.items() if key != "rule"})
