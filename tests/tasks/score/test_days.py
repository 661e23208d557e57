"""Scoring: a visible partition is one run's, whole, whatever dies or goes wrong on the way."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import update

from pilotline.registry import Registry
from pilotline.registry.form.errors import UnknownPartitionError, VersionUnfitError
from pilotline.registry.record.versions import set_status
from pilotline.registry.runs.ingests import Ingest, get_partition
from pilotline.registry.runs.listing import last_outcomes
from pilotline.registry.runs.runs import (
    Claim,
    Run,
    claim_partition,
    get_run,
    outcome_of,
    teardown_of,
    unsettled_runs,
)
from pilotline.registry.runs.shown import visible_runs
from pilotline.tasks.errors import LakeError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.datasets import Dataset
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.digests import partition_digest
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.commit import transaction_name
from pilotline.tasks.score.days import DayScored, score_days
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.plan import plan_backfill
from pilotline.tasks.stats.profiles import decode_profile
from tests.conftest import local
from tests.support.tasks.calls import Score
from tests.support.tasks.children import require_ended, wait_for_stopped
from tests.support.waiting import stretched
from tests.tasks.conftest import unguard

DAY, NEXT = date(2013, 1, 14), date(2013, 1, 15)
BROKEN = (
    "def load(folder):\n    return None\ndef predict(model, data):\n    raise ValueError('no')\n"
)
# Scores as the version would; if slow, its predict stops before it answers.
SLOW = """
import sys
from datetime import date
from pathlib import Path
from dataclasses import replace
from pilotline.registry import Registry
from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.walls import probe_isolation
from pilotline.tasks.score.days import score_days
from pilotline.tasks.lab.bundle import load_champion
from pilotline.tasks.score.job import plan_job

root, slow, days = Path(sys.argv[1]), sys.argv[2] == "slow", sys.argv[3:]
home = Home(root, root.parent / "lab", root / "blobs", root / "lake",
            f"sqlite:///{root / 'registry.db'}")
with home.open_registry() as registry:
    bundle = load_champion(registry, "flight-delay")
    if slow:
        first = b"    if len(data) == 0:"
        stops = b"    import os, signal; os.kill(os.getpid(), signal.SIGSTOP)\\n" + first
        script = bundle.folder.files["model.py"].replace(first, stops)
        files = {**bundle.folder.files, "model.py": script}
        bundle = replace(bundle, folder=replace(bundle.folder, files=files))
    job = plan_job(bundle, "production", "score")
    print("begin", flush=True)
    done = score_days(registry, home, probe_isolation(), job,
                      [date.fromisoformat(day) for day in days], print)
    print([result.state for result in done], flush=True)
"""


def predictions(home: Home, job: Job, day: date) -> pa.Table:
    """Return what readers see of a day, sorted by key, without the run's name."""
    rows = read_predictions(home, job, job.variant, day)
    return rows.sort_by([(name, "ascending") for name in job.key]).drop_columns(["run_id"])


def keys(rows: pa.Table, job: Job) -> list[tuple[object, ...]]:
    """Return the keys of rows."""
    return sorted(tuple(row.values()) for row in rows.select(list(job.key)).to_pylist())


def test_a_visible_partition_has_exactly_the_input_s_keys_and_finite_predictions(
    home: Home, registry: Registry, job: Job, score: Score, flights: Dataset
) -> None:
    (done,) = score(DAY)
    assert (done.state, done.rows, done.number) == ("succeeded", 100, "1.0.0")
    rows = read_predictions(home, job, "production", DAY)
    accepted = lake.read(
        lake.open_table(lake.accepted_path(home.lake, "flights")),
        flights.schema,
        lake.on_day("flight_date", DAY),
    )
    assert keys(rows, job) == keys(accepted, job)
    assert np.isfinite(rows["probability"].to_numpy()).all()
    assert set(rows["run_id"].to_pylist()) == {done.run_id}
    assert set(rows["model_version"].to_pylist()) == {"1.0.0"}
    with registry.read() as session:
        run = get_run(session, done.run_id)
        outcome, teardown = outcome_of(session, run), teardown_of(session, run)
    assert outcome is not None
    assert teardown is not None
    assert (outcome.state, outcome.rows, teardown.clean) == ("succeeded", 100, True)
    assert list(home.scratch.iterdir()) == []


def test_scoring_the_same_again_changes_nothing(home: Home, score: Score) -> None:
    (first,) = score(DAY)
    version = lake.open_table(lake.predictions_path(home.lake, "flight-delay")).version()
    (again,) = score(DAY)
    assert (again.state, again.run_id, again.rows) == ("unchanged", first.run_id, 100)
    assert lake.open_table(lake.predictions_path(home.lake, "flight-delay")).version() == version


def test_several_days_are_scored_by_one_child_oldest_first(score: Score) -> None:
    done = score(NEXT, DAY)
    assert [result.date for result in done] == [DAY, NEXT]
    assert [result.state for result in done] == ["succeeded", "succeeded"]
    assert len({(result.resources or {})["start_s"] for result in done}) == 1


def test_a_failed_run_leaves_what_readers_saw_and_is_recorded(
    home: Home, registry: Registry, job: Job, score: Score, change_model: Callable[[str], Job]
) -> None:
    score(DAY)
    before = predictions(home, job, DAY)
    with registry.write() as session:  # as if it had been scored from other rows
        unguard(session)
        session.execute(update(Run).where(Run.date == DAY).values(partition_digest="0" * 64))
    (failed, other) = score(DAY, NEXT, job=change_model(BROKEN))
    assert (failed.state, other.state) == ("failed", "failed")
    assert "predict raised ValueError: no" in failed.reason
    assert predictions(home, job, DAY).equals(before)
    assert predictions(home, job, NEXT).num_rows == 0
    with registry.read() as session:
        model = job.bundle.version.model_id
        outcome = last_outcomes(session, model, "production", DAY, DAY)[DAY]
        shown = visible_runs(session, model, "production", DAY, NEXT)
    assert outcome is not None
    assert (outcome.state, "ValueError" in outcome.reason) == ("failed", True)
    assert list(shown) == [DAY]
    assert shown[DAY].id != failed.run_id


def test_a_shadow_does_not_touch_production(
    home: Home, job: Job, shadow_job: Job, score: Score
) -> None:
    score(DAY)
    before = read_predictions(home, job, "production", DAY)
    (done,) = score(DAY, job=shadow_job)
    assert done.state == "succeeded"
    assert read_predictions(home, job, "production", DAY).equals(before)
    shadow = read_predictions(home, shadow_job, "shadow/1.0.0", DAY)
    assert set(shadow["run_id"].to_pylist()) == {done.run_id}
    assert keys(shadow, job) == keys(before, job)


def test_a_changed_number_of_input_rows_is_detected(
    home: Home, registry: Registry, job: Job, score: Score
) -> None:
    with registry.write() as session:
        unguard(session)
        session.execute(update(Ingest).where(Ingest.date == DAY).values(accepted=101))
    (done,) = score(DAY)
    assert done.state == "failed"
    assert "reads as 100 rows, 101 were ingested. Ingest the day again." in done.reason
    assert predictions(home, job, DAY).num_rows == 0


def test_an_older_claim_is_superseded_and_writes_nothing(
    home: Home, registry: Registry, job: Job, score: Score, tier: Tier
) -> None:
    """A later run claims the partition between the older one's claim and its commit."""
    table = lake.ensure_table(
        lake.predictions_path(home.lake, "flight-delay"), job.schema, ["variant", "flight_date"]
    )
    later = pa.Table.from_pylist([], job.schema)
    with registry.write() as session:
        run = claim_partition(session, job.bundle.version, claim_of(DAY))
    identity = transaction_name("production", DAY)
    predicate = f"variant = 'production' and {lake.on_day('flight_date', DAY)}"
    version = lake.replace_partition(table, later, predicate, {"run": run.id}, (identity, 9))
    (done,) = score(DAY)
    assert done.state == "superseded"
    assert done.reason.endswith("epoch 9 is in the table, this is 2. Nothing to do.")
    assert lake.open_table(lake.predictions_path(home.lake, "flight-delay")).version() == version
    with registry.read() as session:
        outcome = outcome_of(session, get_run(session, done.run_id))
    assert outcome is not None
    assert outcome.state == "superseded"


def claim_of(day: date) -> Claim:
    """Return a claim of production's partition."""
    return Claim("production", "flights", day, "d" * 64, 3, "c" * 64, "A", "score")


def test_a_version_that_must_not_run_is_refused(registry: Registry, job: Job, score: Score) -> None:
    with registry.write() as session:
        set_status(session, job.bundle.version, "revoked", {})
    with pytest.raises(VersionUnfitError, match=r"^Version 1\.0\.0 of 'flight-delay' is revoked"):
        score(DAY)


def test_a_version_for_another_interpreter_is_refused(job: Job, score: Score) -> None:
    manifest = replace(job.bundle.manifest, interpreter="cpython 2.7")
    other = replace(job, bundle=replace(job.bundle, manifest=manifest))
    with pytest.raises(
        VersionUnfitError, match=r"needs cpython 2\.7, this is cpython 3\.\d+\. Run"
    ):
        score(DAY, job=other)


def test_a_day_that_was_never_ingested_is_named(score: Score) -> None:
    with pytest.raises(UnknownPartitionError, match="has no partition 2014-01-01"):
        score(date(2014, 1, 1))


def test_a_kill_in_the_middle_and_a_rerun_equal_no_kill(
    home: Home,
    registry: Registry,
    job: Job,
    shadow_job: Job,
    score: Score,
) -> None:
    command = [sys.executable, "-c", SLOW, str(home.root), "slow", DAY.isoformat()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        wait_for_stopped(home.scratch)  # its child is up and in predict
        with registry.read() as session:
            model = job.bundle.version.model_id
            (claimed,) = unsettled_runs(session, model, "production", DAY)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    assert len(list(home.scratch.glob("run-*"))) == 1
    (done,) = score(DAY)
    assert done.state == "succeeded"
    score(DAY, job=shadow_job)
    undisturbed = predictions(home, shadow_job, DAY).drop_columns(["variant"])
    assert predictions(home, job, DAY).drop_columns(["variant"]).equals(undisturbed)
    with registry.read() as session:
        outcome = outcome_of(session, get_run(session, claimed.id))
    assert outcome is not None
    assert outcome.state == "crashed"
    assert outcome.reason == "no outcome was recorded; it committed nothing"
    assert list(home.scratch.iterdir()) == []
    require_ended(home.scratch)


def test_two_processes_score_different_days_at_once(
    home: Home, registry: Registry, job: Job
) -> None:
    days = [DAY.replace(day=n) for n in (14, 15, 16, 17)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW, str(home.root), "fast", *map(str, half)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for half in (days[::2], days[1::2])
    ]
    for process in processes:
        said, _ = process.communicate(timeout=stretched(60))
        assert said.splitlines()[-1] == "['succeeded', 'succeeded']"
    for day in days:
        assert predictions(home, job, day).num_rows == 100
    with registry.read() as session:
        shown = visible_runs(session, job.bundle.version.model_id, "production", days[0], days[-1])
    assert sorted(shown) == days


def test_the_profile_of_a_run_counts_every_batch_once(
    home: Home, registry: Registry, job: Job, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pilotline.tasks.score.stream.BATCH_ROWS", 7
    )  # fifteen batches; a real one has 24,576
    (done,) = score(DAY)
    assert done.state == "succeeded"
    with registry.read() as session:
        outcome = outcome_of(session, get_run(session, done.run_id))
    assert outcome is not None
    assert outcome.profile_digest is not None
    profile = decode_profile(registry.blobs.get(outcome.profile_digest))
    assert profile.rows == 100
    assert set(profile.columns) == {*job.bundle.spec.features, "probability"}
    assert {column.rows for column in profile.columns.values()} == {100}


def test_a_child_is_opened_in_the_thread_that_scores(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    done: list[DayScored] = []

    def work() -> None:
        done.extend(score_days(registry, home, tier, job, [DAY], print))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=stretched(60))
    assert [result.state for result in done] == ["succeeded"]


def test_a_flipped_bit_that_reads_as_another_value_is_refused(
    home: Home, registry: Registry, job: Job, flights: Dataset, score: Score
) -> None:
    path = local(lake.accepted_path(home.lake, "flights"))
    with registry.read() as session:
        partition = get_partition(session, "flights", DAY)
    (file,) = (path / f"flight_date={DAY}").glob("*.parquet")
    sound = file.read_bytes()
    for place in range(len(sound) // 8, len(sound)):
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        try:
            table = lake.open_table(path, partition.table_version)
            rows = lake.read(table, flights.schema, lake.on_day("flight_date", DAY))
            if partition_digest(rows, flights.key) != partition.partition_digest:
                break  # read without an error, and wrong
        except (LakeError, pa.ArrowException):
            continue
    (done,) = score(DAY)
    assert done.state == "failed"
    assert "are not what was ingested" in done.reason
    assert predictions(home, job, DAY).num_rows == 0
    file.write_bytes(sound)
    assert score(DAY)[0].state == "succeeded"


def test_a_usage_that_is_no_number_is_left_out(
    registry: Registry, score: Score, change_model: Callable[[str], Job]
) -> None:
    script = (
        "import pandas\n"
        "def load(folder):\n    return None\n"
        "def predict(model, data):\n"
        "    import __main__\n"
        "    __main__._usage = lambda: {'cpu_s': float('nan'), 'peak_mib': -1}\n"
        "    return pandas.DataFrame({'probability': [0.5] * len(data)}, index=data.index)\n"
    )
    (done,) = score(DAY, job=change_model(script))
    assert done.state == "succeeded"
    assert done.resources is not None
    assert 0 < done.resources["child_cpu_s"] < 60  # the kernel's word


def test_rows_of_a_run_that_died_after_its_commit_never_pass_for_done(
    home: Home, registry: Registry, job: Job, score: Score
) -> None:
    score(DAY)
    died = (
        "import os, signal, sys\nimport pilotline.tasks.score.days as s\n"
        "s._record = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "s.find_unchanged = lambda *a: None\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", died + SLOW, str(home.root), "fast", DAY.isoformat()], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    (planned,) = plan_backfill(registry, "flight-delay", "flights", DAY, DAY, "champion")
    assert planned.state == "failed"
    (again,) = score(DAY)
    assert again.state == "succeeded"
    shown = read_predictions(home, job, "production", DAY)["run_id"].unique().to_pylist()
    assert shown == [again.run_id]
    assert score(DAY)[0].state == "unchanged"
