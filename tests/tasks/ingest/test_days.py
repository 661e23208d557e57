"""Ingesting a day: each row in exactly one table, wholly or not at all, again without change."""

import json
import math
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pilotline.registry import Registry
from pilotline.registry.runs.ingests import find_partition, list_partitions
from pilotline.tasks.errors import LakeError, PartitionRefusedError, SourceError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.days import DayIngested, ingest_day, ingest_days
from pilotline.tasks.ingest.quarantine import list_quarantine
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.datasets import Dataset
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.sources.opening import open_source
from tests.conftest import local
from tests.support.tasks.ingested import BREAK_TWO, DAY, ROWS, accepted, bring_in, change, versions
from tests.tasks.conftest import FIRST, copy_home


@pytest.fixture
def home(fresh: Home) -> Home:
    """Return a home where nothing was ingested."""
    return fresh


def test_each_row_is_accepted_or_quarantined_and_never_both(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, BREAK_TWO)
    found = bring_in(fresh, flights, validator, registry)
    assert (found.ingested, found.accepted, found.quarantined, found.changed) == (100, 98, 2, True)
    numbers = [row["flight"] for row in accepted(fresh, flights)]
    broken = [row["row"]["flight"] for row in list_quarantine(fresh, "flights")]
    assert sorted(broken) == [3, 4]
    assert sorted(numbers + broken) == list(range(1, ROWS + 1))


def test_the_same_rows_again_change_nothing(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, BREAK_TWO)
    first = bring_in(fresh, flights, validator, registry)
    before = versions(fresh)
    again = bring_in(fresh, flights, validator, registry)
    assert again == replace(first, changed=False)
    assert versions(fresh) == before
    with registry.read() as session:
        assert len(list_partitions(session, "flights")) == 1


def test_a_file_damaged_since_is_mended_by_the_same_rows(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    first = bring_in(fresh, flights, validator, registry)
    before = accepted(fresh, flights)
    folder = local(lake.accepted_path(fresh.lake, "flights")) / f"flight_date={DAY}"
    (file,) = folder.glob("*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    again = bring_in(fresh, flights, validator, registry)
    assert (again.changed, again.partition_digest) == (True, first.partition_digest)
    assert accepted(fresh, flights) == before
    file.unlink()  # the damaged one, which no row is in any more
    assert bring_in(fresh, flights, validator, registry).changed is False


def test_a_lake_that_is_gone_is_not_begun_anew(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    bring_in(fresh, flights, validator, registry)
    shutil.rmtree(local(fresh.lake))
    with pytest.raises(LakeError, match=r"there is none at .*, on record are 2013-01-01 to .*LAKE"):
        bring_in(fresh, flights, validator, registry)
    assert not local(fresh.lake).exists()


def test_the_same_rows_in_another_order_change_nothing(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    first = bring_in(fresh, flights, validator, registry)
    turned = replace(flights.source, query=flights.source.query + " order by flight desc")
    again = bring_in(fresh, replace(flights, source=turned), validator, registry)
    assert (again.changed, again.partition_digest) == (False, first.partition_digest)


def test_changed_rows_are_a_new_digest_and_replace_the_day(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    first = bring_in(fresh, flights, validator, registry)
    change(fresh, "update flights set hour = 23 where flight_date = '2013-01-01' and flight = 1")
    again = bring_in(fresh, flights, validator, registry)
    assert again.changed
    assert again.partition_digest != first.partition_digest
    (changed,) = [row for row in accepted(fresh, flights) if row["flight"] == 1]
    assert (changed["hour"], len(accepted(fresh, flights))) == (23, ROWS)


def test_a_corrected_day_empties_its_quarantine(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, BREAK_TWO)
    bring_in(fresh, flights, validator, registry)
    change(fresh, "update flights set distance = 700 where distance = -1")
    assert bring_in(fresh, flights, validator, registry).quarantined == 0
    assert list_quarantine(fresh, "flights") == []


def test_a_day_with_too_many_broken_rows_is_refused_whole(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, "update flights set distance = -1 where flight <= 6")
    with pytest.raises(
        PartitionRefusedError,
        match=r"refused: 6 of 100 rows are broken \(6\.0%, at most 5\.0%\), such as: A flight "
        r"covers .*Mend the source, or raise max_share",
    ):
        bring_in(fresh, flights, validator, registry)
    assert versions(fresh) == [-1, -1]
    with registry.read() as session:
        assert find_partition(session, "flights", DAY) is None


def test_exactly_the_allowed_share_is_accepted(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, "update flights set distance = -1 where flight <= 5")
    assert bring_in(fresh, flights, validator, registry).quarantined == 5


def test_a_refused_day_leaves_what_was_there(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    first = bring_in(fresh, flights, validator, registry)
    before = versions(fresh)
    change(fresh, "update flights set distance = -1")
    with pytest.raises(PartitionRefusedError):
        bring_in(fresh, flights, validator, registry)
    assert versions(fresh) == before
    with registry.read() as session:
        known = find_partition(session, "flights", DAY)
    assert known is not None
    assert known.partition_digest == first.partition_digest


def test_a_day_that_fails_as_a_whole_is_refused(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    with closing(sqlite3.connect(fresh.root / "online.db")) as database, database:
        database.executemany(
            "insert into flights select flight_date, carrier, flight + ?, origin, dest, tailnum, "
            "hour, minute, distance, dep_delay from flights where flight_date = '2013-01-01'",
            [(100,), (200,), (400,), (800,), (1600,)],
        )
    with pytest.raises(PartitionRefusedError, match=r"\(found 3200\)\. Look at the source\.$"):
        bring_in(fresh, flights, validator, registry)
    assert versions(fresh) == [-1, -1]


def test_a_day_the_source_does_not_have_is_refused(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    with pytest.raises(PartitionRefusedError, match="the source has no rows for this day"):
        bring_in(fresh, flights, validator, registry, date(2014, 1, 1))
    assert versions(fresh) == [-1, -1]


def test_a_source_that_is_gone_is_an_error(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    (fresh.root / "online.db").unlink()
    with pytest.raises(SourceError, match="is gone"):
        bring_in(fresh, flights, validator, registry)


def test_a_table_that_cannot_be_written_is_an_error(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    path = lake.accepted_path(fresh.lake, "flights")
    lake.ensure_table(path, flights.schema.remove(5), ["flight_date"])
    with pytest.raises(LakeError, match=r"^Table 'accepted': has columns .*give the dataset"):
        bring_in(fresh, flights, validator, registry)


def test_the_commit_holds_the_token_and_both_counts(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, BREAK_TWO)
    bring_in(fresh, flights, validator, registry)
    last = lake.open_table(lake.accepted_path(fresh.lake, "flights")).history()[0]
    with registry.read() as session:
        known = find_partition(session, "flights", DAY)
    assert known is not None
    assert (last["accepted"], last["quarantined"]) == ("98", "2")
    assert json.loads(last["tokens"]) == {"2013-01-01": known.token}


def test_each_day_is_a_partition_of_its_own(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    days = [date(2013, 1, n) for n in (1, 2, 3)]
    random.Random(0).shuffle(days)
    for day in days:
        bring_in(fresh, flights, validator, registry, day)
    table = lake.open_table(lake.accepted_path(fresh.lake, "flights"))
    found = lake.read(table, flights.schema, None)
    counts = {
        row["values"]: row["counts"] for row in found["flight_date"].value_counts().to_pylist()
    }
    assert counts == dict.fromkeys(days, ROWS)


def test_nulls_in_a_table_of_the_source_s_own_types_are_kept(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    bring_in(fresh, flights, validator, registry)
    cancelled = [row for row in accepted(fresh, flights) if row["dep_delay"] is None]
    assert [row["flight"] for row in cancelled if row["flight"] % 20] == []
    assert len(cancelled) == 5
    assert local(fresh.lake).is_dir()
    assert pa.types.is_floating(flights.schema.field("dep_delay").type)


def bring_in_days(
    home: Home, dataset: Dataset, validator: Validator, registry: Registry, days: list[date]
) -> list[DayIngested]:
    """Ingest days together."""
    source = open_source(dataset, home.root)
    return list(ingest_days(dataset, source, validator, days, registry, home.lake))


def test_days_together_become_what_each_alone_becomes(
    fresh: Home, blank: Home, flights: Dataset, validator: Validator, tmp_path: Path
) -> None:
    alone = copy_home(blank, tmp_path / "alone")
    days = [FIRST + timedelta(days=n) for n in range(4)]
    for home in (fresh, alone):
        change(home, BREAK_TWO)
        change(home, "update flights set dest = 'ZZZ' where flight_date = '2013-01-03' and hour=9")
        twice = "flight_date = '2013-01-04' and flight = 7"
        change(home, f"insert into flights select * from flights where {twice}")
    with fresh.open_registry() as registry, alone.open_registry() as other:
        together = bring_in_days(fresh, flights, validator, registry, days)
        singly = [bring_in(alone, flights, validator, other, day) for day in days]
    assert [replace(day, table_version=0) for day in together] == [
        replace(day, table_version=0) for day in singly
    ]
    assert {day.table_version for day in together} == {1}  # one commit
    assert list_quarantine(fresh, "flights") == list_quarantine(alone, "flights") != []


def test_a_refused_day_lets_those_before_it_in_and_none_after_it(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, "update flights set distance = -1 where flight_date = '2013-01-03'")
    days = [FIRST + timedelta(days=n) for n in range(4)]
    with pytest.raises(PartitionRefusedError, match=r"^Partition 2013-01-03 of"):
        bring_in_days(fresh, flights, validator, registry, days)
    with registry.read() as session:
        assert [p.date for p in list_partitions(session, "flights")] == days[:2]


def test_a_source_that_fails_at_a_later_day_lets_those_before_it_in(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    days = [date(2013, 1, 22), date(2013, 1, 23)]  # the source ends with the first
    with pytest.raises(PartitionRefusedError, match="the source has no rows for this day"):
        bring_in_days(fresh, flights, validator, registry, days)
    with registry.read() as session:
        assert [p.date for p in list_partitions(session, "flights")] == days[:1]


class Given:
    """A source that gives a table."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows

    def stream(self, day: date) -> Iterator[pa.RecordBatch]:
        """Yield the table."""
        yield from self.rows.to_batches()

    def read(self, day: date) -> pa.Table:
        """Return the table."""
        return self.rows


@pytest.mark.parametrize(
    ("column", "changed", "line"),
    [
        ("distance", pa.float64(), r"distance +int64 +double"),
        ("dep_delay", pa.string(), r"dep_delay +float64 +string"),
        ("hour", None, r"hour +int64 +missing"),
    ],
)
def test_columns_that_are_not_the_declared_ones_refuse_the_day_with_a_table(
    fresh: Home,
    flights: Dataset,
    validator: Validator,
    registry: Registry,
    column: str,
    changed: pa.DataType | None,
    line: str,
) -> None:
    rows = open_source(flights, fresh.root).read(DAY)
    place = rows.schema.get_field_index(column)
    if changed is None:
        rows = rows.remove_column(place)
    else:
        rows = rows.set_column(place, column, rows[column].cast(changed))
    with pytest.raises(PartitionRefusedError, match=rf"column +expected +found\n(.*\n)*? +{line}"):
        ingest_day(flights, Given(rows), validator, DAY, registry, fresh.lake)
    assert versions(fresh) == [-1, -1]


@pytest.mark.parametrize("kind", ["order", "width"])
def test_columns_that_would_have_to_be_cast_or_moved_refuse_the_day(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry, kind: str
) -> None:
    rows = open_source(flights, fresh.root).read(DAY)
    if kind == "order":
        rows = rows.select(rows.column_names[::-1])
    else:
        place = rows.schema.get_field_index("hour")
        rows = rows.set_column(place, "hour", rows["hour"].cast(pa.int32()))
    with pytest.raises(PartitionRefusedError, match="in another order or another representation"):
        ingest_day(flights, Given(rows), validator, DAY, registry, fresh.lake)
    assert versions(fresh) == [-1, -1]


def test_a_row_of_another_day_is_quarantined_and_breaks_no_row_of_that_day(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    source = open_source(flights, fresh.root)
    first, second = source.read(DAY), source.read(DAY + timedelta(days=1))

    class Mixed(Given):
        def read(self, day: date) -> pa.Table:
            return pa.concat_tables([first, second.slice(0, 1)]) if day == DAY else second

    days = [DAY, DAY + timedelta(days=1)]
    done = list(ingest_days(flights, Mixed(first), validator, days, registry, fresh.lake))
    assert [(day.accepted, day.quarantined) for day in done] == [(ROWS, 1), (ROWS, 0)]
    (row,) = list_quarantine(fresh, "flights")
    assert row["reasons"] == ["flight_date is another day than the partition's"]
    assert row["row_number"] == ROWS


def test_a_number_that_is_none_is_kept_in_quarantine_as_strict_json(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    rows = open_source(flights, fresh.root).read(DAY)
    delays = pa.array([math.nan, math.inf, *rows["dep_delay"].to_pylist()[2:]])
    place = rows.schema.get_field_index("dep_delay")
    rows = rows.set_column(place, rows.schema.field(place), delays)
    ingest_day(flights, Given(rows), validator, DAY, registry, fresh.lake)
    listed = list_quarantine(fresh, "flights")
    assert [row["row"]["dep_delay"] for row in listed] == ["nan", "inf"]
