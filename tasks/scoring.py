"""Scoring partitions: claim, stream through the model's process, commit once, record, tear down."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

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
    InputRead,
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
    InputRefusedError,
    LakeError,
    OverwriteRefusedError,
    StepError,
    SupersededError,
)
from tasks.home import Home
from tasks.job import Job
from tasks.joined_inputs import choose_inputs, list_empty, pick_inputs, say_changes
from tasks.metering import Meter
from tasks.planning import may_replace
from tasks.process import Room, scoring_child
from tasks.profiles import Profile
from tasks.runner import Child
from tasks.sandbox import Tier
from tasks.sharding import Crew, ShardWorker
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
    challenger: str = ""  # who scored a share of the keys, where a split gave it one
    share: str = ""

    @property
    def scorers(self) -> str:
        """Who scored, in words."""
        if not self.challenger:
            return self.number
        return f"{self.number}, {Decimal(self.share):.2%} of the keys by {self.challenger}"


def score_days(
    registry: Registry,
    home: Home,
    tier: Tier,
    job: Job,
    days: Sequence[date],
    say: Callable[[str], None],
    crew: Crew | None = None,
) -> list[DayScored]:
    """Score ``days`` with one environment and one child, oldest first; each commits by itself.

    A day that shows this version's predictions from the same rows already is left as it is. A
    day that fails does not stop the others. A day that is big enough to be cut, or that two
    versions share, is scored by ``crew``, where there is one, with a child for each part.

    Raises:
        ValueError: two versions share the job, and there is no crew.
        VersionUnfitError: the version must not run here.
        EnvironmentBuildError: its environment cannot be built; each day has a failed run on record.
        UnknownPartitionError: a day was never ingested.
    """
    if job.challenger is not None and crew is None:
        raise ValueError("Two versions share this job: expected a crew to score their parts.")
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
    _warn_of_inputs(registry, job, open_days, say)
    big = [day for day in open_days if crew is not None and _is_cut(registry, job, day, crew)]
    whole = [day for day in open_days if day not in big]
    try:
        if whole:
            results += _score_whole(registry, home, tier, job, whole, say)
    except EnvironmentBuildError as err:
        for day in whole:
            _record_unbuilt(registry, home, tier, job, day, err)
        raise
    if crew is not None and big:
        results += _score_big(registry, home, tier, job, big, crew, say)
    return sorted(results, key=lambda result: result.date)


def _is_cut(registry: Registry, job: Job, day: date, crew: Crew) -> bool:
    with registry.read() as session:
        partition = get_partition(session, job.bundle.spec.input, day)
    whole = partition.files_digest is None  # ingested before files were hashed
    shards = crew.rules.shards(partition.accepted)
    return job.challenger is not None or (shards > 1 and not whole)


def _score_big(
    registry: Registry,
    home: Home,
    tier: Tier,
    job: Job,
    days: Sequence[date],
    crew: Crew,
    say: Callable[[str], None],
) -> list[DayScored]:
    results: list[DayScored] = []
    worker = ShardWorker(registry, home, job, crew)
    for day in days:
        runs: list[Run] = []
        result = _score_day(registry, home, tier, job, day, worker, runs)
        reach("score: torn down")
        with registry.write() as session:
            for run in runs:
                record_teardown(session, run, worker.teardown_s, worker.clean)
        result = _as_asked(job, result)
        say(f"{day} {result.state}, {result.rows:,} rows by {result.scorers}")
        results.append(result)
    return results


def _score_whole(
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
        with _Children(registry, room, job) as children:
            for day in days:
                result = _score_day(registry, home, tier, job, day, children, runs)
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
    with suppress(InputRefusedError, LakeError, OverwriteRefusedError, VersionUnfitError):
        reads = choose_inputs(registry, home, job.joins, [day])
        run, _ = _claim(registry, tier, job, day, reads)
        _end(registry, run, Ending("failed", reason=str(error)))


def _as_asked(job: Job, result: DayScored) -> DayScored:
    """Return ``result`` with the other version that the job asks for, if it asks for one."""
    if job.challenger is None or job.share is None:
        return result
    return replace(result, challenger=job.challenger.version.number, share=str(job.share))


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
    if unsettled or run is None or not job.is_by(run):
        return None
    if run.partition_digest != partition.partition_digest or _joins_others(registry, job, run):
        return None
    state, rows = "unchanged", partition.accepted
    result = DayScored(day, state, version.number, run.id, rows, isolation=run.isolation)
    return _as_asked(job, result)


def _joins_others(registry: Registry, job: Job, run: Run) -> bool:
    """Tell whether ``run`` read other rows of further inputs than it would now, or must not."""
    with registry.read() as session:
        try:
            return bool(job.joins and say_changes(session, job.joins, run))
        except InputRefusedError:
            return True


def _warn_of_inputs(
    registry: Registry, job: Job, days: Sequence[date], say: Callable[[str], None]
) -> None:
    """Say which further inputs have nothing for a day."""
    with registry.read() as session:
        for day in days if job.joins else ():
            with suppress(InputRefusedError):  # which the day itself then says
                for warning in list_empty(session, job.joins, day):
                    say(warning)


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


class Worker(Protocol):
    """Who brings one partition after the other into the table of predictions."""

    def begin(self) -> None:
        """Begin a day."""

    def commit(self, run: Run, partition: Ingest) -> tuple[int, Profile]:
        """Score and commit the day; return the table's version and the profile of all values."""

    def measure(self) -> dict[str, Any]:
        """Return what the day has used."""

    def drop(self, error: BaseException) -> None:
        """End what is under way after ``error``."""


class _Children:
    """The child of a job, started when first needed and again after it failed."""

    def __init__(self, registry: Registry, room: Room, job: Job) -> None:
        self._registry, self._room, self._job = registry, room, job
        self._stack = ExitStack()
        self._child: Child | None = None
        self._meter = Meter()

    def __enter__(self) -> "_Children":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)

    def begin(self) -> None:
        """Begin a day."""
        self._meter.begin()

    def commit(self, run: Run, partition: Ingest) -> tuple[int, Profile]:
        """Stream the day through the child, which is started if there is none."""
        if self._child is None:
            bundle = self._job.bundle
            self._child = self._stack.enter_context(
                scoring_child(self._room, bundle.folder, bundle.artifact)
            )
        self._meter.watch(self._child)
        return commit_partition(
            self._registry, self._room.home, self._job, run, partition, self._child
        )

    def measure(self) -> dict[str, Any]:
        """Return what the day has used."""
        return self._meter.read(self._room.environment)

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
    tier: Tier,
    job: Job,
    day: date,
    worker: Worker,
    runs: list[Run],
) -> DayScored:
    worker.begin()
    number = job.bundle.version.number
    _settle_earlier(registry, home, job, day)
    try:
        reads = choose_inputs(registry, home, job.joins, [day])
        run, partition = _claim(registry, tier, job, day, reads)
    except (InputRefusedError, LakeError, OverwriteRefusedError, VersionUnfitError) as err:
        return DayScored(day, "failed", number, "", 0, str(err))
    runs.append(run)
    reach("score: claimed")
    try:
        version, profile = worker.commit(run, partition)
    except SupersededError as err:
        used = worker.measure()
        _end(registry, run, Ending("superseded", reason=str(err), resources=used))
        return DayScored(day, "superseded", number, run.id, 0, str(err))
    except Exception as err:
        used = worker.measure()
        worker.drop(err)
        _end(registry, run, Ending("failed", reason=str(err), resources=used))
        known = StepError | VersionUnfitError | DeltaError | OSError | pa.ArrowException
        if not isinstance(err, known):
            raise
        return DayScored(day, "failed", number, run.id, 0, str(err))
    used = worker.measure()
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


def _claim(
    registry: Registry, tier: Tier, job: Job, day: date, reads: Sequence[InputRead] = ()
) -> tuple[Run, Ingest]:
    with registry.write() as session:
        pick_inputs(session, job.joins, [day])  # under the lock: is one of them revoked by now?
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
                challenger_id=job.challenger.version.id if job.challenger else None,
                share=str(job.share) if job.share else None,
            ),
            reads,
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
    for bundle in job.bundles:
        check_interpreter(bundle)


def _refuse_retired(session: Session, job: Job) -> None:
    """Look whether each version may still run; under the writers' lock nothing changes that."""
    for bundle in job.bundles:
        status, name = standing_of(session, bundle.version), bundle.spec.name
        if status in OUT_OF_USE:
            problem = f"is {status}"
            raise VersionUnfitError(name, bundle.version.number, problem, "Score with another one.")


def _end(registry: Registry, run: Run, ending: Ending) -> RunOutcome:
    """Record how ``run`` ended; return what is on record, which a later run may have set."""
    with registry.write() as session:
        return end_run(session, run, ending)
