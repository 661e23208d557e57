"""Ingests that are killed, or meet another: the same as one that nobody disturbed."""

import os
import signal
import subprocess
import sys

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.failpoints import NAMES, VARIABLE
from pilotline.registry.runs.ingests import find_partition
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.commit import QUARANTINE_SCHEMA
from pilotline.tasks.ingest.quarantine import list_quarantine
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.datasets import Dataset
from pilotline.tasks.lake import tables as lake
from tests.support.places import ROOT
from tests.support.tasks.ingested import (
    BREAK_TWO,
    DAY,
    PROCESS,
    ROWS,
    accepted,
    bring_in,
    change,
)

FAILPOINTS = [name for name in NAMES if name.startswith("ingest: ")]
RECORDED = FAILPOINTS.index("ingest: recorded")


def kill_at(failpoint: str, home: Home) -> None:
    """Ingest the day, and kill the process at ``failpoint``."""
    killed = subprocess.run(
        [sys.executable, "-c", PROCESS, str(home.root)],
        env=os.environ | {VARIABLE: failpoint},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


@pytest.fixture
def home(fresh: Home) -> Home:
    """Return a home where nothing was ingested."""
    return fresh


@pytest.mark.parametrize("failpoint", FAILPOINTS)
@pytest.mark.parametrize("ingested_before", [False, True])
def test_a_kill_at_any_moment_and_a_rerun_equal_no_kill(
    fresh: Home,
    flights: Dataset,
    validator: Validator,
    registry: Registry,
    failpoint: str,
    ingested_before: bool,
) -> None:
    if ingested_before:
        bring_in(fresh, flights, validator, registry)
    change(fresh, BREAK_TWO)
    kill_at(failpoint, fresh)
    recorded = FAILPOINTS.index(failpoint) >= RECORDED
    # Before that, what is in quarantine has a token of no recorded ingest.
    assert len(list_quarantine(fresh, "flights")) == (2 if recorded else 0)
    found = bring_in(fresh, flights, validator, registry)
    assert (found.ingested, found.accepted, found.quarantined) == (100, 98, 2)
    assert found.changed != recorded
    assert len(accepted(fresh, flights)) == 98
    stored = lake.read(
        lake.open_table(lake.quarantine_path(fresh.lake, "flights")), QUARANTINE_SCHEMA, None
    )
    assert stored["row_number"].to_pylist() == [2, 3]
    assert len(list_quarantine(fresh, "flights")) == 2


def test_a_kill_in_a_second_ingest_loses_no_quarantined_row_of_the_first(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, BREAK_TWO)
    bring_in(fresh, flights, validator, registry)
    set_aside = list_quarantine(fresh, "flights")
    assert len(set_aside) == 2
    change(fresh, "update flights set distance = 5000 where flight = 50")
    kill_at("ingest: quarantined", fresh)
    assert list_quarantine(fresh, "flights") == set_aside
    bring_in(fresh, flights, validator, registry)
    assert len(list_quarantine(fresh, "flights")) == 2


def test_a_source_that_goes_back_after_a_kill_is_brought_in_again(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    first = bring_in(fresh, flights, validator, registry)
    rows = accepted(fresh, flights)
    change(fresh, "update flights set distance = distance + 1")
    kill_at("ingest: accepted", fresh)
    assert accepted(fresh, flights) != rows
    change(fresh, "update flights set distance = distance - 1")
    again = bring_in(fresh, flights, validator, registry)
    assert (again.changed, again.partition_digest) == (True, first.partition_digest)
    assert accepted(fresh, flights) == rows
    assert not bring_in(fresh, flights, validator, registry).changed


def test_two_ingests_of_a_day_at_once_leave_the_table_and_the_record_alike(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    command = [sys.executable, "-c", PROCESS, str(fresh.root)]
    first = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    change(fresh, BREAK_TWO)
    second = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    assert (first.wait(120), second.wait(120)) == (0, 0)
    with registry.read() as session:
        known = find_partition(session, "flights", DAY)
    assert known is not None
    rows, aside = accepted(fresh, flights), list_quarantine(fresh, "flights")
    assert (len(rows), len(aside)) == (known.accepted, known.quarantined)
    assert len(rows) + len(aside) == ROWS
    numbers = [row["flight"] for row in rows] + [row["row"]["flight"] for row in aside]
    assert sorted(numbers) == list(range(1, ROWS + 1))


def test_quarantined_rows_that_come_back_after_a_kill_are_there_once(
    fresh: Home, flights: Dataset, validator: Validator, registry: Registry
) -> None:
    change(fresh, BREAK_TWO)
    bring_in(fresh, flights, validator, registry)
    set_aside = list_quarantine(fresh, "flights")
    change(fresh, "update flights set distance = distance + 1 where flight = 50")
    kill_at("ingest: accepted", fresh)
    change(fresh, "update flights set distance = distance - 1 where flight = 50")
    assert bring_in(fresh, flights, validator, registry).changed
    assert list_quarantine(fresh, "flights") == set_aside
