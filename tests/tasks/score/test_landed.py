"""Days whose scoring was stopped before it could tell: what readers see of them."""

import os
import signal
import subprocess
import sys
from datetime import date

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.failpoints import VARIABLE
from pilotline.registry.store.tables import now
from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.claims import claim_day
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.landed import find_ended
from tests.support.places import ROOT
from tests.support.tasks.stage import PROCESS
from tests.support.waiting import stretched
from tests.tasks.conftest import MODEL

DAY, NEXT = date(2013, 1, 14), date(2013, 1, 15)


@pytest.mark.parametrize("name", ["score: committed", "score: recorded"])
def test_a_day_that_was_committed_is_found_recorded_or_not(home: Home, name: str) -> None:
    since = now()
    command = [sys.executable, "-c", PROCESS, str(home.root), DAY.isoformat()]
    settings = os.environ | {VARIABLE: name}
    killed = subprocess.run(command, cwd=ROOT, env=settings, timeout=stretched(60), check=False)
    assert killed.returncode == -signal.SIGKILL
    (day,) = find_ended(home, MODEL, [DAY, NEXT], since)
    assert (day.date, day.state, day.number, day.rows) == (DAY, "succeeded", "1.0.0", 100)
    assert find_ended(home, MODEL, [NEXT], since) == []
    assert find_ended(home, MODEL, [DAY, NEXT], now()) == []  # not of who began since


def test_a_day_that_was_claimed_only_is_left_out(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    since = now()
    with registry.write() as session:
        claim_day(session, tier, job, DAY)
    assert find_ended(home, MODEL, [DAY], since) == []
