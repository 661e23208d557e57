"""A day that readers see and that is to be scored again, by models that may be hostile."""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date

import pyarrow as pa
import pytest

from pilotline.registry import Registry
from pilotline.registry.runs.listing import last_outcomes
from pilotline.registry.runs.runs import get_run, outcome_of
from pilotline.registry.runs.shown import visible_runs
from pilotline.tasks.errors import EnvironmentBuildError
from pilotline.tasks.home import Home
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.days import DayScored, score_days
from pilotline.tasks.score.job import Job
from tests.support.tasks.children import require_ended

DAY = date(2013, 1, 14)
ADDED = 200_000  # four batches, and more bytes than pipes and buffers hold
SCRIPT = """
import ctypes, os, signal, socket, sys, time
from pathlib import Path
import numpy as np
import pandas as pd

def load(folder):
    return 0.5

def answer(data, value=0.5):
    return pd.DataFrame({"probability": value}, index=data.index)

def predict(model, data):
    os.write(2, b"last words" + bytes([10]))
    BODY
"""
# Scores a day in a process of its own, and says what came of it.
PROCESS = """
import sys
from datetime import date
from pathlib import Path
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_champion
from pilotline.tasks.score.job import plan_job
from pilotline.tasks.sandbox.walls import probe_isolation
from pilotline.tasks.score.days import score_days

root, day = Path(sys.argv[1]), date.fromisoformat(sys.argv[2])
url = f"sqlite:///{root / 'registry.db'}"
home = Home(root, root.parent / "lab", root / "blobs", root / "lake", url)
with home.open_registry() as registry:
    job = plan_job(load_champion(registry, "flight-delay"), "production", "score")
    (done,) = score_days(registry, home, probe_isolation(), job, [day], print)
print(done.state, done.reason)
"""


@dataclass(frozen=True)
class Stage:
    """A home, and what it takes to score its day and to see what came of it."""

    home: Home
    registry: Registry
    job: Job
    tier: Tier

    def add_rows(self) -> None:
        """Add flights to the source's day, so that it is to be ingested and scored again."""
        path = self.home.lab / "datasets" / "flights" / "expectations.json"
        path.write_text(path.read_text().replace('"max_value": 2000', f'"max_value": {2 * ADDED}'))
        rows = [
            (DAY.isoformat(), "AA", n, "JFK", "BOS", "N1", 6 + n % 16, 0, 190, 2.0)
            for n in range(1000, 1000 + ADDED)
        ]
        with closing(sqlite3.connect(self.home.root / "online.db")) as database, database:
            database.executemany(f"insert into flights values ({', '.join('?' * 10)})", rows)

    def with_predict(self, body: str, deadline_s: float, memory_mib: int = 2048) -> Job:
        """Return the job with ``body`` as its model's predict."""
        folder = self.job.bundle.folder
        script = SCRIPT.replace("BODY", body.strip().replace("\n", "\n    "))
        budget = replace(folder.spec.budget, deadline_s=deadline_s, memory_mib=memory_mib)
        files = {**folder.files, "model.py": script.encode()}
        changed = replace(folder, files=files, spec=replace(folder.spec, budget=budget))
        return replace(self.job, bundle=replace(self.job.bundle, folder=changed))

    def with_lock(self, lock: bytes) -> Job:
        """Return the job with another lock."""
        files = {**self.job.bundle.files, "requirements.lock": lock}
        return replace(self.job, bundle=replace(self.job.bundle, files=files))

    def score(self, job: Job | None = None, tier: Tier | None = None) -> DayScored:
        """Return what came of the day."""
        (done,) = self.score_days([DAY], job, tier)
        return done

    def score_days(
        self, days: Sequence[date], job: Job | None = None, tier: Tier | None = None
    ) -> list[DayScored]:
        """Return what came of days."""
        return score_days(self.registry, self.home, tier or self.tier, job or self.job, days, print)

    def shown(self) -> tuple[str | None, pa.Table]:
        """Return the run whose rows readers see, and the rows."""
        model_id = self.job.bundle.version.model_id
        with self.registry.read() as session:
            run = visible_runs(session, model_id, "production", DAY, DAY).get(DAY)
        rows = read_predictions(self.home, self.job, "production", DAY)
        return run.id if run else None, rows.sort_by([(name, "ascending") for name in self.job.key])

    def require_failure(
        self, reason: str, job: Job | None = None, tier: Tier | None = None
    ) -> DayScored:
        """Score, and check that it failed with ``reason`` on record and changed nothing else."""
        run_before, rows_before = self.shown()
        done = self.score(job, tier)
        assert done.state == "failed"
        assert re.search(reason, done.reason), done.reason
        with self.registry.read() as session:
            outcome = outcome_of(session, get_run(session, done.run_id))
        assert outcome is not None
        assert (outcome.state, outcome.reason) == ("failed", done.reason)
        run_after, rows_after = self.shown()
        assert run_after == run_before
        assert rows_after.equals(rows_before)
        self.require_nothing_left()
        return done

    def require_unbuilt(self, reason: str, job: Job) -> None:
        """Score, and check that no environment could be built, with ``reason`` on record."""
        run_before, rows_before = self.shown()
        with pytest.raises(EnvironmentBuildError, match=reason) as caught:
            self.score(job)
        model_id = self.job.bundle.version.model_id
        with self.registry.read() as session:
            outcome = last_outcomes(session, model_id, "production", DAY, DAY)[DAY]
        assert outcome is not None
        assert (outcome.state, outcome.reason) == ("failed", str(caught.value))
        run_after, rows_after = self.shown()
        assert run_after == run_before
        assert rows_after.equals(rows_before)
        self.require_nothing_left()

    def require_nothing_left(self) -> None:
        """Check that no process and no scratch folder of a run is left."""
        require_ended(self.home.root)
        assert list(self.home.scratch.iterdir()) == []
