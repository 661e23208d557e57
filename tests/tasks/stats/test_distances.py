"""Distances against SciPy, the book, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from pilotline.tasks.stats.distances import jensen_shannon, psi, wasserstein

COUNTS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=30
).filter(lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0)


def shares(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    one, two = (np.array(counts, float) for counts in zip(*pairs, strict=True))
    return one / one.sum(), two / two.sum(), np.cumsum(np.arange(len(pairs)) % 3 + 1.0)


@settings(deadline=None)  # a busy machine is no failure
@given(COUNTS)
def test_jensen_shannon_is_scipy_s(pairs: list[tuple[int, int]]) -> None:
    one, two, _ = shares(pairs)
    expected = np.nan_to_num(jensenshannon(one, two, base=2))  # SciPy may take the root of -1e-17
    assert float(jensen_shannon(one, two)) == pytest.approx(expected, abs=1e-7)


@settings(deadline=None)  # a busy machine is no failure
@given(COUNTS)
def test_wasserstein_is_scipy_s_in_standard_deviations(pairs: list[tuple[int, int]]) -> None:
    one, two, places = shares(pairs)
    expected = wasserstein_distance(places, places, one, two)
    std = float(np.sqrt(np.cov(places, aweights=one, bias=True))) if (one > 0).sum() > 1 else 1e-3
    assert wasserstein(one, two, places) == pytest.approx(expected / std, abs=1e-9)


def test_psi_of_a_swap_is_known_by_hand() -> None:
    # (0.75 - 0.25) ln 3 twice: 0.5 * 1.0986 * 2
    one, two = np.array([0.25, 0.75]), np.array([0.75, 0.25])
    assert float(psi(one, two)) == pytest.approx(1.0986122886681098)


def test_psi_of_an_empty_bin_counts_it_as_one_in_ten_thousand() -> None:
    one, two = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    expected = 0.5 * np.log(2) + (0.5 - 1e-4) * np.log(0.5 / 1e-4)
    assert float(psi(one, two)) == pytest.approx(expected)


def test_equal_shares_are_no_distance_apart() -> None:
    equal = np.full(95, 1 / 95)
    assert float(jensen_shannon(equal, equal)) == float(psi(equal, equal)) == 0.0
    assert wasserstein(equal, equal, np.arange(95.0)) == 0.0
