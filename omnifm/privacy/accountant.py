"""How much privacy several Gaussian mechanisms cost together, by privacy loss distributions.

The distributions and their composition are dp-accounting's (Koskela, Jälkö and Honkela, AISTATS 2020; Doroshenko et
al., PETS 2022): an upper bound, tight to about a thousandth. Two data sets are neighbours if one has one patient more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from omnifm.privacy.settings import LEAST_NOISE
from omnifm.utils.errors import ExperimentError

_GRID = 1e-3
"""The grid of privacy losses: rounded upwards, so that a coarser one only reports more."""
_MOST, _PRECISION = 1e4, 1e-3
"""The largest noise multiplier that calibration looks at, and how near it comes."""


class Charge(NamedTuple):
    """``times`` releases of a Gaussian mechanism, in each of which a patient is with the probability ``sampling``.

    ``noise`` is the standard deviation of the noise in units of the most that one patient contributes.
    """

    noise: float
    sampling: float = 1.0
    times: int = 1


def epsilon_of(charges: Iterable[Charge], delta: float) -> float:
    """Return the epsilon that all charges together cost at ``delta``; 0 for none.

    Raises:
        ExperimentError: dp-accounting is not installed.
    """
    found = Counter[tuple[float, float]]()
    for charge in charges:
        found[charge.noise, charge.sampling] += charge.times
    return _epsilon(tuple(sorted((*key, count) for key, count in found.items() if count)), delta)


def calibrated_noise(epsilon: float, delta: float, sampling: float, count: int, others: Iterable[Charge] = ()) -> float:
    """Return the least noise, to a thousandth, with which ``count`` sampled releases and ``others`` cost ``epsilon``.

    Raises:
        ExperimentError: no noise is enough, or dp-accounting is not installed.
    """
    others = tuple(others)

    def fits(noise: float) -> bool:
        return epsilon_of([Charge(noise, sampling, count), *others], delta) <= epsilon

    low, high = LEAST_NOISE, 1.0
    while not fits(high):
        low, high = high, 2 * high
        if high > _MOST:
            raise ExperimentError(
                f"privacy.epsilon = {epsilon:g} cannot be met with {count} training steps: raise it, or lower "
                f"federation.rounds, training.epochs or privacy.sampling."
            )
    while high > (1 + _PRECISION) * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Return the mu of which one release with the noise 1 / mu costs ``epsilon`` at ``delta``.

    The squares of the mu of several Gaussian releases add up (Dong, Roth and Su, Gaussian Differential Privacy, 2022).
    """
    return 1.0 / float(_library().get_sigma_gaussian(epsilon, delta))


@lru_cache(maxsize=4096)
def _epsilon(charges: tuple[tuple[float, float, int], ...], delta: float) -> float:
    squares = sum(count / noise**2 for noise, sampling, count in charges if sampling == 1.0)
    sampled = [charge for charge in charges if charge[1] < 1.0]
    if not sampled:
        return float(_library().get_epsilon_gaussian(1 / math.sqrt(squares), delta)) if squares else 0.0
    parts = [_distribution(noise, sampling).self_compose(count) for noise, sampling, count in sampled]
    if squares:
        parts.append(_distribution(1 / math.sqrt(squares), 1.0))
    total = parts[0]
    for part in parts[1:]:
        total = total.compose(part)
    return float(total.get_epsilon_for_delta(delta))


def _distribution(noise: float, sampling: float) -> Any:
    distributions = _library().pld.privacy_loss_distribution
    return distributions.from_gaussian_mechanism(noise, value_discretization_interval=_GRID, sampling_prob=sampling)


def _library() -> Any:
    try:
        import dp_accounting
    except ImportError:
        raise ExperimentError(
            "[privacy] epsilon and noise_multiplier need dp-accounting: pip install 'omnifm[privacy]'."
        ) from None
    return dp_accounting
