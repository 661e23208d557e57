"""What distances between windows come to without any drift, at given numbers of rows.

Pairs of windows are drawn from the reference with a fixed seed, so the same windows always get the
same answer. A report asks for hundreds of windows beside one reference: what was drawn for one of
them is kept for the next, which changes no number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotline.tasks.stats.distances import Shares, spread

DRAWS = 400  # pairs of windows without drift
CELLS = 80_000  # drawn counts at most: columns of more categories get fewer pairs
OFTEN = 50  # expected rows of a category from which its count is drawn as a normal number
LEAST_DRAWS = 60  # enough for a mean and a spread
NODES = 128  # points at which the area between two cumulative shares is taken
KEPT_NOISES = 2048  # of a kilobyte or two: columns times different numbers of rows
KEPT_DRAWS = 32  # of at most 640 kB, one for each column of a reference


@dataclass(frozen=True)
class Noise:
    """How large one distance is without drift."""

    expected: float  # its mean
    limit: float  # the quantile asked for


Distance = Callable[[Shares, Shares], Shares]


def noise_of_shares(
    distances: Sequence[Distance], shares: Shares, rows: tuple[int, int], quantile: float
) -> list[Noise]:
    """Return the noise of each distance between windows of ``rows`` drawn from ``shares``."""
    return list(_noises(tuple(distances), shares.tobytes(), rows, quantile))


@lru_cache(KEPT_NOISES)
def _noises(
    distances: tuple[Distance, ...], packed: bytes, rows: tuple[int, int], quantile: float
) -> tuple[Noise, ...]:
    shares = np.frombuffer(packed)
    draws = min(DRAWS, max(LEAST_DRAWS, CELLS // len(shares)))
    one, state = _draw_first(packed, rows[0], draws)
    random = np.random.default_rng(0)
    random.bit_generator.state = state
    two = _draw(random, shares, rows[1], draws)
    return tuple(_summarize(distance(one, two), quantile) for distance in distances)


@lru_cache(KEPT_DRAWS)
def _draw_first(packed: bytes, rows: int, draws: int) -> tuple[Shares, Any]:
    """Return the reference's side of the pairs, and the generator's state after them."""
    random = np.random.default_rng(0)
    drawn = _draw(random, np.frombuffer(packed), rows, draws)
    drawn.flags.writeable = False
    return drawn, random.bit_generator.state


def _draw(random: np.random.Generator, shares: Shares, rows: int, draws: int) -> Shares:
    """Return the shares found in windows of ``rows``, shape (draws, k)."""
    if rows * shares[shares > 0].min() < OFTEN:
        drawn: Shares = random.multinomial(rows, shares, size=draws) / rows
        return drawn
    # Where each comes often, the counts are normal with the multinomial's covariance: ten times
    # faster to draw.
    free = random.standard_normal((draws, len(shares))) * np.sqrt(shares)
    bound: Shares = free - shares * free.sum(axis=1, keepdims=True)
    normal: Shares = shares + bound / np.sqrt(rows)
    return normal


def noise_of_wasserstein(
    shares: Shares, places: Shares, rows: tuple[int, int], quantile: float
) -> Noise:
    """Return the noise of Wasserstein in standard deviations.

    Source:
        The difference of two empirical distribution functions tends to a Brownian bridge in the
        share below, times sqrt(1/n + 1/m): del Barrio, Gine and Matran (1999), Annals of
        Probability 27(2). Its area is taken at up to 128 points that matter equally.
    """
    below = np.clip(np.cumsum(shares)[:-1], 0.0, 1.0)
    weights = np.diff(places) * np.sqrt(below * (1 - below))
    below, weights = below[weights > 0], weights[weights > 0]
    total = float(weights.sum())
    if total == 0:
        return Noise(0.0, 0.0)
    scale = float(np.sqrt(1 / rows[0] + 1 / rows[1])) / spread(shares, places)
    where = ((np.cumsum(weights) - weights / 2) / total * NODES).astype(np.int64)
    starts = np.flatnonzero(np.diff(where, prepend=-1))
    inner, outer = np.add.reduceat(weights, starts), np.append(starts[1:], len(weights))
    at = below[(starts + outer - 1) // 2]
    # The mean of the absolute standard normal is sqrt(2 / pi): it needs no draws.
    limit = _limit_of_bridge(at.tobytes(), inner.tobytes(), quantile)
    return Noise(float(np.sqrt(2 / np.pi)) * total * scale, limit * scale)


@lru_cache(KEPT_NOISES)
def _limit_of_bridge(packed_at: bytes, packed_weights: bytes, quantile: float) -> float:
    """Return the quantile of the weighted area under Brownian bridges, each point of spread 1."""
    at, weights = np.frombuffer(packed_at), np.frombuffer(packed_weights)
    steps = np.sqrt(np.diff(at, prepend=0.0, append=1.0))
    walk = np.cumsum(_draw_normals(len(steps)) * steps, axis=1)
    bridge = walk[:, :-1] - at * walk[:, -1:]
    np.abs(bridge, out=bridge)
    bridge /= np.sqrt(at * (1 - at))
    return float(np.quantile(bridge @ weights, quantile))


@lru_cache(KEPT_DRAWS)
def _draw_normals(width: int) -> Shares:
    """Return standard normal numbers, shape (DRAWS, width)."""
    drawn: Shares = np.random.default_rng(0).standard_normal((DRAWS, width))
    drawn.flags.writeable = False
    return drawn


@lru_cache(KEPT_NOISES)
def noise_of_shift(share: float, rows: tuple[int, int], quantile: float) -> Noise:
    """Return the noise of the gap between two observed shares of one true ``share``."""
    random = np.random.default_rng(0)
    one, two = (random.binomial(count, share, size=DRAWS) / count for count in rows)
    return _summarize(np.abs(one - two), quantile)


@lru_cache(KEPT_NOISES)
def noise_of_share(share: float, rows: int, quantile: float) -> Noise:
    """Return the noise of one observed share of a true ``share``."""
    drawn = np.random.default_rng(0).binomial(rows, share, size=DRAWS)
    return _summarize(drawn / rows, quantile)


def _summarize(found: NDArray[np.float64], quantile: float) -> Noise:
    mean = float(found.mean())
    if len(found) < DRAWS:  # sums over hundreds of categories: near normal, and few draws
        return Noise(mean, mean + NormalDist().inv_cdf(quantile) * float(found.std(ddof=1)))
    return Noise(mean, float(np.quantile(found, quantile)))
