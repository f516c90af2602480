"""Paired comparison of two arms over seeds and clients, with an interval that stays honest where both are few.

The pairs are not independent: the clients of one seed share one federation, and a client recurs in every seed. A
test that treats 3 x 5 pairs as fifteen independent ones (Wilcoxon's) claims far too much. So seeds and clients are
resampled, each with replacement and crossed (the pigeonhole bootstrap, Owen 2007), and the spread of the mean
difference over the resamples is its standard error.

Three seeds have ten distinct resamples, and resampling n units understates their variance by (n - 1) / n. Uncorrected,
an interval meant to miss one time in twenty misses one time in six where five clients differ, and one in four where
three seeds do. It is therefore widened by that factor, and by Student's t in place of the normal, with degrees of
freedom from the two variances (Satterthwaite). It then misses at most about one time in sixteen from three seeds on,
and far less where most of the spread is noise; ``tests/results/test_paired.py`` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

Matrix = npt.NDArray[np.float64]
"""Numbers of seeds by clients; NaN where there is none."""

RESAMPLES = 10_000
_SMALLEST = 1 / (RESAMPLES + 1)
_LEVEL = 0.95
_NORMAL = 1.959964


class Paired(NamedTuple):
    """A mean difference, its 95 % interval and two-sided p; the last three are NaN where there is one pair only."""

    difference: float
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan


def compare_pairs(differences: Matrix) -> Paired:
    """Test paired differences, seeds by clients; NaN where a pair is missing, and all NaN without any pair.

    With one seed only the clients are resampled, and with one client only the seeds.
    """
    there = ~np.isnan(differences)
    pairs = differences[there.any(axis=1)][:, there.any(axis=0)]
    if not pairs.size:
        return Paired(np.nan)
    difference = float(np.nanmean(pairs))
    if pairs.size == 1:
        return Paired(difference)
    if np.ptp(pairs[~np.isnan(pairs)]) < 1e-12:
        return Paired(difference, difference, difference, 1.0 if abs(difference) < 1e-12 else _SMALLEST)
    widening, freedom = _widening(pairs)
    around = widening * (_resampled_means(pairs) - difference)
    error = float(around.std())
    p = max(2 * float(stdtr(freedom, -abs(difference) / error)), _SMALLEST)
    student = float(stdtrit(freedom, (1 + _LEVEL) / 2)) / _NORMAL
    low, high = difference + student * np.quantile(around, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Paired(difference, float(low), float(high), p)


def holm(values: Sequence[float]) -> list[float]:
    """Return the p of several comparisons, corrected by Holm's method so that one false claim among all is rare."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, running = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        running = max(running, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = running
    return corrected


def _resampled_means(pairs: Matrix) -> Matrix:
    """Return the mean of each crossed resample of rows and columns; resamples without a single pair are left out."""
    generator = np.random.default_rng(0)
    rows, columns = pairs.shape
    row_counts = generator.multinomial(rows, [1 / rows] * rows, size=RESAMPLES)
    column_counts = generator.multinomial(columns, [1 / columns] * columns, size=RESAMPLES)
    there = ~np.isnan(pairs)
    sums = ((row_counts @ np.where(there, pairs, 0.0)) * column_counts).sum(axis=1)
    weights = ((row_counts @ there.astype(float)) * column_counts).sum(axis=1)
    kept: Matrix = sums[weights > 0] / weights[weights > 0]
    return kept


def _widening(pairs: Matrix) -> tuple[float, float]:
    """Return the factor that undoes the bootstrap's narrowness, and the degrees of freedom."""
    means = [np.nanmean(pairs, axis=axis) for axis in (0, 1) if pairs.shape[1 - axis] > 1]
    counts = np.array([len(values) for values in means])
    variances = np.array([values.var() / len(values) for values in means])
    if variances.sum() < 1e-20:  # equal means of different pairs: no telling which of the two varies
        variances = np.ones(len(means))
    corrected = variances * counts / (counts - 1)
    freedom = corrected.sum() ** 2 / (corrected**2 / (counts - 1)).sum()
    return float((corrected.sum() / variances.sum()) ** 0.5), float(freedom)
