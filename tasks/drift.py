"""How far a window has moved from the reference, and whether that can be judged at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.profiles import ColumnProfile, Profile

Shares = NDArray[np.float64]
Distance = Callable[[Shares, Shares, Shares], NDArray[np.float64]]

DRAWS = 400  # simulated pairs of windows without drift
QUANTILE = 0.99  # a distance is judged where at most 1 % of driftless windows would exceed it
PSI_FLOOR = 1e-4  # share of an empty bin; PSI takes logarithms of both


@dataclass(frozen=True)
class Judgement:
    """One distance of one column in one window."""

    column: str
    distance: str
    value: float
    threshold: float
    expected: float  # its mean without drift, at these numbers of rows
    noise: float  # its 99 % quantile without drift
    rows: int  # of the window
    verdict: str  # drift, no drift or not enough rows


def judge_window(
    reference: Profile, current: Profile, watch: Mapping[str, Mapping[str, float]]
) -> list[Judgement]:
    """Return a judgement for every watched distance.

    A distance is judged only where its 99 % quantile without drift, at these numbers of rows, is
    at most its threshold; otherwise the verdict is ``not enough rows``. The quantile comes from
    400 pairs of windows drawn from the reference itself, with a fixed seed.

    Source:
        docs/decisions/judging-drift.md.
    """
    return [
        _judge(column, name, threshold, reference.columns[column], current.columns[column])
        for column, distances in watch.items()
        for name, threshold in distances.items()
    ]


def _judge(
    column: str, name: str, threshold: float, reference: ColumnProfile, current: ColumnProfile
) -> Judgement:
    if current.rows == 0 or reference.rows == 0:
        return Judgement(column, name, 0.0, threshold, 0.0, 0.0, 0, "not enough rows")
    before, after, places = _align(reference, current)
    distance = DISTANCES[name]
    value = float(distance(before / before.sum(), after / after.sum(), places))
    random = np.random.default_rng(0)
    pooled = before / before.sum()
    drawn = [
        random.multinomial(rows, pooled, size=DRAWS) / rows
        for rows in (reference.rows, current.rows)
    ]
    quiet = distance(drawn[0], drawn[1], places)
    noise = float(np.quantile(quiet, QUANTILE))
    if noise > threshold:
        verdict = "not enough rows"
    else:
        verdict = "drift" if value >= threshold else "no drift"
    return Judgement(
        column, name, value, threshold, float(quiet.mean()), noise, current.rows, verdict
    )


def jensen_shannon(one: Shares, two: Shares, places: Shares) -> NDArray[np.float64]:
    """Return the Jensen-Shannon distance, base 2, in [0, 1]; 0 is equal.

    Args:
        one: shares, shape (..., k), summing to 1 along the last axis.
        two: shares of the same shape.
        places: unused; categories have no order.

    Source:
        Lin (1991), IEEE Transactions on Information Theory 37(1), the square root of its
        divergence, as scipy.spatial.distance.jensenshannon(base=2).
    """
    middle = (one + two) / 2
    divergence = (_relative_entropy(one, middle) + _relative_entropy(two, middle)) / 2
    result: NDArray[np.float64] = np.sqrt(np.maximum(divergence, 0.0))
    return result


def psi(one: Shares, two: Shares, places: Shares) -> NDArray[np.float64]:
    """Return the population stability index, at least 0; 0 is equal.

    Source:
        Siddiqi (2006), Credit Risk Scorecards, chapter 8; empty bins count as 1e-4.
    """
    before, after = np.maximum(one, PSI_FLOOR), np.maximum(two, PSI_FLOOR)
    result: NDArray[np.float64] = ((after - before) * np.log(after / before)).sum(axis=-1)
    return result


def wasserstein(one: Shares, two: Shares, places: Shares) -> NDArray[np.float64]:
    """Return the first Wasserstein distance in standard deviations of ``one``; 0 is equal.

    Args:
        one: shares, shape (..., k).
        two: shares of the same shape.
        places: shape (k,), where on the axis each share lies, ascending.

    Source:
        The area between the cumulative shares (Vallender 1974), as
        scipy.stats.wasserstein_distance.
    """
    gaps = np.diff(places)
    apart = np.abs(np.cumsum(one - two, axis=-1)[..., :-1])
    mean = (one * places).sum(axis=-1, keepdims=True)
    std = np.sqrt((one * (places - mean) ** 2).sum(axis=-1))
    # A constant column has no spread to measure in; its own units stand in.
    result: NDArray[np.float64] = (apart * gaps).sum(axis=-1) / np.where(std > 0, std, 1.0)
    return result


DISTANCES: Mapping[str, Distance] = {
    "jensen_shannon": jensen_shannon,
    "psi": psi,
    "wasserstein": wasserstein,
}


def _relative_entropy(one: Shares, two: Shares) -> NDArray[np.float64]:
    positive = one > 0
    ratio = np.divide(one, two, out=np.ones_like(one), where=positive)
    result: NDArray[np.float64] = (one * np.log2(ratio)).sum(axis=-1)
    return result


def _align(reference: ColumnProfile, current: ColumnProfile) -> tuple[Shares, Shares, Shares]:
    """Return both as counts over the same values, and where those lie on the axis."""
    if reference.edges:
        edges = np.asarray(reference.edges)
        places = np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]])
        return np.array(reference.bins, float), np.array(current.bins, float), places
    values = sorted(
        set(reference.counts) | set(current.counts), key=float if reference.numeric else None
    )
    before = np.array([reference.counts.get(value, 0) for value in values], float)
    after = np.array([current.counts.get(value, 0) for value in values], float)
    places = np.array([float(v) for v in values]) if reference.numeric else np.arange(len(values))
    return before, after, places.astype(float)
