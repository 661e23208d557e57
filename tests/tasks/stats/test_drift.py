"""Drift: verdicts over windows that did and did not move, and over columns that are odd."""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import binom, wasserstein_distance

from pilotline.tasks.errors import LabError
from pilotline.tasks.lab.models import DISTANCES
from pilotline.tasks.stats.drift import (
    DEFAULTS,
    MEASURES,
    Judgement,
    check_watch,
    judge_others,
    judge_window,
)
from pilotline.tasks.stats.profiles import profile_rows

# About as skewed as the destinations of the example: 95 of them, the first with 5 % of the rows.
SHARES = 1 / (np.arange(95) + 15)
SHARES /= SHARES.sum()
NAN, INF = float("nan"), float("inf")


def judge(before: Any, after: Any, watch: Mapping[str, float]) -> list[Judgement]:
    one, two = (profile_rows(pa.table({"x": column})) for column in (before, after))
    return judge_window(one, two, {"x": watch})


def judge_all(before: Any, after: Any) -> dict[str, Judgement]:
    one, two = (profile_rows(pa.table({"x": column})) for column in (before, after))
    return {judged.distance: judged for judged in judge_others(one, two, {})}


def draw(random: np.random.Generator, rows: int) -> np.ndarray:
    return np.array([f"D{n:02}" for n in range(95)])[random.choice(95, rows, p=SHARES)]


def test_two_numeric_columns_are_as_far_apart_as_scipy_says_of_their_rows() -> None:
    random = np.random.default_rng(1)
    before, after = random.integers(0, 24, 8_000), random.integers(3, 30, 2_000)
    (judged,) = judge(before, after, {"wasserstein": 0.1})
    expected = wasserstein_distance(before, after) / np.std(before)
    assert judged.value == pytest.approx(expected, abs=1e-12)
    assert (judged.verdict, judged.rows, judged.reference_rows) == ("drift", 2_000, 8_000)
    assert judged.effect == judged.value - judged.expected > 0


def test_binned_columns_are_as_far_apart_as_scipy_says_within_a_bin() -> None:
    random = np.random.default_rng(2)
    before, after = random.normal(size=20_000), random.normal(0.4, 1, 20_000)
    (judged,) = judge(before, after, {"wasserstein": 0.1})
    expected = wasserstein_distance(before, after) / np.std(before)
    assert judged.value == pytest.approx(expected, abs=1e-4)


def test_numbers_of_many_values_are_compared_in_twenty_groups_where_order_does_not_count() -> None:
    random = np.random.default_rng(6)
    before, after = random.normal(size=50_000), random.normal(0.7, 1, 50_000)
    found = judge_all(before, after)
    edges = np.quantile(before, np.linspace(0, 1, 21))
    edges[0], edges[-1] = -INF, INF
    one, two = (np.histogram(column, edges)[0] for column in (before, after))
    assert found["jensen_shannon"].value == pytest.approx(jensenshannon(one, two, base=2), rel=0.01)
    assert found["psi"].verdict == "drift"
    assert found["psi"].noise < 0.01


def test_a_window_too_small_to_tell_gets_no_verdict() -> None:
    random = np.random.default_rng(3)
    (judged,) = judge(draw(random, 20_000), draw(random, 300), {"jensen_shannon": 0.1})
    assert judged.verdict == "not enough rows"
    assert judged.noise > 0.1


def test_a_judgement_repeats_and_names_what_it_found() -> None:
    before, after = ["a"] * 900 + ["b"] * 100, ["a"] * 500 + ["b"] * 500
    watch = {"jensen_shannon": 0.1, "psi": 0.2}
    first, second = judge(before, after, watch), judge(before, after, watch)
    assert first == second
    assert [(j.distance, j.threshold, j.verdict, j.watched) for j in first] == [
        ("jensen_shannon", 0.1, "drift", True),
        ("psi", 0.2, "drift", True),
    ]


def test_everything_that_is_not_watched_is_judged_by_default_thresholds() -> None:
    rows = profile_rows(pa.table({"n": [1, 2] * 500, "t": ["a", "b"] * 500}))
    found = judge_others(rows, rows, {"n": {"wasserstein": 0.3}, "t": {"unseen": 0.3}})
    assert [(j.column, j.distance) for j in found] == [
        *(("n", name) for name in ("jensen_shannon", "psi", "missing")),
        *(("t", name) for name in ("jensen_shannon", "psi", "missing")),
    ]
    assert {(j.threshold, j.watched) for j in found if j.distance == "psi"} == {(0.25, False)}
    assert {j.verdict for j in found} == {"no drift"}


def test_what_can_be_watched_is_what_can_be_measured() -> None:
    assert set(DISTANCES) == set(MEASURES) == set(DEFAULTS)


def test_values_unknown_to_the_reference_are_drift() -> None:
    found = judge_all(["a"] * 1_000, ["a"] * 750 + ["b"] * 250)
    assert found["unseen"].value == 0.25
    assert (found["unseen"].verdict, found["jensen_shannon"].verdict) == ("drift", "drift")
    # JS by hand: m = (0.875, 0.125); (log2(1/0.875) + 0.75 log2(0.75/0.875) + 0.25 log2 2) / 2
    expected = np.sqrt((np.log2(1 / 0.875) + 0.75 * np.log2(0.75 / 0.875) + 0.25) / 2)
    assert found["jensen_shannon"].value == pytest.approx(expected)


def test_rare_categories_make_unseen_ones_no_surprise() -> None:
    # Every value came once: by Good (1953) about all that follow will be new.
    before, after = [f"k{n}" for n in range(900)], [f"l{n}" for n in range(900)]
    unseen = judge_all(before, after)["unseen"]
    assert (unseen.value, unseen.verdict) == (1.0, "not enough rows")
    assert unseen.expected > 0.99


def test_a_missing_share_that_grew_is_drift() -> None:
    missing = judge_all([1] * 1_000, pa.array([1] * 800 + [None] * 200))["missing"]
    assert (missing.value, missing.verdict) == (0.2, "drift")
    assert (missing.reference_rows, missing.rows) == (1_000, 1_000)


def test_a_handful_of_rows_is_judged_by_nothing_but_what_it_can_tell() -> None:
    few = judge_all(list(range(100)) * 10, [5, None, 7])
    assert few["wasserstein"].verdict == few["psi"].verdict == "not enough rows"


def test_a_constant_column_is_measured_in_thousandths() -> None:
    (judged,) = judge([5] * 100, [7] * 100, {"wasserstein": 0.1})
    assert judged.verdict == "drift"
    assert judged.value == pytest.approx(2_000)
    (same,) = judge([5] * 100, [5] * 100, {"wasserstein": 0.1})
    assert (same.value, same.verdict) == (0.0, "no drift")


@pytest.mark.parametrize("kind", [pa.float64(), pa.string(), pa.null()])
def test_a_window_without_values_is_judged_by_its_missing_share_only(kind: pa.DataType) -> None:
    before = pa.array(["a", "b"] * 50) if kind == pa.string() else pa.array([1.0, 2.0] * 50)
    found = judge_all(before, pa.nulls(100, kind))
    assert (found["missing"].value, found["missing"].verdict) == (1.0, "drift")
    others = [j for name, j in found.items() if name != "missing"]
    assert {(j.verdict, j.rows, j.value) for j in others} == {("not enough rows", 0, 0.0)}


def test_a_reference_without_values_is_judged_by_its_missing_share_only() -> None:
    found = judge_all(pa.nulls(100, pa.float64()), [1.0] * 100)
    assert (found["missing"].verdict, found["wasserstein"].verdict) == ("drift", "not enough rows")


def test_what_is_no_number_counts_as_missing() -> None:
    missing = judge_all([1.0] * 1_000, [1.0] * 800 + [NAN] * 200)["missing"]
    assert (missing.value, missing.verdict) == (0.2, "drift")


def test_infinities_lie_at_the_outermost_number() -> None:
    found = judge_all([0.0, 1.0] * 500, [0.0] * 500 + [INF] * 499 + [-INF])
    assert found["wasserstein"].value == pytest.approx(0.002)  # 1 of 1,000 rows moved by 2 std
    assert found["jensen_shannon"].value > 0.5  # as values they are others
    only = judge_all([INF] * 100, [-INF] * 100)
    assert np.isfinite(only["wasserstein"].value)
    assert only["jensen_shannon"].value == 1.0


def test_a_column_that_reference_or_window_lacks_has_no_rows_there() -> None:
    one, two = profile_rows(pa.table({"x": [1] * 100})), profile_rows(pa.table({"y": [1] * 100}))
    watch = {"x": {"psi": 0.1}, "y": {"psi": 0.1}}
    assert [(j.rows, j.reference_rows, j.verdict) for j in judge_window(one, two, watch)] == [
        (0, 100, "not enough rows"),
        (100, 0, "not enough rows"),
    ]


def test_a_retyped_column_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Column 'x': expected one type in reference and window"):
        judge([1.0], ["1.0"], {"psi": 0.1})


def test_texts_in_buckets_are_compared_as_buckets() -> None:
    before, after = [f"k{n}" for n in range(5_000)] * 8, [f"l{n}" for n in range(5_000)] * 8
    found = judge_all(before, after)
    assert set(found) == {"jensen_shannon", "psi", "missing"}
    assert found["jensen_shannon"].verdict == "drift"
    assert judge_all(before, before)["jensen_shannon"].value == 0.0
    few = judge_all(["k1", "k2"] * 500, before)  # in the window they became too many
    assert few["unseen"].value > 0.99


def test_a_watch_for_what_cannot_be_measured_is_refused_before_training_ends() -> None:
    reference = profile_rows(pa.table({"dest": ["a"]}))
    message = r"model\.toml \[drift\] \[watch\]: 'wasserstein' cannot be measured of 'dest'\. Poss"
    with pytest.raises(LabError, match=message):
        check_watch("flight-delay", reference, {"dest": {"wasserstein": 0.1}})


@pytest.mark.parametrize(
    ("threshold", "verdict"), [(0.25, "drift"), (math.nextafter(0.25, 1), "no drift")]
)
def test_a_distance_that_reaches_its_threshold_is_drift(threshold: float, verdict: str) -> None:
    (judged,) = judge(["a"] * 1_000, ["a"] * 750 + ["b"] * 250, {"unseen": threshold})
    assert (judged.value, judged.verdict) == (0.25, verdict)


def test_a_distance_is_judged_where_its_noise_may_just_reach_the_threshold() -> None:
    before, after = [1] * 300, pa.array([1] * 200 + [None] * 100)
    (judged,) = judge(before, after, {"missing": 0.2})
    assert 0 < judged.noise < 0.2
    (at_its_limit,) = judge(before, after, {"missing": judged.noise})
    assert at_its_limit.verdict == "drift"
    (beyond_it,) = judge(before, after, {"missing": math.nextafter(judged.noise, 0)})
    assert beyond_it.verdict == "not enough rows"


def test_one_watched_column_is_judged_by_fewer_rows_than_one_of_dozens() -> None:
    # By Good (1953) a share of (38 + 1) / (999 + 1) comes new without drift. Of 2,000 rows that is
    # less than 5 % in 99 windows of 100, but not in 399 of 400.
    share, rows = 0.039, 2_000
    often, dozens = (binom.ppf(quantile, rows, share) / rows for quantile in (0.99, 0.9975))
    assert often < 0.05 < dozens
    before = ["a"] * 961 + [f"k{n}" for n in range(38)]
    (watched,) = judge(before, ["a"] * rows, {"unseen": 0.05})
    unwatched = judge_all(before, ["a"] * rows)["unseen"]
    assert (watched.verdict, unwatched.verdict) == ("no drift", "not enough rows")
    assert watched.noise == pytest.approx(often, abs=2 / rows)
    assert unwatched.noise == pytest.approx(dozens, abs=2 / rows)


def test_that_none_was_missing_among_few_does_not_prove_that_none_ever_is() -> None:
    found = judge_all([1] * 30, [1] * 30)["missing"]
    assert (found.value, found.verdict) == (0.0, "not enough rows")
    # The mean gap of two shares of 30 rows, each row missing with a chance of 1 / 32.
    chances = binom.pmf(range(31), 30, 1 / 32)
    gaps = np.abs(np.subtract.outer(range(31), range(31))) / 30
    assert found.expected == pytest.approx(chances @ gaps @ chances, rel=0.1)
    many = judge_all([1] * 3_000, [1] * 3_000)["missing"]
    assert many.verdict == "no drift"


def test_new_texts_are_told_from_known_ones_also_where_a_window_has_too_many_to_count() -> None:
    known, new = ["k1", "k2"], [f"l{n}" for n in range(2_000)]
    found = judge_all(known * 500, known * 3_000 + new)["unseen"]
    # A new text that shares its bucket with a known one cannot be told from it.
    buckets = {zlib.crc32(text.encode()) % 1024 for text in known}
    beside = sum(zlib.crc32(text.encode()) % 1024 not in buckets for text in new)
    assert found.value == pytest.approx(beside / 8_000)
    assert found.value > 0.24
    assert found.verdict == "drift"
