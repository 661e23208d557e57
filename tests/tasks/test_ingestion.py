"""Ingesting a day: each row in exactly one table, wholly or not at all, again without change."""

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from registry import Registry
from registry.ingests import find_partition, list_partitions
from tasks import lake
from tasks.datasets import Dataset
from tasks.errors import LakeError, PartitionRefusedError, SourceError
from tasks.home import Home
from tasks.ingestion import QUARANTINE_SCHEMA, DayIngested, ingest_day
from tasks.quarantine import list_quarantine
from tasks.sources import open_source
from tasks.validation import Validator

DAY = date(2013, 1, 1)
ROWS = 100  # of a day in the source


# Dies where it matters: the broken rows are committed, the accepted ones are not.
KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from registry import Registry
from tasks import ingestion
from tasks.datasets import load_dataset
from tasks.sources import open_source
from tasks.validation import Validator

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(ingestion, sys.argv[2], die)
root = Path(sys.argv[1])
dataset = load_dataset(root.parent / "lab", "flights")
with Registry(f"sqlite:///{root / 'registry.db'}", root / "blobs") as registry:
    ingestion.ingest_day(
        dataset, open_source(dataset, root), Validator(dataset), date(2013, 1, 1), registry,
        root / "lake")
"""


@pytest.fixture
def registry(fresh: Home) -> Iterator[Registry]:
    """Return the open registry of a home where nothing was ingested."""
    with fresh.open_registry() as opened:
        yield opened


def change(home: Home, sql: str) -> None:
    """Change the source."""
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        database.execute(sql)


def bring_in(
    home: Home, dataset: Dataset, validator: Validator, registry: Registry, day: date = DAY
) -> DayIngested:
    """Ingest a day of the flights."""
    return ingest_day(dataset, open_source(dataset, home.root), validator, day, registry, home.lake)


def accepted(home: Home, dataset: Dataset, day: date = DAY) -> list[dict[str, Any]]:
    """Return the day's accepted rows."""
    table = lake.open_table(lake.accepted_path(home.lake, dataset.name))
    rows: list[dict[str, Any]] = lake.read(
        table, dataset.schema, lake.on_day(dataset.date, day)
    ).to_pylist()
    return rows


def versions(home: Home) -> list[int]:
    """Return the versions of both tables, -1 where there is none."""
    paths = [lake.accepted_path(home.lake, "flights"), lake.quarantine_path(home.lake, "flights")]
    return [lake.open_table(path).version() if path.exists() else -1 for path in paths]


BREAK_TWO = "update flights set distance = -1 where flight_date = '2013-01-01' and flight in (3, 4)"


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


@pytest.mark.parametrize("dies_in", ["_write_accepted", "record_ingest"])
@pytest.mark.parametrize("ingested_before", [False, True])
def test_a_kill_at_any_moment_and_a_rerun_equal_no_kill(
    fresh: Home,
    flights: Dataset,
    validator: Validator,
    registry: Registry,
    dies_in: str,
    ingested_before: bool,
) -> None:
    if ingested_before:
        bring_in(fresh, flights, validator, registry)
    change(fresh, BREAK_TWO)
    before = versions(fresh)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(fresh.root), dies_in], capture_output=True, check=False
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert versions(fresh)[1] == before[1] + (1 if ingested_before else 2)  # made, then filled
    assert list_quarantine(fresh, "flights") == []  # its token is of no recorded ingest
    found = bring_in(fresh, flights, validator, registry)
    assert (found.ingested, found.accepted, found.quarantined, found.changed) == (100, 98, 2, True)
    assert len(accepted(fresh, flights)) == 98
    stored = lake.read(
        lake.open_table(lake.quarantine_path(fresh.lake, "flights")), QUARANTINE_SCHEMA, None
    )
    assert stored["row_number"].to_pylist() == [2, 3]
    assert len(list_quarantine(fresh, "flights")) == 2


def test_the_commit_holds_the_token_and_both_counts(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, BREAK_TWO)
    bring_in(fresh, flights, validator, registry)
    last = lake.open_table(lake.accepted_path(fresh.lake, "flights")).history()[0]
    with registry.read() as session:
        known = find_partition(session, "flights", DAY)
    assert known is not None
    assert (last["accepted"], last["quarantined"], last["token"]) == ("98", "2", known.token)


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
    assert Path(fresh.lake).is_dir()
    assert pa.types.is_floating(flights.schema.field("dep_delay").type)


def test_a_kill_in_a_second_ingest_loses_no_quarantined_row_of_the_first(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, BREAK_TWO)
    bring_in(fresh, flights, validator, registry)
    set_aside = list_quarantine(fresh, "flights")
    assert len(set_aside) == 2
    change(fresh, "update flights set distance = 5000 where flight = 50")
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(fresh.root), "_write_accepted"], check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert list_quarantine(fresh, "flights") == set_aside
    bring_in(fresh, flights, validator, registry)
    assert len(list_quarantine(fresh, "flights")) == 2


def test_a_source_that_goes_back_after_a_kill_is_brought_in_again(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    first = bring_in(fresh, flights, validator, registry)
    rows = accepted(fresh, flights)
    change(fresh, "update flights set distance = distance + 1")
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(fresh.root), "record_ingest"], check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert accepted(fresh, flights) != rows
    change(fresh, "update flights set distance = distance - 1")
    again = bring_in(fresh, flights, validator, registry)
    assert (again.changed, again.partition_digest) == (True, first.partition_digest)
    assert accepted(fresh, flights) == rows
    assert not bring_in(fresh, flights, validator, registry).changed
