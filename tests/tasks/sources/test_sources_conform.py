"""What every source must do, whatever its kind; what only one kind has is in its own file."""

import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.lab.datasets import Column
from pilotline.tasks.lake.digests import partition_digest
from pilotline.tasks.sources.contract import nullable
from tests.support.tasks.facts import COLUMNS, DAY, ROWS, facts_table
from tests.support.tasks.source_adapters import ADAPTERS, PLACEHOLDER, Adapter

NEXT = DAY + timedelta(days=1)
MANY = 70_000  # more than any source gives at once
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
TEXTS = [
    "",
    " ",
    "a,b",
    'a"b',
    "NULL",
    "NA",
    "nan",
    "\\N",
    "\\.",
    "%s",
    "é",
    "𝄞 ☃",
    "0",
    "x" * 5000,
]


@pytest.fixture(params=list(ADAPTERS))
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    """Return an empty source of each kind."""
    home = tmp_path / uuid.uuid4().hex
    home.mkdir()
    return ADAPTERS[request.param](request, home)


def facts(*changes: Mapping[str, Any], day: date = DAY) -> pa.Table:
    """Return rows of a day that are as the first of the facts but for their changes."""
    rows = [{**ROWS[0], "day": day, **change} for change in changes]
    return pa.Table.from_pylist(rows, facts_table().schema)


def retyped(name: str, value: object, kind: pa.DataType) -> pa.Table:
    """Return one row of the day with another type in one column."""
    rows = facts({})
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, name, pa.array([value], kind))


def sorted_by_count(rows: pa.Table) -> pa.Table:
    """Return the rows by their whole numbers, in one piece."""
    return rows.sort_by("count").combine_chunks()


def test_every_declared_type_comes_in_to_the_last_bit(adapter: Adapter) -> None:
    adapter.put(DAY, facts_table())
    found = adapter.open().read(DAY)
    assert found.schema == nullable(adapter.dataset())
    assert sorted_by_count(found) == sorted_by_count(facts_table().cast(found.schema))


def test_a_whole_number_keeps_every_bit(adapter: Adapter) -> None:
    counts = [-(2**63), -1, 0, 2**53 + 1, 2**63 - 1]
    adapter.put(DAY, facts(*({"count": count} for count in counts)))
    assert sorted(adapter.open().read(DAY)["count"].to_pylist()) == counts


def test_a_float_keeps_every_bit(adapter: Adapter) -> None:
    shares = [-1 / 3, 5e-324, 0.1, 1.7976931348623157e308]
    adapter.put(DAY, facts(*({"share": share} for share in shares)))
    assert sorted(adapter.open().read(DAY)["share"].to_pylist()) == shares


def test_a_moment_keeps_its_microseconds(adapter: Adapter) -> None:
    moments = [
        datetime(1901, 12, 13, 20, 45, 51, tzinfo=UTC),  # before 32 bits of seconds begin
        datetime(2013, 1, 1, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 30, 12, tzinfo=UTC),
    ]
    adapter.put(DAY, facts(*({"at": at} for at in moments)))
    assert sorted(adapter.open().read(DAY)["at"].to_pylist()) == moments


def test_texts_stay_what_they_are_and_only_nothing_is_null(adapter: Adapter) -> None:
    adapter.put(DAY, facts(*({"name": t, "count": n} for n, t in enumerate([*TEXTS, None]))))
    found = sorted_by_count(adapter.open().read(DAY))
    assert found["name"].to_pylist() == [*TEXTS, None]


def test_a_column_may_begin_with_more_nulls_than_come_at_once(adapter: Adapter) -> None:
    rows = facts({"name": None, "share": None}).take(pa.array([0] * MANY))
    adapter.put(DAY, pa.concat_tables([rows, facts({"name": "late", "share": 2.5, "count": 8})]))
    found = adapter.open().read(DAY)
    assert found.num_rows == MANY + 1
    assert found["share"].null_count == found["name"].null_count == MANY
    (last,) = found.filter(pc.equal(found["count"], 8)).to_pylist()
    assert (last["name"], last["share"]) == ("late", 2.5)


def test_rows_stream_in_the_declared_columns(adapter: Adapter) -> None:
    adapter.put(DAY, facts({"count": 1}))
    adapter.put(DAY, facts({"count": 2}))
    pieces = list(adapter.open().stream(DAY))
    assert {tuple(piece.schema) for piece in pieces} == {tuple(nullable(adapter.dataset()))}
    assert sorted(n for piece in pieces for n in piece["count"].to_pylist()) == [1, 2]


def test_columns_in_another_order_are_the_same_columns(adapter: Adapter) -> None:
    adapter.put(DAY, facts_table().select(list(reversed(COLUMNS))))
    found = adapter.open().read(DAY)
    assert sorted_by_count(found) == sorted_by_count(facts_table().cast(found.schema))


@pytest.mark.parametrize("rows", [facts_table(), facts_table().slice(0, 0)], ids=["rows", "none"])
def test_a_missing_column_refuses_the_day_with_rows_or_without(
    adapter: Adapter, rows: pa.Table
) -> None:
    adapter.put(DAY, rows.drop_columns(["at"]))
    with pytest.raises(PartitionRefusedError, match=r"(?s)1 missing\..*\n  at +timestamp +missing"):
        adapter.open().read(DAY)


@pytest.mark.parametrize("rows", [facts_table(), facts_table().slice(0, 0)], ids=["rows", "none"])
def test_a_column_too_many_refuses_the_day_with_rows_or_without(
    adapter: Adapter, rows: pa.Table
) -> None:
    adapter.put(DAY, rows.append_column("gate", rows["name"]))
    with pytest.raises(PartitionRefusedError, match=r"(?s)1 not declared\..*\n  gate +not decl"):
        adapter.open().read(DAY)


def test_a_renamed_column_is_said_to_be_one(adapter: Adapter) -> None:
    names = ["counts" if name == "count" else name for name in COLUMNS]
    adapter.put(DAY, facts_table().rename_columns(names))
    with pytest.raises(PartitionRefusedError, match=r"missing; renamed to 'counts'\?"):
        adapter.open().read(DAY)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("count", 7.5, pa.float64()),
        ("count", "seven", pa.string()),
        ("share", "a half", pa.string()),
        ("open", 2, pa.int64()),
        ("open", "yes", pa.string()),
        ("at", NOON.replace(tzinfo=None), pa.timestamp("us")),  # no moment without a zone
        ("at", "noon", pa.string()),
    ],
)
def test_a_value_of_another_type_refuses_the_day_and_names_its_column(
    adapter: Adapter, name: str, value: object, kind: pa.DataType
) -> None:
    adapter.put(DAY, retyped(name, value, kind))
    with pytest.raises(PartitionRefusedError) as refused:
        adapter.open().read(DAY)
    said = str(refused.value)
    assert said.startswith(f"Partition {DAY} of dataset 'facts' refused: ")
    assert name in said
    assert COLUMNS[name].type in said


def test_a_value_broken_late_leaves_no_rows_at_all(adapter: Adapter) -> None:
    whole = facts({"share": 1.0}).take(pa.array([0] * MANY))
    place = whole.schema.get_field_index("name")
    columns = {**COLUMNS, "name": Column("int64")}
    texts = pa.array(["7"] * (MANY - 1) + ["seven"])
    adapter.put(DAY, whole.set_column(place, "name", texts))
    with pytest.raises(PartitionRefusedError, match="name"):
        adapter.open(columns).read(DAY)


def test_bytes_that_are_not_utf_8_are_never_taken_for_text(adapter: Adapter) -> None:
    refusals = (PartitionRefusedError, SourceError, psycopg.errors.CharacterNotInRepertoire)

    def bring_in() -> None:
        adapter.put_bytes(DAY, facts({}, {"name": PLACEHOLDER}), b"caf\xe9 \xff")
        adapter.open().read(DAY)

    with pytest.raises(refusals, match=r"UTF-?8"):
        bring_in()


def test_a_day_without_rows_is_a_table_of_the_declared_columns(adapter: Adapter) -> None:
    adapter.put(DAY, facts_table())
    adapter.put(NEXT, facts_table().slice(0, 0))
    found = adapter.open().read(NEXT)
    assert (found.num_rows, found.schema) == (0, nullable(adapter.dataset()))


def test_each_day_has_its_own_rows(adapter: Adapter) -> None:
    adapter.put(DAY, facts({"count": 1}, {"count": 2}))
    adapter.put(NEXT, facts({"count": 3}, day=NEXT))
    adapter.put(DAY, facts({"count": 4}))
    source = adapter.open()
    for day, counts in ((DAY, [1, 2, 4]), (NEXT, [3]), (DAY, [1, 2, 4])):
        assert sorted(source.read(day)["count"].to_pylist()) == counts


def test_the_same_rows_in_any_order_have_the_digest_that_they_have_everywhere(
    adapter: Adapter,
) -> None:
    adapter.put(DAY, facts_table().take([2, 0, 1]))
    adapter.put(NEXT, facts_table().slice(0, 0))
    found = adapter.open().read(DAY)
    key = adapter.dataset().key
    assert partition_digest(found, key) == partition_digest(facts_table(), key)


def test_reading_ends_at_the_deadline(adapter: Adapter) -> None:
    adapter.put(DAY, facts({}).take(pa.array([0] * MANY)))
    with pytest.raises(
        SourceError, match=r"^Source of dataset 'facts': it did not give the day within 0\.001 s\. "
    ):
        adapter.open(timeout_s=0.001).read(DAY)


def test_a_source_that_is_gone_is_noticed_when_it_is_read_and_not_before(adapter: Adapter) -> None:
    adapter.put(DAY, facts_table())
    adapter.take_away()
    source = adapter.open()
    with pytest.raises((SourceError, PartitionRefusedError), match="dataset 'facts'"):
        source.read(DAY)
