"""Cleaning the lake removes what nothing refers to, and no row of a version in use."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import date, timedelta
from typing import Protocol

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.failpoints import VARIABLE
from pilotline.registry.record.versions import get_version, learned_from
from pilotline.registry.runs.ingests import get_partition
from pilotline.registry.runs.shown import visible_runs
from pilotline.tasks.errors import LakeError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.days import ingest_days
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.datasets import Dataset
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.digests import partition_digest
from pilotline.tasks.lake.garbage import Vacuumed, vacuum_lake
from pilotline.tasks.score.job import Job
from pilotline.tasks.sources.opening import open_source
from tests.conftest import local
from tests.support.places import ROOT
from tests.support.tasks.calls import Score
from tests.support.tasks.ingested import PROCESS
from tests.tasks.conftest import DAYS, MODEL

DAY = date(2013, 1, 14)
GRACE = timedelta(hours=24)
OLD_DAYS = 40


class BringIn(Protocol):
    """Changes days in the source and ingests them again."""

    def __call__(self, *days: date, hour: int) -> None:
        """Bring them in."""


@pytest.fixture
def bring_in(home: Home, registry: Registry, flights: Dataset, validator: Validator) -> BringIn:
    """Return a function that changes days in the source and ingests them again."""

    def brought(*days: date, hour: int) -> None:
        with closing(sqlite3.connect(home.root / "online.db")) as database, database:
            for day in days:
                sql = "update flights set hour = ? where flight_date = ? and flight = 1"
                database.execute(sql, (hour, day.isoformat()))
        source = open_source(flights, home.root)
        assert all(
            day.changed
            for day in ingest_days(flights, source, validator, days, registry, home.lake)
        )

    return brought


def age(home: Home) -> None:
    """Let every file of the lake look old, its log too, so that only references keep it."""
    moment = time.time() - OLD_DAYS * 86_400
    for path in local(home.lake).rglob("*"):
        os.utime(path, (moment, moment))


def age_tombstones(home: Home) -> None:
    """Let every removal in the log look old; the log itself says when it was."""
    moment = int((time.time() - OLD_DAYS * 86_400) * 1000)
    for path in local(home.lake).rglob("_delta_log/*.json"):
        lines = []
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if "remove" in entry:
                entry["remove"]["deletionTimestamp"] = moment
            lines.append(json.dumps(entry))
        path.write_text("\n".join(lines) + "\n")
    age(home)


def files_of(found: list[Vacuumed], table: str) -> list[str]:
    """Return what was found in one table."""
    return [file for each in found if each.table == table for file in each.files]


def digest_at(home: Home, dataset: Dataset, version: int, day: date) -> str:
    """Return the digest of a day as it reads at a version of the table."""
    table = lake.open_table(lake.accepted_path(home.lake, dataset.name), version)
    rows = lake.read(table, dataset.schema, lake.on_day(dataset.date, day))
    return partition_digest(rows, dataset.key)


def test_versions_that_models_and_runs_refer_to_stay_readable_and_others_go(
    home: Home,
    registry: Registry,
    job: Job,
    score: Score,
    flights: Dataset,
    bring_in: BringIn,
) -> None:
    score(DAY)
    for hour in (3, 4, 5):
        bring_in(DAYS[0], DAY, DAYS[20], hour=hour)
    age_tombstones(home)
    done = vacuum_lake(registry, home.lake, GRACE, only_plan=False)
    # Of each day the first rows were learned from or scored, the last are the present ones. Of a
    # day that nobody read until now, its first rows are in the same version of the table.
    assert len(files_of(done, "datasets/flights/accepted")) == 2 * 3
    with registry.read() as session:
        version = get_version(session, MODEL, "1.0.0")
        items = [i for i in learned_from(session, version) if i.dataset == "flights"]
        run = visible_runs(session, version.model_id, "production", DAY, DAY)[DAY]
        present = [get_partition(session, "flights", day) for day in DAYS]
    assert len(items) == 13
    for item in items:
        found = digest_at(home, flights, item.table_version, item.date)
        assert found == item.partition_digest
    assert digest_at(home, flights, run.table_version, DAY) == run.partition_digest
    for partition in present:
        found = digest_at(home, flights, partition.table_version, partition.date)
        assert found == partition.partition_digest
    with pytest.raises(LakeError):
        digest_at(home, flights, present[0].table_version - 1, DAYS[0])
    assert vacuum_lake(registry, home.lake, GRACE, only_plan=False) == []


def test_a_plan_removes_nothing_and_says_how_much_it_would(
    home: Home, registry: Registry, bring_in: BringIn
) -> None:
    for hour in (3, 4):
        bring_in(DAYS[0], hour=hour)
    age_tombstones(home)
    planned = vacuum_lake(registry, home.lake, GRACE, only_plan=True)
    (table,) = planned
    path = local(home.lake) / table.table
    assert len(table.files) == 1
    assert table.size_bytes == sum((path / file).stat().st_size for file in table.files) > 0
    assert vacuum_lake(registry, home.lake, GRACE, only_plan=False)[0].files == table.files
    assert not (path / table.files[0]).exists()


def test_what_a_crashed_writer_left_goes_after_the_grace_time(
    home: Home, registry: Registry
) -> None:
    folder = local(lake.accepted_path(home.lake, "flights")) / "flight_date=2013-01-01"
    orphan = folder / "part-00000-11111111-2222-3333-4444-555555555555-c000.snappy.parquet"
    orphan.write_bytes(b"half a file")
    assert vacuum_lake(registry, home.lake, GRACE, only_plan=False) == []
    age(home)
    found = vacuum_lake(registry, home.lake, GRACE, only_plan=False)
    assert [(table.files, table.size_bytes) for table in found] == [
        ([f"flight_date=2013-01-01/{orphan.name}"], 11)
    ]
    assert not orphan.exists()


def test_rows_that_count_stay_though_a_killed_ingest_replaced_them_in_the_table(
    home: Home, registry: Registry, flights: Dataset, bring_in: BringIn
) -> None:
    bring_in(DAYS[0], hour=3)  # these rows nobody learned from
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        database.execute("update flights set hour = 4 where flight = 1")
    killed = subprocess.run(
        [sys.executable, "-c", PROCESS, str(home.root)],
        env=os.environ | {VARIABLE: "ingest: accepted"},
        cwd=ROOT,
        check=False,
    )
    assert killed.returncode < 0
    age_tombstones(home)
    vacuum_lake(registry, home.lake, GRACE, only_plan=False)
    with registry.read() as session:
        partition = get_partition(session, "flights", DAYS[0])
    found = digest_at(home, flights, partition.table_version, DAYS[0])
    assert found == partition.partition_digest
