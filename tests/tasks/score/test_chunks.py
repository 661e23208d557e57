"""Days that share a commit: all of them are seen or none, each by its own run, once."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from pilotline.registry import Registry
from pilotline.registry.form.failpoints import NAMES, VARIABLE
from pilotline.registry.runs.listing import list_runs
from pilotline.registry.runs.runs import get_run, outcome_of, unsettled_runs
from pilotline.registry.runs.shown import visible_runs
from pilotline.tasks.errors import SupersededError
from pilotline.tasks.home import Home
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.launching import Room
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.children import ScoringChildren
from pilotline.tasks.score.chunks import MOST_DAYS, MOST_ROWS, cut_chunks, score_together
from pilotline.tasks.score.claims import claim_day, record
from pilotline.tasks.score.job import Job
from tests.support.places import ROOT
from tests.support.tasks.calls import Score
from tests.support.waiting import stretched
from tests.tasks.conftest import MODEL, ROWS

FIRST = date(2013, 1, 14)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]  # commits of one day, of two and of one
TOGETHER = DAYS[1:3]
POINTS = ("score: claimed", "score: predicted", "score: committed", "score: recorded")
# Scores days in a process of its own, which is to die at a place in the second commit.
PROCESS = """
import os, sys
from datetime import date
from pathlib import Path
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_champion
from pilotline.tasks.score.job import plan_job
from pilotline.tasks.sandbox.walls import probe_isolation
from pilotline.tasks.score.days import score_days

root, name, days = Path(sys.argv[1]), sys.argv[2], [date.fromisoformat(d) for d in sys.argv[3:]]
url = f"sqlite:///{root / 'registry.db'}"
home = Home(root, root.parent / "lab", root / "blobs", root / "lake", url)

def arm(done):
    os.environ["PILOTLINE_FAILPOINT"] = name
    return True

with home.open_registry() as registry:
    job = plan_job(load_champion(registry, "flight-delay"), "production", "backfill")
    score_days(registry, home, probe_isolation(), job, days, print, None, arm)
"""


def test_the_first_commits_are_small_and_later_ones_bounded() -> None:
    days = [date(2013, 1, 1) + timedelta(days=n) for n in range(365)]
    chunks = list(cut_chunks(days, dict.fromkeys(days, 900)))
    sizes = [len(chunk) for chunk in chunks]
    # 1 + 2 + 4 + 8 + 16 = 31 days, then 28 at once: 365 - 31 = 334 = 11 * 28 + 26
    assert sizes == [1, 2, 4, 8, 16, *[MOST_DAYS] * 11, 26]
    assert [day for chunk in chunks for day in chunk] == days


def test_days_of_many_rows_are_committed_alone() -> None:
    many = MOST_ROWS * 2 // 3
    rows = dict(zip(DAYS, (10, many, many, 10), strict=True))
    assert list(cut_chunks(DAYS, rows)) == [[DAYS[0]], [DAYS[1]], [DAYS[2], DAYS[3]]]


def commits_of(home: Home) -> list[dict[str, Any]]:
    """Return the commits of predictions, the last first."""
    return lake.open_table(lake.predictions_path(home.lake, MODEL)).history()


def rows_of(home: Home, job: Job, day: date) -> pa.Table:
    """Return what readers see of a day."""
    return read_predictions(home, job, job.variant, day)


def test_each_day_of_a_commit_is_seen_by_its_own_run(
    home: Home, registry: Registry, job: Job, score: Score
) -> None:
    done = score(*DAYS)
    assert [(day.date, day.state, day.rows) for day in done] == [
        (day, "succeeded", ROWS) for day in DAYS
    ]
    runs = [entry.get("runs") or entry.get("run") for entry in commits_of(home)[:3]]
    assert runs == [done[3].run_id, f"{done[1].run_id} {done[2].run_id}", done[0].run_id]
    for day in done:
        assert rows_of(home, job, day.date)["run_id"].unique().to_pylist() == [day.run_id]
        with registry.read() as session:
            outcome = outcome_of(session, get_run(session, day.run_id))
        assert outcome is not None
        assert outcome.profile_digest is not None
    assert [day.state for day in score(*DAYS)] == ["unchanged"] * 4


def test_a_day_scored_with_others_is_as_one_scored_alone(
    home: Home, job: Job, shadow_job: Job, score: Score
) -> None:
    score(*DAYS)
    score(TOGETHER[0], job=shadow_job)
    order = [(name, "ascending") for name in job.key]
    own = ["run_id", "variant"]
    shared = rows_of(home, job, TOGETHER[0]).drop_columns(own).sort_by(order)
    alone = rows_of(home, shadow_job, TOGETHER[0]).drop_columns(own).sort_by(order)
    assert shared.equals(alone)


def test_a_day_that_fails_is_left_out_and_stops_no_other(
    home: Home, score: Score, change_model: Callable[[str], Job]
) -> None:
    second_call_fails = """
calls = 0
def load(folder): return None
def predict(model, data):
    global calls
    calls += 1
    if calls == 2: raise ValueError("not this one")
    import pandas as pd
    return pd.DataFrame({"probability": 0.5}, index=data.index)
"""
    done = score(*DAYS, job=change_model(second_call_fails))
    # After the day that failed comes a new child, whose second call is the last day's.
    assert [day.state for day in done] == ["succeeded", "failed", "succeeded", "failed"]
    assert "not this one" in done[1].reason
    (last, *_) = commits_of(home)
    assert last["runs"] == done[2].run_id  # of the two days only the other one


@pytest.mark.parametrize("name", POINTS)
def test_killed_at_any_step_of_a_shared_commit_and_run_again(
    home: Home, registry: Registry, job: Job, score: Score, name: str
) -> None:
    assert name in NAMES
    words = [str(home.root), name, *map(str, DAYS[:3])]
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    killed = subprocess.run(
        [sys.executable, "-c", PROCESS, *words],
        cwd=ROOT,
        env=environment,
        timeout=stretched(60),
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    committed = POINTS.index(name) >= POINTS.index("score: committed")
    assert rows_of(home, job, DAYS[0]).num_rows == ROWS
    seen = [rows_of(home, job, day).num_rows for day in TOGETHER]
    assert seen == ([ROWS, ROWS] if committed else [0, 0])

    done = score(*DAYS[:3])
    again = "unchanged" if name == "score: recorded" else "succeeded"
    assert [day.state for day in done] == ["unchanged", again, again]
    version = job.bundle.version
    with registry.read() as session:
        shown = visible_runs(session, version.model_id, "production", DAYS[0], DAYS[2])
        left = [unsettled_runs(session, version.model_id, "production", day) for day in DAYS[:3]]
        crashed = [
            outcome.table_version
            for _, outcome in list_runs(session, version)
            if outcome is not None and outcome.state == "crashed"
        ]
    assert left == [[], [], []]
    assert len(crashed) == (0 if name == "score: recorded" else 2)
    assert all((version is not None) == committed for version in crashed)
    for day in DAYS[:3]:
        rows = rows_of(home, job, day)
        assert rows.num_rows == ROWS
        assert rows["run_id"].unique().to_pylist() == [shown[day].id]


@contextmanager
def children_of(home: Home, tier: Tier, job: Job) -> Iterator[ScoringChildren]:
    """Give the child for the job."""
    lock = job.bundle.lock
    with built_environment(home.scratch, MODEL, lock, walled=tier.walled) as environment:
        room = Room(home, environment, tier)
        with ScoringChildren(room, job) as children:
            yield children


def test_a_day_that_somebody_claimed_meanwhile_is_left_to_them(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    with registry.write() as session:
        claimed = [claim_day(session, tier, job, day) for day in TOGETHER]
        claim_day(session, tier, job, TOGETHER[0])
    with children_of(home, tier, job) as children:
        late, done = score_together(registry, home, job, claimed, children)
    assert isinstance(late.error, SupersededError)
    assert done.error is None
    assert [rows_of(home, job, day).num_rows for day in TOGETHER] == [0, ROWS]
    assert [outcome.state for outcome in record(registry, job, [late, done])] == [
        "superseded",
        "succeeded",
    ]


def test_of_two_that_began_with_the_same_claims_the_second_commits_nothing(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    with registry.write() as session:
        claimed = [claim_day(session, tier, job, day) for day in TOGETHER]
    with children_of(home, tier, job) as children:
        first = score_together(registry, home, job, claimed, children)
        version = commits_of(home)[0]["version"]
        second = score_together(registry, home, job, claimed, children)
    assert [one.error for one in first] == [None, None]
    assert all(isinstance(one.error, SupersededError) for one in second)
    assert commits_of(home)[0]["version"] == version
    assert [rows_of(home, job, day).num_rows for day in TOGETHER] == [ROWS, ROWS]
