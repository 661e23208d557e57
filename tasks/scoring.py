"""Scoring partitions: claim, stream through the model's process, commit once, record, tear down."""

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from sqlalchemy.orm import Session

from registry import Registry
from registry.aliases import CHAMPION, get_alias
from registry.canonical import digest_bytes
from registry.errors import VersionUnfitError
from registry.ingests import Ingest, get_partition
from registry.runs import (
    PRODUCTION,
    Claim,
    Ending,
    Run,
    claim_partition,
    end_run,
    record_teardown,
    unsettled_runs,
    visible_runs,
)
from registry.versions import ModelVersion, status_of
from tasks import lake
from tasks.bundle import Bundle
from tasks.commit import commit_partition, find_commit, transaction_name
from tasks.environments import Environment, built_environment, interpreter
from tasks.errors import OverwriteRefusedError, StepError, SupersededError
from tasks.home import Home
from tasks.job import Job
from tasks.planning import may_replace
from tasks.process import Room, scoring_child
from tasks.runner import Child
from tasks.sandbox import Tier
from tasks.wheelhouse import Wheelhouse


@dataclass(frozen=True)
class DayScored:
    """What became of one partition."""

    date: date
    state: str  # succeeded, unchanged, superseded or failed
    number: str
    run_id: str
    rows: int
    reason: str = ""
    seconds: float = 0.0
    isolation: str = ""  # tier of the run
    resources: Mapping[str, Any] | None = None


def score_days(
    registry: Registry,
    home: Home,
    tier: Tier,
    job: Job,
    days: Sequence[date],
    say: Callable[[str], None],
) -> list[DayScored]:
    """Score ``days`` with one environment and one child, oldest first; each commits by itself.

    A day that shows this version's predictions from the same rows already is left as it is. A
    day that fails does not stop the others.

    Raises:
        VersionUnfitError: the version must not run here.
        EnvironmentBuildError: its environment cannot be built; no day was touched.
        UnknownPartitionError: a day was never ingested.
    """
    results: list[DayScored] = []
    open_days = []
    for day in sorted(days):
        shown = find_unchanged(registry, job, day)
        if shown is None:
            open_days.append(day)
        else:
            results.append(shown)
    if not open_days:
        return results
    _check_fit(registry, job)
    runs: list[Run] = []
    name = job.bundle.spec.name
    wheelhouse = Wheelhouse(registry, home.scratch)
    with built_environment(
        home.scratch, name, job.bundle.lock, walled=tier.walled, wheelhouse=wheelhouse
    ) as environment:
        room = Room(home, environment, tier)
        with _Children(room, job.bundle) as children:
            for day in open_days:
                result = _score_day(registry, home, room, job, day, children, runs)
                say(f"{day} {result.state}, {result.rows:,} rows by {result.number}")
                results.append(result)
    with registry.write() as session:
        for run in runs:
            record_teardown(
                session, run, environment.teardown_s[0], not environment.folder.exists()
            )
    return sorted(results, key=lambda result: result.date)


def find_unchanged(registry: Registry, job: Job, day: date) -> DayScored | None:
    """Return what readers see of ``day`` if it is this version's work on the present rows.

    Raises:
        UnknownPartitionError: the day was never ingested.
    """
    version = job.bundle.version
    with registry.read() as session:
        partition = get_partition(session, job.bundle.spec.input, day)
        run = visible_runs(session, version.model_id, job.variant, day, day).get(day)
        unsettled = unsettled_runs(session, version.model_id, job.variant, day)
    # A run without an outcome may have committed: what readers see is known once it is settled.
    if unsettled or run is None or run.version_id != version.id:
        return None
    if run.partition_digest != partition.partition_digest:
        return None
    return DayScored(
        day, "unchanged", version.number, run.id, partition.accepted, isolation=run.isolation
    )


def check_interpreter(bundle: Bundle) -> None:
    """Do nothing if the version was made for this interpreter.

    Raises:
        VersionUnfitError: it was made for another one.
    """
    if bundle.manifest.interpreter != interpreter():
        raise VersionUnfitError(
            bundle.spec.name,
            bundle.version.number,
            f"needs {bundle.manifest.interpreter}, this is {interpreter()}",
            "Run pilotline with that Python.",
        )


class _Children:
    """The child of a job, started when first needed and again after it failed."""

    def __init__(self, room: Room, bundle: Bundle) -> None:
        self._room, self._bundle = room, bundle
        self._stack = ExitStack()
        self._child: Child | None = None

    def __enter__(self) -> "_Children":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)

    def get(self) -> Child:
        """Return the running child."""
        if self._child is None:
            self._child = self._stack.enter_context(
                scoring_child(self._room, self._bundle.folder, self._bundle.artifact)
            )
        return self._child

    def drop(self, error: BaseException) -> None:
        """End the child after ``error``; the next day gets a new one."""
        stack, self._stack, self._child = self._stack, ExitStack(), None
        try:
            stack.__exit__(type(error), error, error.__traceback__)
        except StepError:
            return  # how it ended after failing adds nothing to why it failed


def _score_day(
    registry: Registry,
    home: Home,
    room: Room,
    job: Job,
    day: date,
    children: _Children,
    runs: list[Run],
) -> DayScored:
    started = time.perf_counter()
    number = job.bundle.version.number
    _settle_earlier(registry, home, job, day)
    try:
        run, partition = _claim(registry, room, job, day)
    except OverwriteRefusedError as err:
        return DayScored(day, "failed", number, "", 0, str(err))
    runs.append(run)
    try:
        child = children.get()
        version, profile = commit_partition(registry, home, job, run, partition, child)
    except SupersededError as err:
        _end(registry, run, Ending("superseded", reason=str(err)))
        return DayScored(day, "superseded", number, run.id, 0, str(err))
    except Exception as err:
        children.drop(err)
        _end(registry, run, Ending("failed", reason=str(err)))
        if not isinstance(err, StepError | DeltaError | OSError | pa.ArrowException):
            raise
        return DayScored(day, "failed", number, run.id, 0, str(err))
    seconds = time.perf_counter() - started
    resources = _resources(room.environment, child, seconds)
    ending = Ending(
        "succeeded",
        rows=partition.accepted,
        reason=job.reason,
        resources=resources,
        profile_digest=registry.blobs.put(profile.encode()),
        table_version=version,
    )
    if _end(registry, run, ending) != "succeeded":
        reason = "a later run claimed the partition and settled this one"
        return DayScored(day, "superseded", number, run.id, 0, reason)
    return DayScored(
        day, "succeeded", number, run.id, partition.accepted, "", seconds, run.isolation, resources
    )


def _claim(registry: Registry, room: Room, job: Job, day: date) -> tuple[Run, Ingest]:
    with registry.write() as session:
        partition = get_partition(session, job.bundle.spec.input, day)
        _refuse_overwrite(session, job, day)
        run = claim_partition(
            session,
            job.bundle.version,
            Claim(
                variant=job.variant,
                dataset=partition.dataset,
                date=day,
                partition_digest=partition.partition_digest,
                table_version=partition.table_version,
                lock_digest=digest_bytes(job.bundle.lock),
                isolation=room.tier.name,
                trigger=job.trigger,
            ),
        )
    return run, partition


def _refuse_overwrite(session: Session, job: Job, day: date) -> None:
    """Look under the writers' lock whether somebody was promoted, or scored, since the plan."""
    version = job.bundle.version
    if job.variant != PRODUCTION or job.reason:
        return
    shown = visible_runs(session, version.model_id, job.variant, day, day).get(day)
    present = get_alias(session, version.model_id, CHAMPION)
    if shown is not None and not may_replace(present, shown, version):
        before = session.get_one(ModelVersion, shown.version_id).number
        raise OverwriteRefusedError(job.bundle.spec.name, day.isoformat(), before, version.number)


def _settle_earlier(registry: Registry, home: Home, job: Job, day: date) -> None:
    """Record how runs ended whose process died, before anything is tried again."""
    model_id = job.bundle.version.model_id
    with registry.read() as session:
        earlier = unsettled_runs(session, model_id, job.variant, day)
    if not earlier:
        return
    path = lake.predictions_path(home.lake, job.bundle.spec.name)
    table = lake.open_table(path) if DeltaTable.is_deltatable(str(path)) else None
    with registry.write() as session:
        for run in earlier:
            landed = find_commit(table, transaction_name(job.variant, day), run) if table else None
            said = "its rows were committed" if landed is not None else "it committed nothing"
            end_run(
                session,
                run,
                Ending("crashed", reason=f"no outcome was recorded; {said}", table_version=landed),
            )


def _check_fit(registry: Registry, job: Job) -> None:
    version, name = job.bundle.version, job.bundle.spec.name
    with registry.read() as session:
        status = status_of(session, version)
    if status in ("revoked", "rejected", "archived"):
        raise VersionUnfitError(name, version.number, f"is {status}", "Score with another one.")
    check_interpreter(job.bundle)


def _resources(environment: Environment, child: Child, seconds: float) -> dict[str, Any]:
    usage = child.usage
    parent_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "wall_s": round(seconds, 4),
        "build_s": round(environment.build_s, 4),
        "packages_from": environment.origin,
        "start_s": round(usage.start_s, 4),
        "predict_s": round(usage.predict_s, 4),
        "child_cpu_s": round(usage.cpu_s, 4),
        "child_peak_mib": round(usage.peak_mib, 1),
        "parent_peak_mib": round(parent_kib / 1024, 1),
        "bytes_in": usage.bytes_in,
        "bytes_out": usage.bytes_out,
    }


def _end(registry: Registry, run: Run, ending: Ending) -> str:
    """Record how ``run`` ended; return the state on record, which a later run may have set."""
    with registry.write() as session:
        return end_run(session, run, ending).state
