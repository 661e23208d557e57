"""Distances between two distributions, each beside SciPy's or the book's definition."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]
PSI_FLOOR = 1e-4  # share of an empty bin; PSI takes logarithms of both
LEAST_STD = 1e-3  # a constant column has no spread to measure in; this one is Evidently 0.7's


def jensen_shannon(one: Shares, two: Shares) -> Shares:
    """Return the Jensen-Shannon distance, base 2, in [0, 1]; 0 is equal.

    Args:
        one: shares, shape (..., k), summing to 1 along the last axis.
        two: shares of the same shape.

    Source:
        Lin (1991), IEEE Transactions on Information Theory 37(1), the square root of its
        divergence, as scipy.spatial.distance.jensenshannon(base=2).
    """
    middle = (one + two) / 2
    divergence = (_relative_entropy(one, middle) + _relative_entropy(two, middle)) / 2
    result: Shares = np.sqrt(np.maximum(divergence, 0.0))
    return result


def psi(one: Shares, two: Shares) -> Shares:
    """Return the population stability index, at least 0; 0 is equal.

    Source:
        Siddiqi (2006), Credit Risk Scorecards, chapter 8; empty bins count as 1e-4.
    """
    before, after = np.maximum(one, PSI_FLOOR), np.maximum(two, PSI_FLOOR)
    result: Shares = ((after - before) * np.log(after / before)).sum(axis=-1)
    return result


def wasserstein(one: Shares, two: Shares, places: Shares) -> float:
    """Return the first Wasserstein distance in standard deviations of ``one``; 0 is equal.

    Args:
        one: shares, shape (k,).
        two: shares of the same shape.
        places: shape (k,), where on the axis each share lies, ascending.

    Source:
        The area between the cumulative shares (Vallender 1974), as
        scipy.stats.wasserstein_distance.
    """
    apart = np.abs(np.cumsum(one - two)[:-1])
    return float((apart * np.diff(places)).sum()) / spread(one, places)


def spread(shares: Shares, places: Shares) -> float:
    """Return the standard deviation, at least 0.001: a constant column has none."""
    mean = float((shares * places).sum())
    return max(float(np.sqrt((shares * (places - mean) ** 2).sum())), LEAST_STD)


OF_SHARES: Mapping[str, Callable[[Shares, Shares], Shares]] = {
    "jensen_shannon": jensen_shannon,
    "psi": psi,
}


def _relative_entropy(one: Shares, two: Shares) -> Shares:
    positive = one > 0
    ratio = np.divide(one, two, out=np.ones_like(one), where=positive)
    result: Shares = (one * np.log2(ratio)).sum(axis=-1)
    return result
