"""Days scored at once: by children of their own, each row as one child gives it, none left over."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from pilotline.registry import Registry
from pilotline.registry.runs.runs import Run, unsettled_runs
from pilotline.tasks.home import Home
from pilotline.tasks.lab.policy import ScoringRules
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.parts import FOLDER
from pilotline.tasks.logs import present_facts
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.launching import Room
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.children import ScoringChild, ScoringChildren
from pilotline.tasks.score.days import DayScored, score_days
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.shards.steps import PrefectCrew
from tests.support.tasks.calls import Score
from tests.support.waiting import stretched, wait_until
from tests.tasks.conftest import MODEL, ROWS

FIRST = date(2013, 1, 14)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]  # commits of one day, of two and of one
AT_ONCE = 2
Made = TypeVar("Made")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt this process though whoever started it in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def score_at_once(home: Home, registry: Registry, tier: Tier) -> Callable[[Job], list[DayScored]]:
    """Return a function that scores the days, two at once."""
    crew = PrefectCrew(home, ScoringRules(days_at_once=AT_ONCE))
    return lambda job: score_days(registry, home, tier, job, DAYS, print, crew)


def test_days_scored_at_once_are_as_those_scored_one_after_the_other(
    home: Home,
    job: Job,
    shadow_job: Job,
    score: Score,
    score_at_once: Callable[[Job], list[DayScored]],
) -> None:
    done = score_at_once(job)
    assert [(day.date, day.state, day.rows) for day in done] == [
        (day, "succeeded", ROWS) for day in DAYS
    ]
    score(*DAYS, job=shadow_job)
    order = [(name, "ascending") for name in job.key]
    for day in DAYS:
        ours, other = (
            read_predictions(home, one, one.variant, day)
            .drop_columns(["run_id", "variant"])
            .sort_by(order)
            for one in (job, shadow_job)
        )
        assert ours.equals(other)
    assert list(home.scratch.glob("run-*")) == []


def test_what_days_scored_at_once_used_adds_up_to_what_the_process_used(
    job: Job, score_at_once: Callable[[Job], list[DayScored]]
) -> None:
    before = os.times()
    done = score_at_once(job)
    after = os.times()
    spent = (after.user + after.system) - (before.user + before.system)
    used = [day.resources for day in done if day.resources is not None]
    assert len(used) == len(DAYS)
    assert 0 < sum(one["parent_cpu_s"] for one in used) <= spent + 0.05  # a clock tick a day
    assert sum(one["child_cpu_s"] for one in used) > 0


def test_a_child_that_dies_takes_its_day_along_and_no_other(
    change_model: Callable[[str], Job], score_at_once: Callable[[Job], list[DayScored]]
) -> None:
    script = """
import os
import pandas as pd
def load(folder): return None
def predict(model, data):
    if (data["weekday"] == 3).any(): os._exit(3)
    return pd.DataFrame({"probability": 0.5}, index=data.index)
"""
    assert [day.isoweekday() for day in DAYS] == [1, 2, 3, 4]
    states = [day.state for day in score_at_once(change_model(script))]
    assert states == ["succeeded", "succeeded", "failed", "succeeded"]


def test_a_free_child_takes_the_next_day_and_each_has_a_process_of_its_own(
    home: Home, tier: Tier, job: Job
) -> None:
    both_at_work = threading.Barrier(AT_ONCE)

    def act(day: date, child: ScoringChild) -> tuple[date, int, int]:
        process = child.process().pid
        if day in DAYS[:AT_ONCE]:
            both_at_work.wait(stretched(60))
        return day, process, threading.get_ident()

    made = run_at_children(home, tier, job, act)
    assert [day for day, _, _ in made] == DAYS
    assert len({process for _, process, _ in made}) == AT_ONCE
    assert len({(process, thread) for _, process, thread in made}) == AT_ONCE
    assert not any(Path(f"/proc/{process}").exists() for _, process, _ in made)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_it_ends_its_children_and_takes_no_further_day(
    home: Home, tier: Tier, job: Job
) -> None:
    begun: list[date] = []
    processes: list[int] = []
    interrupted = threading.Event()

    def act(day: date, child: ScoringChild) -> None:
        begun.append(day)
        processes.append(child.process().pid)
        if len(processes) == AT_ONCE:
            os.kill(os.getpid(), signal.SIGINT)
        interrupted.wait(stretched(1))  # the day goes on a while when it comes

    with pytest.raises(KeyboardInterrupt):
        run_at_children(home, tier, job, act)
    assert sorted(begun) == DAYS[:AT_ONCE]
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


def run_at_children(
    home: Home,
    tier: Tier,
    job: Job,
    act: Callable[[date, ScoringChild], Made],
) -> list[Made]:
    """Return what ``act`` makes of the days with two children."""
    lock = job.bundle.lock
    with built_environment(home.scratch, MODEL, lock, walled=tier.walled) as environment:
        room = Room(home, environment, tier)
        with ScoringChildren(room, job, AT_ONCE) as children:
            return children.each(act, DAYS)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_in_its_first_day_no_run_is_said_to_have_failed(
    home: Home,
    registry: Registry,
    change_model: Callable[[str], Job],
    score_at_once: Callable[[Job], list[DayScored]],
) -> None:
    hanging = change_model(
        "def load(folder): return None\ndef predict(model, data):\n    while True: pass"
    )

    def claimed() -> list[Run]:
        with registry.read() as session:
            return unsettled_runs(session, hanging.bundle.version.model_id, hanging.variant, FIRST)

    def interrupt() -> None:
        wait_until(claimed, 30)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        score_at_once(hanging)
    watcher.join()
    assert [run.date for run in claimed()] == [FIRST]  # what came of it is found out by the next
    parts = Path(str(lake.predictions_path(home.lake, MODEL))) / FOLDER
    assert list(parts.glob(f"*{FIRST:%Y%m%d}*")) == []


def test_what_is_said_of_a_day_is_about_that_day_and_its_run(
    home: Home, registry: Registry, tier: Tier, job: Job
) -> None:
    said: list[tuple[str | None, str | None]] = []

    def say(_: str) -> None:
        said.append((present_facts().date, present_facts().run))

    done = score_days(registry, home, tier, job, DAYS, say)
    assert said == [(str(day.date), day.run_id) for day in done]
