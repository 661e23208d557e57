"""Profiles: counts that are exact, merge exactly and repeat."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.profiles import (
    BINS,
    MAX_VALUES,
    OTHER,
    decode_profile,
    make_reference,
    merge_profiles,
    profile_like,
)

NUMBERS = np.random.default_rng(0).normal(size=5_000)


def test_few_values_are_counted_one_by_one() -> None:
    rows = pa.table({"dest": ["LAX", None, "LAX", "BOS"], "late": [True, False, True, None]})
    profile = make_reference(rows)
    assert profile.rows == 4
    assert profile.columns["dest"].counts == {"BOS": 1, "LAX": 2}
    assert (profile.columns["dest"].missing, profile.columns["dest"].rows) == (1, 3)
    assert not profile.columns["dest"].numeric
    assert profile.columns["late"].counts == {"False": 1, "True": 2}


def test_many_numbers_become_a_histogram_as_numpy_makes_it() -> None:
    column = make_reference(pa.table({"x": NUMBERS})).columns["x"]
    expected, edges = np.histogram(NUMBERS, bins=BINS)
    assert column.bins == (0, *expected, 0)
    assert np.allclose(column.edges, edges, rtol=0, atol=1e-12)
    assert (column.rows, column.counts) == (5_000, {})


def test_what_falls_outside_the_frozen_edges_is_counted_there() -> None:
    reference = make_reference(pa.table({"x": NUMBERS}))
    later = profile_like(reference, pa.table({"x": [-99.0, 0.0, 98.0, 99.0, None]})).columns["x"]
    assert (later.bins[0], sum(later.bins[1:-1]), later.bins[-1]) == (1, 1, 2)
    assert (later.rows, later.missing) == (4, 1)


def test_texts_beyond_the_counted_ones_are_counted_together() -> None:
    texts = [f"k{n:05}" for n in range(2_000)] + ["k00000"]
    reference = make_reference(pa.table({"x": texts})).columns["x"]
    assert len(reference.counts) == MAX_VALUES
    assert reference.counts["k00000"] == 2
    assert reference.counts[OTHER] == 2_001 - 1_024  # 1,022 single ones and the pair are kept
    assert reference.rows == 2_001
    later = profile_like(
        make_reference(pa.table({"x": texts})), pa.table({"x": ["k00000", "new", "newer"]})
    )
    assert later.columns["x"].counts == {"k00000": 1, OTHER: 2}


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.none() | st.sampled_from("abcdef"), min_size=1, max_size=40),
    st.lists(st.none() | st.floats(-5, 5), min_size=1, max_size=40),
    st.integers(1, 7),
)
def test_profiles_of_parts_merge_into_the_profile_of_the_whole(
    texts: list[str | None], numbers: list[float | None], size: int
) -> None:
    long = max(len(texts), len(numbers))
    reference = make_reference(pa.table({"x": NUMBERS, "t": ["a"] * len(NUMBERS)}))
    whole = pa.table(
        {
            "x": pa.array((numbers * long)[:long], pa.float64()),
            "t": pa.array((texts * long)[:long], pa.string()),
        }
    )
    parts = [profile_like(reference, batch) for batch in whole.to_batches(max_chunksize=size)]
    merged = merge_profiles(parts)
    assert merged is not None
    assert merged.encode() == profile_like(reference, whole).encode()
    assert merged.columns["t"].counts == Counter(t for t in whole["t"].to_pylist() if t is not None)


def test_a_profile_survives_being_written_and_repeats_to_the_byte() -> None:
    profile = make_reference(pa.table({"x": NUMBERS, "n": np.arange(5_000) % 7}))
    assert decode_profile(profile.encode()).encode() == profile.encode()
    assert decode_profile(profile.encode()).columns["n"] == profile.columns["n"]


def test_nothing_to_merge_gives_nothing() -> None:
    assert merge_profiles([]) is None


def test_profiles_counted_differently_do_not_merge() -> None:
    one = make_reference(pa.table({"x": NUMBERS}))
    two = make_reference(pa.table({"x": NUMBERS * 2}))
    with pytest.raises(ValueError, match=r"^Column 'x': expected equal edges; profile both alike"):
        merge_profiles([one, two])


def test_a_profile_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"format 'pilotline-profile/1', got 'other/1'"):
        decode_profile(b'{"format": "other/1"}')


def test_a_column_without_any_value_has_no_rows() -> None:
    column = make_reference(pa.table({"x": pa.nulls(3, pa.float64())})).columns["x"]
    assert (column.rows, column.missing) == (0, 3)
