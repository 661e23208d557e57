"""A version that is revoked while it scores: nothing more of it becomes visible."""

import os
import signal
import threading
from collections.abc import Callable
from datetime import date

from pilotline.registry import Registry
from pilotline.registry.gates.statuses import retire
from pilotline.registry.runs.runs import PRODUCTION, get_run, outcome_of
from pilotline.registry.runs.shown import visible_runs
from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.days import DayScored, score_days
from pilotline.tasks.score.job import Job
from tests.support.tasks.children import STOP, wait_for_stopped
from tests.support.waiting import stretched

DAYS = [date(2013, 1, 14), date(2013, 1, 15), date(2013, 1, 16)]
STOPS = """
import pandas as pd

def load(folder):
    return None

def predict(model, data):
    STOP
    return pd.DataFrame({"probability": 0.5}, index=data.index)
""".replace("STOP", STOP)


def revoke(registry: Registry) -> None:
    """Revoke the example's champion."""
    with registry.write() as session:
        retire(session, "flight-delay", "1.0.0", "revoked", "wrong", "operations", "claimed")


def test_the_days_after_it_was_revoked_are_refused(
    registry: Registry, home: Home, job: Job, tier: Tier
) -> None:
    revoked: list[str] = []

    def after_the_first_day(text: str) -> None:
        if not revoked:
            revoke(registry)
        revoked.append(text)

    done = score_days(registry, home, tier, job, DAYS, after_the_first_day)
    assert [day.state for day in done] == ["succeeded", "failed", "failed"]
    assert "is revoked" in done[1].reason
    with registry.read() as session:
        shown = visible_runs(session, job.bundle.version.model_id, PRODUCTION, DAYS[0], DAYS[-1])
    assert list(shown) == DAYS[:1]


def test_the_day_it_was_revoked_in_shows_nothing_of_it(
    registry: Registry, home: Home, job: Job, tier: Tier, change_model: Callable[[str], Job]
) -> None:
    done: list[DayScored] = []
    stopping = change_model(STOPS)

    def work() -> None:
        done.extend(score_days(registry, home, tier, stopping, DAYS[:1], print))

    thread = threading.Thread(target=work)
    thread.start()
    process = wait_for_stopped(home.scratch)
    revoke(registry)
    os.kill(process, signal.SIGCONT)
    thread.join(timeout=stretched(60))
    assert [day.state for day in done] == ["failed"]
    assert "was revoked meanwhile" in done[0].reason
    with registry.read() as session:
        outcome = outcome_of(session, get_run(session, done[0].run_id))
        shown = visible_runs(session, stopping.bundle.version.model_id, PRODUCTION, *DAYS[:1] * 2)
    assert outcome is not None
    assert (outcome.state, outcome.table_version) == ("failed", None)
    assert shown == {}
