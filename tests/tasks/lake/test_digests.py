"""The partition digest, by hand and whatever the order of rows."""

import hashlib
import random
import struct
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotline.tasks.errors import LakeError
from pilotline.tasks.lake.digests import check_day, partition_digest

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("share", pa.float64()),
        ("open", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
ROW = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**63), 2**63 - 1),
        "name": st.none() | st.text(max_size=8),
        "share": st.none() | st.floats(),
        "open": st.none() | st.booleans(),
        "day": st.none() | st.dates(),
        "at": st.none() | st.datetimes(timezones=st.just(UTC)),
    }
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(ROW, max_size=12), st.randoms(), st.integers(1, 5))
def test_the_digest_does_not_depend_on_the_order_of_rows_or_columns_or_on_chunks(
    rows: list[dict[str, object]], chance: random.Random, size: int
) -> None:
    expected = partition_digest(pa.Table.from_pylist(rows, SCHEMA), ("id",))
    chance.shuffle(rows)
    shuffled = pa.Table.from_pylist(rows, SCHEMA)
    chunked = pa.Table.from_batches(shuffled.to_batches(max_chunksize=size), SCHEMA)
    turned = chunked.select(list(reversed(SCHEMA.names)))
    assert partition_digest(turned, ("id",)) == expected


def test_the_digest_is_sha_256_over_the_documented_bytes() -> None:
    rows = pa.table({"name": ["ä", None], "id": pa.array([2, 1], pa.int64())})
    parts = [
        b"pilotline-partition/1\n2\n",
        b"id\nint64\n" + b"\0\0" + struct.pack("<qq", 1, 2),
        b"name\nstring\n" + b"\1\0" + struct.pack("<qq", 0, 2) + "ä".encode(),
    ]
    assert partition_digest(rows, ("id",)) == hashlib.sha256(b"".join(parts)).hexdigest()


def test_zero_and_minus_zero_are_one_value_and_null_and_zero_are_two() -> None:
    def digest(value: float | None) -> str:
        return partition_digest(pa.table({"x": pa.array([value], pa.float64())}), ("x",))

    assert digest(0.0) == digest(-0.0)
    assert len({digest(0.0), digest(None), digest(float("nan"))}) == 3


def test_every_type_counts_for_itself() -> None:
    moment = datetime(2013, 1, 1, tzinfo=UTC)
    row = {"id": 1, "name": "a", "share": 0.5, "open": True, "day": date(2013, 1, 1), "at": moment}
    base = pa.Table.from_pylist([row], SCHEMA)
    changes = {
        "id": 2,
        "name": "b",
        "share": 0.25,
        "open": False,
        "day": date(2013, 1, 2),
        "at": moment.replace(year=2014),
    }
    digests = {
        partition_digest(pa.Table.from_pylist([{**row, name: value}], SCHEMA), ("id",))
        for name, value in changes.items()
    }
    assert len(digests | {partition_digest(base, ("id",))}) == 7


def test_texts_that_share_their_bytes_differ_by_where_they_are_cut() -> None:
    one, two = pa.table({"a": ["xy", "z"]}), pa.table({"a": ["x", "yz"]})
    assert partition_digest(one, ("a",)) != partition_digest(two, ("a",))


def test_a_slice_has_the_digest_of_its_own_rows() -> None:
    rows = pa.table({"a": ["x", "yy", "zzz"], "b": [1, 2, 3]})
    alone = pa.table({"a": ["yy", "zzz"], "b": [2, 3]})
    assert partition_digest(rows.slice(1), ("a",)) == partition_digest(alone, ("a",))


def test_a_day_is_what_was_ingested_or_is_refused() -> None:
    rows = pa.table({"id": [1, 2], "share": [0.25, 0.5]})
    digest, day = partition_digest(rows, ("id",)), date(2013, 1, 1)
    check_day("flights", ("id",), day, rows.take([1, 0]), digest)
    changed = pa.table({"id": [1, 2], "share": [0.25, 0.75]})
    with pytest.raises(LakeError) as refused:
        check_day("flights", ("id",), day, changed, digest)
    assert str(refused.value) == (
        f"Table 'flights': day 2013-01-01 reads as {partition_digest(changed, ('id',))[:12]}..., "
        f"ingested as {digest[:12]}.... Its files are damaged: restore the lake from a copy, or "
        "ingest the day again."
    )
