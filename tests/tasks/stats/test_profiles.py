"""Profiles: counts that are exact, merge exactly in any order and repeat to the byte."""

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.tasks.stats.columns import LIMIT, Numbers, Texts
from pilotline.tasks.stats.profiles import (
    Profile,
    ProfileFold,
    decode_profile,
    merge_profiles,
    profile_rows,
    store_profile,
)

NORMAL = np.random.default_rng(0).normal(size=5_000)
ANY_NUMBER = st.none() | st.floats()  # NaN, infinities, minus zero, the largest and the smallest
# Many distinct numbers from a seed: alike, far apart, heavy of tail, whole, huge and tiny.
MANY = st.tuples(st.sampled_from("nthwld"), st.integers(0, 2**16), st.integers(1, 4_000))


def make_many(kind: str, seed: int, rows: int) -> list[float]:
    random = np.random.default_rng(seed)
    if kind == "n":
        values = random.normal(size=rows)
    elif kind == "t":
        values = random.standard_cauchy(rows)
    elif kind == "h":
        values = random.normal(1e9, 1, rows)
    elif kind == "w":
        values = random.integers(-(10**6), 10**6, rows).astype(float)
    elif kind == "l":
        values = random.choice([-1, 1], rows) * 10 ** random.uniform(-320, 308, rows)
    else:
        values = random.integers(0, 1_100, rows).astype(float)  # about as many as fit
    return list(values.tolist())


def numbers(profile: Profile, name: str = "x") -> Numbers:
    column = profile.columns[name]
    assert isinstance(column, Numbers)
    return column


def texts(profile: Profile, name: str = "x") -> Texts:
    column = profile.columns[name]
    assert isinstance(column, Texts)
    return column


def test_few_values_are_counted_one_by_one() -> None:
    rows = pa.table(
        {
            "dest": ["LAX", None, "LAX", "BOS"],
            "late": [True, False, True, None],
            "hour": [5, 23, 5, None],
            "gap": [0.5, -0.0, 0.0, 0.5],
        }
    )
    profile = profile_rows(rows)
    assert profile.rows == 4
    assert texts(profile, "dest") == Texts(1, False, {"BOS": 1, "LAX": 2})
    assert texts(profile, "late") == Texts(1, False, {"False": 1, "True": 2})
    hour, gap = numbers(profile, "hour"), numbers(profile, "gap")
    assert (hour.missing, hour.rows, hour.level) == (1, 3, None)
    assert (hour.places.tolist(), hour.counts.tolist()) == ([5, 23], [2, 1])
    assert (str(gap.places.tolist()), gap.counts.tolist()) == ("[0.0, 0.5]", [2, 2])


def test_many_numbers_are_counted_in_the_narrowest_bins_that_fit() -> None:
    column = numbers(profile_rows(pa.table({"x": NORMAL})))
    assert column.level is not None
    width = 2.0**column.level
    edges, counts = np.unique(np.floor(NORMAL / width) * width, return_counts=True)
    assert (column.places.tolist(), column.counts.tolist()) == (edges.tolist(), counts.tolist())
    assert len(column.places) <= LIMIT
    assert len(np.unique(np.floor(NORMAL / (width / 2)))) > LIMIT


def test_one_number_far_out_does_not_coarsen_the_bins() -> None:
    near = numbers(profile_rows(pa.table({"x": NORMAL})))
    far = numbers(profile_rows(pa.table({"x": [*NORMAL, 1e300]})))
    assert (far.level, far.places[-1], far.counts[-1]) == (near.level, 1e300, 1)


def test_what_is_no_number_is_missing_and_infinities_are_counted_apart() -> None:
    rows = pa.table({"x": [float("nan"), None, float("inf"), float("inf"), -float("inf"), 1.0]})
    column = numbers(profile_rows(rows))
    assert (column.missing, column.infinite, column.places.tolist()) == (2, (1, 2), [1.0])
    assert column.rows == 4


def test_many_texts_are_counted_in_buckets() -> None:
    column = texts(profile_rows(pa.table({"x": [f"k{n:05}" for n in range(5_000)]})))
    assert (column.hashed, column.rows, len(column.counts) <= LIMIT) == (True, 5_000, True)
    # CRC-32 of "123456789" is the standard's check value 0xCBF43926; 0x126 is 294
    known = texts(profile_rows(pa.table({"x": ["123456789", *map(str, range(2_000))]})))
    without = texts(profile_rows(pa.table({"x": [*map(str, range(2_000))]})))
    assert known.counts["#0294"] == without.counts.get("#0294", 0) + 1


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0, 1, None], pa.date32()),
        pa.array([0, 1, None], pa.timestamp("us", tz="UTC")),
        pa.array([0, 1, None], pa.float32()),
        pa.array([0, 1, None], pa.decimal128(10, 2)),
    ],
)
def test_dates_and_times_are_numbers(values: pa.Array) -> None:
    column = numbers(profile_rows(pa.table({"x": values})))
    assert (column.missing, column.places.tolist()) == (1, [0.0, 1.0])


@pytest.mark.parametrize("kind", [pa.float64(), pa.int64(), pa.string(), pa.date32(), pa.null()])
def test_a_column_without_any_value_has_no_rows(kind: pa.DataType) -> None:
    column = profile_rows(pa.table({"x": pa.nulls(3, kind)})).columns["x"]
    assert (column.rows, column.missing) == (0, 3)


@settings(deadline=None, max_examples=150)  # a busy machine is no failure
@given(
    st.lists(ANY_NUMBER, max_size=60),
    MANY,
    st.lists(st.none() | st.text(max_size=3), max_size=60),
    st.lists(st.integers(1, 3_000), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_parts_merge_in_any_order_and_grouping_into_the_profile_of_the_whole(
    some: list[float | None],
    many: tuple[str, int, int],
    words: list[str | None],
    sizes: list[int],
    random: Random,
) -> None:
    column: list[float | None] = [*some, *make_many(*many)]
    random.shuffle(column)
    names = [*words, *(f"k{n}" for n in range(len(column)))][: len(column)]
    few = [*words, *[None] * len(column)][: len(column)]
    whole = pa.table(
        {
            "x": pa.array(column, pa.float64()),
            "names": pa.array(names, pa.string()),
            "few": pa.array(few, pa.string()),
        }
    )
    expected = profile_rows(whole).encode()
    parts, start = [], 0
    while start < whole.num_rows:
        size = random.choice(sizes)
        parts.append(profile_rows(whole.slice(start, size)))
        start += size
    random.shuffle(parts)
    grouped: list[Profile] = []
    while parts:  # (a + b) + c, a + (b + c), ...
        taken = [parts.pop() for _ in range(min(len(parts), random.randint(1, 3)))]
        merged = merge_profiles([decode_profile(part.encode()) for part in [*grouped[-1:], *taken]])
        assert merged is not None
        grouped[-1:] = [merged]
    assert grouped[-1].encode() == expected
    assert sum(texts(grouped[-1], "few").counts.values()) == len([t for t in few if t is not None])


def test_a_fold_of_batches_is_the_profile_of_the_table() -> None:
    random = np.random.default_rng(1)
    rows = pa.table(
        {
            "x": random.standard_cauchy(200_000),
            "n": random.integers(0, 10**6, 200_000),
            "hour": random.integers(0, 24, 200_000),
            "dest": pa.array([f"D{n}" for n in random.integers(0, 95, 200_000)]),
        }
    )
    fold = ProfileFold()
    for batch in rows.to_batches(max_chunksize=999):
        fold.add(batch)
    assert fold.profile().encode() == profile_rows(rows).encode()
    expected = Counter(rows["dest"].to_pylist())
    assert texts(fold.profile(), "dest").counts == expected


def test_the_order_of_rows_does_not_matter() -> None:
    rows = pa.table({"x": NORMAL, "t": [f"k{n % 1_500}" for n in range(5_000)]})
    shuffled = rows.take(np.random.default_rng(2).permutation(5_000))
    assert profile_rows(shuffled).encode() == profile_rows(rows).encode()


def test_a_profile_survives_being_written() -> None:
    rows = pa.table({"x": [*NORMAL, float("inf")], "n": np.arange(5_001) % 7, "t": ["a"] * 5_001})
    profile = profile_rows(rows)
    assert decode_profile(profile.encode()).encode() == profile.encode()
    assert decode_profile(profile.encode()).columns["t"] == profile.columns["t"]


def test_nothing_to_merge_gives_nothing() -> None:
    assert merge_profiles([]) is None


def test_a_column_that_only_some_profiles_have_is_merged_of_those() -> None:
    one, two = profile_rows(pa.table({"a": [1], "b": [2]})), profile_rows(pa.table({"a": [1]}))
    merged = merge_profiles([one, two])
    assert merged is not None
    assert (merged.rows, merged.columns["a"].rows, merged.columns["b"].rows) == (2, 2, 1)
    assert list(merged.select(["b", "c"]).columns) == ["b"]


def test_a_column_that_was_retyped_does_not_merge() -> None:
    one, two = profile_rows(pa.table({"x": [1.0]})), profile_rows(pa.table({"x": ["1.0"]}))
    with pytest.raises(ValueError, match=r"^Column 'x': Expected one type, got numbers and texts"):
        merge_profiles([one, two])


def test_a_profile_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"format 'pilotline-profile/2', got 'other/1'"):
        decode_profile(b'{"format": "other/1"}')


def test_a_stored_profile_is_found_by_its_digest(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    rows = pa.table({"dest": ["LAX", "BOS"]})
    digest = store_profile(blobs, rows)
    assert blobs.get(digest) == profile_rows(rows).encode()
    assert store_profile(blobs, rows.take([1, 0])) == digest


@pytest.mark.parametrize(("values", "exact"), [(1_024, True), (1_025, False)])
def test_exactly_1024_values_are_counted_one_by_one_and_no_more(values: int, exact: bool) -> None:
    several = [0.1 * n for n in range(values)]
    found = profile_rows(pa.table({"x": several, "t": [f"k{n}" for n in range(values)]}))
    assert (numbers(found).level is None) is exact
    assert texts(found, "t").hashed is not exact
