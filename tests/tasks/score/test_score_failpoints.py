"""A process killed at any step of scoring and run again is as one undisturbed."""

import os
import signal
import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from pilotline.registry.form.failpoints import NAMES, VARIABLE
from pilotline.registry.record.versions import get_version
from pilotline.registry.runs.ingests import get_partition
from pilotline.registry.runs.listing import list_runs
from pilotline.registry.runs.runs import outcome_of, unsettled_runs
from pilotline.registry.runs.shown import visible_runs
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_bundle, load_champion
from pilotline.tasks.lab.datasets import Dataset
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.digests import partition_digest
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.days import score_days
from pilotline.tasks.score.job import Job, plan_job
from tests.support.places import ROOT
from tests.support.tasks.stage import PROCESS, Stage
from tests.support.waiting import stretched
from tests.tasks.conftest import MODEL, copy_home

FAILPOINTS = [name for name in NAMES if name.startswith("score: ")]
DAYS = {name: date(2013, 1, 14) + timedelta(days=n) for n, name in enumerate(FAILPOINTS)}
RUN_COLUMNS = ["run_id", "variant"]
COMMITTED = FAILPOINTS.index("score: committed")
RECORDED = FAILPOINTS.index("score: recorded")


@pytest.fixture(scope="module")
def undisturbed(
    factory: Home,
    tmp_path_factory: pytest.TempPathFactory,
    tier: Tier,
    flights: Dataset,
) -> tuple[Stage, dict[date, str]]:
    """Return a home, and the digest of each day's predictions by a run that nobody disturbed."""
    home = copy_home(factory, tmp_path_factory.mktemp("failpoints") / "copy")
    registry = home.open_registry()
    with registry.read() as session:
        bundle = load_bundle(registry, get_version(session, MODEL, "1.0.0"))
    beside = plan_job(bundle, "shadow/1.0.0", "score")
    score_days(registry, home, tier, beside, list(DAYS.values()), print)
    digests = {day: digest_of(home, beside, day, flights) for day in DAYS.values()}
    job = plan_job(load_champion(registry, MODEL), "production", "score")
    return Stage(home, registry, job, tier), digests


def digest_of(home: Home, job: Job, day: date, flights: Dataset) -> str:
    """Return a digest of what readers see of a day, whichever run and variant made it."""
    rows = read_predictions(home, job, job.variant, day).drop_columns(RUN_COLUMNS)
    assert rows.num_rows > 0
    return partition_digest(rows, flights.key)


def keys_of(rows: pa.Table, flights: Dataset) -> list[tuple[object, ...]]:
    return sorted(tuple(row.values()) for row in rows.select(list(flights.key)).to_pylist())


@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_kill_at_a_failpoint_and_a_rerun_equal_no_kill(
    undisturbed: tuple[Stage, dict[date, str]], flights: Dataset, name: str
) -> None:
    stage, digests = undisturbed
    home, registry, job, day = stage.home, stage.registry, stage.job, DAYS[name]
    model_id, version = job.bundle.version.model_id, job.bundle.version
    command = [sys.executable, "-c", PROCESS, str(home.root), day.isoformat()]
    settings = os.environ | {VARIABLE: name}
    killed = subprocess.run(command, cwd=ROOT, env=settings, timeout=stretched(60), check=False)
    assert killed.returncode == -signal.SIGKILL

    before = read_predictions(home, job, "production", day)
    assert before.num_rows == (100 if FAILPOINTS.index(name) >= COMMITTED else 0)
    again = subprocess.run(
        command, cwd=ROOT, timeout=stretched(60), check=True, capture_output=True, text=True
    )
    done = FAILPOINTS.index(name) >= RECORDED
    assert again.stdout.splitlines()[-1].strip() == ("unchanged" if done else "succeeded")
    stage.require_nothing_left()

    rows = read_predictions(home, job, "production", day)
    assert digest_of(home, job, day, flights) == digests[day]
    with registry.read() as session:
        assert unsettled_runs(session, model_id, "production", day) == []
        (shown,) = visible_runs(session, model_id, "production", day, day).values()
        outcome, partition = outcome_of(session, shown), get_partition(session, "flights", day)
        runs = [run.id for run, _ in list_runs(session, version)]
    assert rows["run_id"].unique().to_pylist() == [shown.id]
    assert shown.partition_digest == partition.partition_digest
    accepted = lake.read(
        lake.open_table(lake.accepted_path(home.lake, "flights"), partition.table_version),
        flights.schema,
        lake.on_day("flight_date", day),
    )
    assert keys_of(rows, flights) == keys_of(accepted, flights)
    assert np.isfinite(rows["probability"].to_numpy()).all()
    assert outcome is not None
    assert (outcome.state, outcome.rows) == ("succeeded", rows.num_rows)

    table = lake.open_table(lake.predictions_path(home.lake, MODEL))
    assert score_days(registry, home, stage.tier, job, [day], print)[0].state == "unchanged"
    assert lake.open_table(lake.predictions_path(home.lake, MODEL)).version() == table.version()
    with registry.read() as session:
        assert [run.id for run, _ in list_runs(session, version)] == runs
