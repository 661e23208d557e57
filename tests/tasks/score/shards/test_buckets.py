"""Buckets: the spread SipHash-2-4 of the key, as a second implementation of both gives it."""

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotline.tasks.score.shards.buckets import BUCKETS, bucket_of, challengers_buckets

WORD = 2**64 - 1
KEY = b"pilotline-splits"
KEYS = st.lists(
    st.tuples(st.text(max_size=30), st.integers(-(2**63), 2**63 - 1), st.dates(), st.booleans()),
    min_size=1,
    max_size=20,
)
SCHEMA = pa.schema(
    [("name", pa.string()), ("n", pa.int64()), ("day", pa.date32()), ("flag", pa.bool_())]
)


def siphash(key: bytes, data: bytes) -> int:
    """Return SipHash-2-4, written down from section 2 of the paper."""
    k0, k1 = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D]
    v += [k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    whole = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for at in range(0, len(whole), 8):
        word = int.from_bytes(whole[at : at + 8], "little")
        v[3] ^= word
        turn(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    turn(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def turn(v: list[int], rounds: int) -> None:
    for _ in range(rounds):
        v[0], v[2] = (v[0] + v[1]) & WORD, (v[2] + v[3]) & WORD
        v[1], v[3] = rotate(v[1], 13) ^ v[0], rotate(v[3], 16) ^ v[2]
        v[0] = rotate(v[0], 32)
        v[2], v[0] = (v[2] + v[1]) & WORD, (v[0] + v[3]) & WORD
        v[1], v[3] = rotate(v[1], 17) ^ v[2], rotate(v[3], 21) ^ v[0]
        v[2] = rotate(v[2], 32)


def rotate(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & WORD


def spread(word: int) -> int:
    """Return the finalizer of SplitMix64, mix64 of figure 13 in Steele, Lea and Flood 2014."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & WORD
    return word ^ word >> 31


def said(value: Any) -> str:
    """Return a key's value as text: true and false in small letters, days as ISO 8601."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def expected(*values: Any) -> int:
    text = "\x1f".join(map(said, values))
    return spread(siphash(KEY, text.encode())) % 10_000


def numbers(count: int) -> pa.Table:
    return pa.table({"n": pa.array(range(count), pa.int64())})


def test_the_second_implementation_gives_the_published_vectors() -> None:
    # Aumasson and Bernstein 2012, appendix A: key 00..0f, input 00..0e
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5
    # The first number of SplitMix64 seeded with 0, as Vigna's splitmix64.c prints it.
    assert spread(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


@settings(deadline=None)
@given(KEYS)
def test_a_bucket_is_the_hash_of_the_key_s_texts(keys: list[tuple[str, int, date, bool]]) -> None:
    rows = pa.Table.from_pylist([dict(zip(SCHEMA.names, key, strict=True)) for key in keys], SCHEMA)
    assert bucket_of(rows, SCHEMA.names).tolist() == [expected(*key) for key in keys]
    assert bucket_of(rows, ["n"]).tolist() == [expected(n) for _, n, _, _ in keys]


@pytest.mark.parametrize("text", ["", "x", "Zürich, 東京 🛫", "a" * 1000, "true", "2013-01-01"])
def test_texts_are_hashed_as_utf_8(text: str) -> None:
    assert bucket_of(pa.table({"name": [text]}), ["name"]).tolist() == [expected(text)]


def test_the_order_is_the_contract_s_and_not_the_table_s() -> None:
    rows = pa.table({"a": ["x"], "b": ["y"]})
    assert bucket_of(rows, ["b", "a"]).tolist() == [expected("y", "x")]
    assert bucket_of(rows.select(["b", "a"]), ["a", "b"]).tolist() == [expected("x", "y")]


def test_a_row_has_its_bucket_in_whatever_batches_it_comes() -> None:
    rows = numbers(1000)
    whole = bucket_of(rows, ["n"])
    parts = [bucket_of(batch, ["n"]) for batch in rows.to_batches(max_chunksize=137)]
    assert np.array_equal(np.concatenate(parts), whole)
    chunked = pa.concat_tables([rows.slice(0, 400), rows.slice(400)])
    assert np.array_equal(bucket_of(chunked, ["n"]), whole)
    assert bucket_of(rows.slice(0, 0), ["n"]).shape == (0,)


def test_buckets_are_even_over_keys_that_follow_each_other() -> None:
    buckets = bucket_of(numbers(50_000), ["n"])
    assert (buckets.min() >= 0, buckets.max() < BUCKETS) == (True, True)
    counts = np.bincount(buckets // 100, minlength=100)
    # Chi-squared over 100 cells: mean 99, standard deviation sqrt(2 * 99) = 14.
    assert abs(((counts - 500) ** 2 / 500).sum() - 99) < 5 * 14


@pytest.mark.parametrize("share", ["0.0001", "0.01", "0.1", "0.25", "0.5", "0.9999"])
def test_the_challenger_s_share_of_the_keys_is_the_one_said(share: str) -> None:
    count, p = 50_000, float(share)
    mine = int((bucket_of(numbers(count), ["n"]) < challengers_buckets(Decimal(share))).sum())
    assert abs(mine - count * p) <= 5 * (count * p * (1 - p)) ** 0.5


@settings(deadline=None)
@given(st.integers(1, 9999), st.integers(1, 9999))
def test_a_larger_share_keeps_every_key_of_a_smaller_one(one: int, two: int) -> None:
    smaller, larger = (challengers_buckets(Decimal(n) / 10_000) for n in sorted((one, two)))
    assert (smaller, larger) == (min(one, two), max(one, two))
    buckets = bucket_of(numbers(500), ["n"])
    assert not ((buckets < smaller) & ~(buckets < larger)).any()
