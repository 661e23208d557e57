"""Columns as declared or a refusal with a table, and nothing cast silently."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from pilotline.tasks.errors import PartitionRefusedError
from pilotline.tasks.lab.datasets import TYPES, Column, Source
from pilotline.tasks.sources.contract import (
    ANY,
    Found,
    check_columns,
    collect,
    found_in_arrow,
    nullable,
    to_declared,
)
from tests.support.tasks.facts import COLUMNS, DAY, facts_from, facts_table, with_columns

FACTS = facts_from(Source("files"))


def as_found(**changes: str | None) -> list[Found]:
    """Return the declared columns as a source without types has them, some renamed or left out."""
    names = [changes.get(name, name) for name in COLUMNS]
    return [Found(name, "untyped", ANY) for name in names if name]


def test_columns_in_another_order_are_the_same_columns() -> None:
    check_columns(FACTS, DAY, list(reversed(as_found())))


def test_the_refusal_is_a_table_of_what_was_expected_and_found() -> None:
    found = [column for column in as_found(count="counts", open=None) if column.name != "share"]
    found += [Found("gate", "text", ANY), Found("share", "integer", frozenset({"int64"}))]
    with pytest.raises(PartitionRefusedError) as refused:
        check_columns(FACTS, DAY, found)
    assert str(refused.value) == (
        "Partition 2013-01-01 of dataset 'facts' refused: its columns are not the declared ones: "
        "2 missing, 2 not declared, 1 of another type. "
        "Bring [schema] and the source together; nothing is cast silently.\n"
        "  column  expected      found\n"
        "  share   float64       integer\n"
        "  count   int64         missing; renamed to 'counts'?\n"
        "  open    bool          missing\n"
        "  counts  not declared  untyped\n"
        "  gate    not declared  text"
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("count", pa.float64()),  # whole numbers that became floats
        ("count", pa.uint64()),  # half of them do not fit
        ("count", pa.decimal128(38, 10)),
        ("count", pa.string()),
        ("share", pa.int64()),
        ("share", pa.decimal128(38, 10)),
        ("open", pa.int8()),
        ("day", pa.timestamp("us")),
        ("day", pa.string()),
        ("at", pa.timestamp("us")),  # the zone was lost
        ("at", pa.timestamp("us", tz="Europe/Berlin")),  # the zone would be lost
        ("at", pa.date32()),
        ("name", pa.binary()),
        ("name", pa.dictionary(pa.int8(), pa.int64())),
    ],
)
def test_another_type_is_refused(name: str, kind: pa.DataType) -> None:
    schema = facts_table().schema
    schema = schema.set(schema.get_field_index(name), pa.field(name, kind))
    with pytest.raises(PartitionRefusedError, match="1 of another type") as refused:
        check_columns(FACTS, DAY, found_in_arrow(schema))
    *_, line = str(refused.value).splitlines()
    assert line.split(maxsplit=2) == [name, COLUMNS[name].type, str(kind)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("count", pa.int64()),
        ("name", pa.large_string()),
        ("name", pa.string_view()),
        ("name", pa.dictionary(pa.int32(), pa.string())),
        ("day", pa.date64()),
        ("at", pa.timestamp("us", tz="+00:00")),
        ("at", pa.timestamp("ns", tz="Etc/UTC")),
        ("at", pa.timestamp("s", tz="UTC")),
    ],
)
def test_another_form_of_the_same_values_is_taken(name: str, kind: pa.DataType) -> None:
    table = facts_table()
    place = table.schema.get_field_index(name)
    table = table.set_column(place, name, table.column(name).cast(kind)).combine_chunks()
    check_columns(FACTS, DAY, found_in_arrow(table.schema))
    batches = (to_declared(FACTS, DAY, batch) for batch in table.to_batches())
    assert collect(FACTS, batches) == facts_table().cast(nullable(FACTS))


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.uint8(), pa.uint32(), pa.int32()])
def test_narrower_whole_numbers_are_taken(kind: pa.DataType) -> None:
    numbers = with_columns(FACTS, {"count": Column("int64")})
    batch = pa.record_batch({"count": pa.array([0, 7, None], kind)})
    check_columns(numbers, DAY, found_in_arrow(batch.schema))
    assert to_declared(numbers, DAY, batch).column("count") == pa.array([0, 7, None], pa.int64())


def test_a_float_of_half_the_width_keeps_its_exact_value() -> None:
    shares = with_columns(FACTS, {"share": Column("float64")})
    batch = pa.record_batch({"share": pa.array([0.1], pa.float32())})
    check_columns(shares, DAY, found_in_arrow(batch.schema))
    # The float32 nearest to 0.1, after IEEE 754.
    assert to_declared(shares, DAY, batch).column("share").to_pylist() == [13421773 / 2**27]


def test_a_column_without_a_single_value_fits_every_type() -> None:
    for declared in TYPES:
        empty = with_columns(FACTS, {"x": Column(declared, nullable=True)})
        batch = pa.record_batch({"x": pa.nulls(2)})
        check_columns(empty, DAY, found_in_arrow(batch.schema))
        assert to_declared(empty, DAY, batch).column("x").null_count == 2


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("at", pa.array([1], pa.timestamp("ns", tz="UTC")), "column 'at': expected timestamp, fou"),
        ("at", pa.array([2**62], pa.timestamp("us", tz="UTC")), "outside the years 1 to 9999"),
        ("day", pa.array([2**31 - 1], pa.date32()), "a date outside the years 1 to 9999, such as"),
        ("day", pa.array([-735160], pa.date32()), r"outside .* Mend the source or declare another"),
    ],
)
def test_a_value_that_would_be_lost_refuses_the_day(
    name: str, array: pa.Array, message: str
) -> None:
    one = with_columns(FACTS, {name: COLUMNS[name]})
    with pytest.raises(PartitionRefusedError, match=message):
        to_declared(one, DAY, pa.record_batch({name: array}))


def test_the_first_and_the_last_moment_are_inside() -> None:
    moments = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ]
    one = with_columns(FACTS, {"at": COLUMNS["at"]})
    batch = pa.record_batch({"at": pa.array(moments, pa.timestamp("us", tz="UTC"))})
    assert to_declared(one, DAY, batch).column("at").to_pylist() == moments


def test_ten_thousand_columns_are_refused_within_a_page() -> None:
    found = [*as_found(), *(Found(f"c{n}" * 40, "untyped", ANY) for n in range(10_000))]
    with pytest.raises(PartitionRefusedError, match="10000 not declared") as refused:
        check_columns(FACTS, DAY, found)
    lines = str(refused.value).splitlines()
    assert (len(lines), lines[-1]) == (23, "  ... and 9980 more")
    assert max(map(len, lines[1:])) < 120


def test_no_batches_are_an_empty_table_of_the_declared_columns() -> None:
    assert collect(FACTS, []).schema == nullable(FACTS)
