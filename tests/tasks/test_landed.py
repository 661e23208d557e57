"""Days whose scoring was stopped before it could tell: what readers see of them."""

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from registry import Registry
from registry.base import now
from registry.failpoints import VARIABLE
from tasks import __file__ as package
from tasks.claims import claim_day
from tasks.home import Home
from tasks.job import Job
from tasks.landed import find_ended
from tasks.sandbox import Tier
from tests.support.waiting import stretched
from tests.tasks.conftest import MODEL
from tests.tasks.stage import PROCESS

ROOT = Path(package).parents[1]  # where the process finds our packages
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
