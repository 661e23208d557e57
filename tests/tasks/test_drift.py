"""Drift: distances against SciPy, verdicts against windows that did and did not move."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from tasks.drift import jensen_shannon, judge_window, psi, wasserstein
from tasks.profiles import make_reference, profile_like

COUNTS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=30
).filter(lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0)
# About as skewed as the destinations of the example: 95 of them, the first with 5 % of the rows.
SHARES = 1 / (np.arange(95) + 15)
SHARES /= SHARES.sum()


def shares(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    one, two = (np.array(counts, float) for counts in zip(*pairs, strict=True))
    return one / one.sum(), two / two.sum(), np.cumsum(np.arange(len(pairs)) % 3 + 1.0)


@settings(deadline=None)  # a busy machine is no failure
@given(COUNTS)
def test_jensen_shannon_is_scipy_s(pairs: list[tuple[int, int]]) -> None:
    one, two, places = shares(pairs)
    expected = np.nan_to_num(jensenshannon(one, two, base=2))  # SciPy may take the root of -1e-17
    assert float(jensen_shannon(one, two, places)) == pytest.approx(expected, abs=1e-7)


@settings(deadline=None)  # a busy machine is no failure
@given(COUNTS)
def test_wasserstein_is_scipy_s_in_standard_deviations(pairs: list[tuple[int, int]]) -> None:
    one, two, places = shares(pairs)
    expected = wasserstein_distance(places, places, one, two)
    std = float(np.sqrt(np.cov(places, aweights=one, bias=True))) if (one > 0).sum() > 1 else 1.0
    assert float(wasserstein(one, two, places)) == pytest.approx(expected / std, abs=1e-9)


def test_psi_of_a_swap_is_known_by_hand() -> None:
    # (0.75 - 0.25) ln 3 twice: 0.5 * 1.0986 * 2
    one, two = np.array([0.25, 0.75]), np.array([0.75, 0.25])
    assert float(psi(one, two, np.arange(2.0))) == pytest.approx(1.0986122886681098)


def test_psi_of_an_empty_bin_counts_it_as_one_in_ten_thousand() -> None:
    one, two = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    expected = 0.5 * np.log(2) + (0.5 - 1e-4) * np.log(0.5 / 1e-4)
    assert float(psi(one, two, np.arange(2.0))) == pytest.approx(expected)


def test_equal_shares_are_no_distance_apart() -> None:
    for distance in (jensen_shannon, psi, wasserstein):
        assert float(distance(SHARES, SHARES, np.arange(95.0))) == 0.0


def test_two_numeric_columns_are_as_far_apart_as_scipy_says_of_their_rows() -> None:
    random = np.random.default_rng(1)
    before, after = random.integers(0, 24, 4_000), random.integers(3, 30, 1_000)
    reference = make_reference(pa.table({"hour": before}))
    current = profile_like(reference, pa.table({"hour": after}))
    (judged,) = judge_window(reference, current, {"hour": {"wasserstein": 0.1}})
    expected = wasserstein_distance(before, after) / np.std(before)
    assert judged.value == pytest.approx(expected)
    assert (judged.verdict, judged.rows) == ("drift", 1_000)


def test_binned_columns_are_as_far_apart_as_scipy_says_within_a_bin() -> None:
    random = np.random.default_rng(2)
    before, after = random.normal(size=20_000), random.normal(0.4, 1, 20_000)
    reference = make_reference(pa.table({"x": before}))
    current = profile_like(reference, pa.table({"x": after}))
    (judged,) = judge_window(reference, current, {"x": {"wasserstein": 0.1}})
    expected = wasserstein_distance(before, after) / np.std(before)
    assert judged.value == pytest.approx(expected, abs=0.01)


def test_a_constant_column_is_measured_in_its_own_units() -> None:
    reference = make_reference(pa.table({"x": [5] * 100}))
    current = profile_like(reference, pa.table({"x": [7] * 100}))
    (judged,) = judge_window(reference, current, {"x": {"wasserstein": 0.1}})
    assert (judged.value, judged.verdict) == (2.0, "drift")


def test_a_window_too_small_to_tell_gets_no_verdict() -> None:
    random = np.random.default_rng(3)
    reference = make_reference(pa.table({"dest": draw(random, 20_000)}))
    current = profile_like(reference, pa.table({"dest": draw(random, 300)}))
    (judged,) = judge_window(reference, current, {"dest": {"jensen_shannon": 0.1}})
    assert judged.verdict == "not enough rows"
    assert judged.noise > 0.1


def test_an_empty_window_gets_no_verdict() -> None:
    reference = make_reference(pa.table({"x": [1, 2]}))
    current = profile_like(reference, pa.table({"x": pa.nulls(3, pa.int64())}))
    (judged,) = judge_window(reference, current, {"x": {"psi": 0.1}})
    assert (judged.verdict, judged.rows) == ("not enough rows", 0)


def test_a_judgement_repeats_and_names_what_it_found() -> None:
    reference = make_reference(pa.table({"x": ["a"] * 900 + ["b"] * 100}))
    current = profile_like(reference, pa.table({"x": ["a"] * 500 + ["b"] * 500}))
    watch = {"x": {"jensen_shannon": 0.1, "psi": 0.2}}
    first, second = judge_window(reference, current, watch), judge_window(reference, current, watch)
    assert first == second
    assert [(j.distance, j.threshold, j.verdict) for j in first] == [
        ("jensen_shannon", 0.1, "drift"),
        ("psi", 0.2, "drift"),
    ]


def test_values_unknown_to_the_reference_are_drift() -> None:
    reference = make_reference(pa.table({"x": ["a"] * 1_000}))
    current = profile_like(reference, pa.table({"x": ["b"] * 1_000}))
    (judged,) = judge_window(reference, current, {"x": {"jensen_shannon": 0.1}})
    assert judged.value == pytest.approx(1.0)  # disjoint
    assert judged.verdict == "drift"


def test_at_most_one_in_a_hundred_windows_that_did_not_move_is_called_drift() -> None:
    random = np.random.default_rng(4)
    month = draw(random, 27_000)  # about the rows of a January
    called = 0
    for trial in range(200):
        rows = int(np.exp(random.uniform(np.log(500), np.log(20_000))))
        random.shuffle(month)
        reference = make_reference(pa.table({"dest": month[rows:]}))
        current = profile_like(reference, pa.table({"dest": month[:rows]}))
        (judged,) = judge_window(reference, current, {"dest": {"jensen_shannon": 0.1}})
        called += judged.verdict == "drift"
        assert judged.verdict != "not enough rows" or rows < 4_000, trial
    assert called <= 2


def draw(random: np.random.Generator, rows: int) -> np.ndarray:
    return np.array([f"D{n:02}" for n in range(95)])[random.choice(95, rows, p=SHARES)]
