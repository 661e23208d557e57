"""Scoring partitions: claim, stream through the model's process, commit once, record, tear down."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
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
from registry.failpoints import reach
from registry.ingests import Ingest, get_partition
from registry.resolution import OUT_OF_USE
from registry.runs import (
    PRODUCTION,
    Claim,
    Ending,
    Run,
    RunOutcome,
    claim_partition,
    end_run,
    record_teardown,
    unsettled_runs,
    visible_runs,
)
from registry.versions import ModelVersion, standing_of
from tasks import lake
from tasks.bundle import Bundle
from tasks.commit import commit_partition, find_commit, transaction_name
from tasks.environments import built_environment, interpreter, sweep_scratch
from tasks.errors import (
    EnvironmentBuildError,
    OverwriteRefusedError,
    StepError,
    SupersededError,
)
from tasks.home import Home
from tasks.job import Job
from tasks.metering import Meter
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
        EnvironmentBuildError: its environment cannot be built; each day has a failed run on record.
        UnknownPartitionError: a day was never ingested.
    """
    sweep_scratch(home.scratch)  # also when nothing is left to do: who did it may have died
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
    try:
        results += _score_open(registry, home, tier, job, open_days, say)
    except EnvironmentBuildError as err:
        for day in open_days:
            _record_unbuilt(registry, home, tier, job, day, err)
        raise
    return sorted(results, key=lambda result: result.date)


def _score_open(
    registry: Registry,
    home: Home,
    tier: Tier,
    job: Job,
    days: Sequence[date],
    say: Callable[[str], None],
) -> list[DayScored]:
    results: list[DayScored] = []
    runs: list[Run] = []
    name = job.bundle.spec.name
    wheelhouse = Wheelhouse(registry, home.scratch)
    with built_environment(
        home.scratch, name, job.bundle.lock, walled=tier.walled, wheelhouse=wheelhouse
    ) as environment:
        reach("score: environment built")
        room = Room(home, environment, tier)
        with _Children(room, job.bundle) as children:
            for day in days:
                result = _score_day(registry, home, room, job, day, children, runs)
                say(f"{day} {result.state}, {result.rows:,} rows by {result.number}")
                results.append(result)
    reach("score: torn down")
    with registry.write() as session:
        for run in runs:
            record_teardown(
                session, run, environment.teardown_s[0], not environment.folder.exists()
            )
    return results


def _record_unbuilt(
    registry: Registry, home: Home, tier: Tier, job: Job, day: date, error: EnvironmentBuildError
) -> None:
    """Leave a failed run with its reason, as for every other way of failing."""
    _settle_earlier(registry, home, job, day)
    with suppress(OverwriteRefusedError, VersionUnfitError):
        run, _ = _claim(registry, tier, job, day)
        _end(registry, run, Ending("failed", reason=str(error)))


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
        self.meter = Meter()

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
        self.meter.watch(self._child)
        return self._child

    def measure(self) -> dict[str, Any]:
        """Return what the day has used."""
        return self.meter.read(self._room.environment)

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
    children.meter.begin()
    number = job.bundle.version.number
    _settle_earlier(registry, home, job, day)
    try:
        run, partition = _claim(registry, room.tier, job, day)
    except (OverwriteRefusedError, VersionUnfitError) as err:
        return DayScored(day, "failed", number, "", 0, str(err))
    runs.append(run)
    reach("score: claimed")
    try:
        child = children.get()
        version, profile = commit_partition(registry, home, job, run, partition, child)
    except SupersededError as err:
        used = children.measure()
        _end(registry, run, Ending("superseded", reason=str(err), resources=used))
        return DayScored(day, "superseded", number, run.id, 0, str(err))
    except Exception as err:
        used = children.measure()
        children.drop(err)
        _end(registry, run, Ending("failed", reason=str(err), resources=used))
        known = StepError | VersionUnfitError | DeltaError | OSError | pa.ArrowException
        if not isinstance(err, known):
            raise
        return DayScored(day, "failed", number, run.id, 0, str(err))
    used = children.measure()
    wall_s = used["wall_s"]
    ending = Ending(
        "succeeded",
        rows=partition.accepted,
        reason=job.reason,
        resources=used,
        profile_digest=registry.blobs.put(profile.encode()),
        table_version=version,
    )
    ended = _end(registry, run, ending)
    reach("score: recorded")
    if ended.state != "succeeded":
        reason = ended.reason or "a later run claimed the partition and settled this one"
        state = "failed" if ended.state == "failed" else "superseded"
        return DayScored(day, state, number, run.id, 0, reason)
    return DayScored(
        day, "succeeded", number, run.id, partition.accepted, "", wall_s, run.isolation, used
    )


def _claim(registry: Registry, tier: Tier, job: Job, day: date) -> tuple[Run, Ingest]:
    with registry.write() as session:
        partition = get_partition(session, job.bundle.spec.input, day)
        _refuse_retired(session, job)
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
                isolation=tier.name,
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
    with registry.read() as session:
        _refuse_retired(session, job)
    check_interpreter(job.bundle)


def _refuse_retired(session: Session, job: Job) -> None:
    """Look whether the version may still run; under the writers' lock nothing changes that."""
    version, name = job.bundle.version, job.bundle.spec.name
    status = standing_of(session, version)
    if status in OUT_OF_USE:
        raise VersionUnfitError(name, version.number, f"is {status}", "Score with another one.")


def _end(registry: Registry, run: Run, ending: Ending) -> RunOutcome:
    """Record how ``run`` ended; return what is on record, which a later run may have set."""
    with registry.write() as session:
        return end_run(session, run, ending)
