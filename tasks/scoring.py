"""Scoring partitions: claim, stream through the model's process, commit once, record, tear down."""

import queue
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from registry import Registry
from registry.canonical import digest_bytes
from registry.errors import VersionUnfitError
from registry.ingests import Ingest, get_partition
from registry.promotions import champion
from registry.runs import (
    Claim,
    Ending,
    Run,
    claim_partition,
    end_run,
    holds_claim,
    record_teardown,
    unsettled_runs,
    visible_runs,
)
from registry.versions import status_of
from tasks import lake
from tasks.bundle import Bundle, load_bundle
from tasks.datasets import Column, arrow_schema
from tasks.environments import Environment, built_environment, interpreter
from tasks.errors import ChildError, LakeError, StepError, SupersededError
from tasks.home import Home
from tasks.process import Room, scoring_child
from tasks.profiles import Profile, decode_profile, merge_profiles, profile_like
from tasks.runner import Child
from tasks.sandbox import Tier
from tasks.training import BATCH_ROWS, output_schema, refuse_not_finite

COMMIT_TRIES = 3  # when another partition of the same table was committed meanwhile
RUN_COLUMNS = {"model_version": "string", "run_id": "string", "variant": "string"}


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


@dataclass(frozen=True)
class Job:
    """Which version scores what, and how the table of predictions looks."""

    bundle: Bundle
    variant: str
    trigger: str
    key: Mapping[str, Column]  # key columns, with the date among them
    date_column: str

    @property
    def schema(self) -> pa.Schema:
        """Columns of the predictions table."""
        outputs = {name: Column(kind) for name, kind in self.bundle.spec.predictions.items()}
        own = {name: Column(kind) for name, kind in RUN_COLUMNS.items()}
        return arrow_schema({**self.key, **outputs, **own})

    @property
    def read_schema(self) -> pa.Schema:
        """Columns read from the input: keys, date and features, each once."""
        contract = self.bundle.json("contract.json")["inputs"]
        features = {name: Column(**facts) for name, facts in contract.items()}
        return arrow_schema({**self.key, **features})


def plan_job(bundle: Bundle, variant: str, trigger: str) -> Job:
    """Return the job of scoring with ``bundle``, its predictions keyed as its contract says.

    Nothing is read from the lab: what is there by now need not be what the version was made from.
    """
    contract = bundle.json("contract.json")
    names = dict.fromkeys([contract["date"], *contract["key"]])
    key = {name: Column(contract["key_types"][name]) for name in names}
    return Job(bundle, variant, trigger, key, contract["date"])


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
    with built_environment(home.scratch, name, job.bundle.lock, walled=tier.walled) as environment:
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
    if run is None or run.version_id != version.id:
        return None
    if run.partition_digest != partition.partition_digest:
        return None
    return DayScored(
        day, "unchanged", version.number, run.id, partition.accepted, isolation=run.isolation
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
    run, partition = _claim(registry, room, job, day)
    runs.append(run)
    try:
        child = children.get()
        version, profile = _commit(registry, home, job, run, partition, child)
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
        resources=resources,
        profile_digest=registry.blobs.put(profile.encode()),
        table_version=version,
    )
    _end(registry, run, ending)
    return DayScored(
        day, "succeeded", number, run.id, partition.accepted, "", seconds, run.isolation, resources
    )


def _claim(registry: Registry, room: Room, job: Job, day: date) -> tuple[Run, Ingest]:
    with registry.write() as session:
        partition = get_partition(session, job.bundle.spec.input, day)
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


def _commit(
    registry: Registry, home: Home, job: Job, run: Run, partition: Ingest, child: Child
) -> tuple[int, Profile]:
    """Stream the partition through the child into one commit; return its version and profile."""
    path = lake.predictions_path(home.lake, job.bundle.spec.name)
    predicate = f"variant = '{job.variant}' and {lake.on_day(job.date_column, run.date)}"
    identity = transaction_name(job.variant, run.date)
    for attempt in range(1, COMMIT_TRIES + 1):
        table = lake.ensure_table(path, job.schema, ["variant", job.date_column])
        _refuse_superseded(registry, table, run, identity)
        stream = _Stream(home, job, run, partition, child)
        try:
            version = lake.replace_partition(
                table, stream.reader(), predicate, {"run": run.id}, (identity, run.epoch)
            )
            return version, stream.profile()
        except DeltaError as err:
            if stream.error is not None:
                raise stream.error from err
            landed = find_commit(lake.open_table(path), identity, run)
            if landed is not None:
                return landed, stream.profile()
            if attempt == COMMIT_TRIES:
                raise LakeError(
                    job.bundle.spec.name,
                    f"the commit failed ({str(err).splitlines()[0][:200]})",
                    "Run the command again.",
                ) from err
    raise AssertionError("unreachable: the loop returns or raises")


def transaction_name(variant: str, day: date) -> str:
    """Return the name under which Delta keeps the epoch of a partition."""
    return f"{variant}/{day.isoformat()}"


def find_commit(table: DeltaTable, identity: str, run: Run) -> int | None:
    """Return the version in which ``run``'s rows were committed, None where they never were."""
    if table.transaction_version(identity) != run.epoch:
        return None
    for entry in table.history():
        if entry.get("run") == run.id:
            return int(entry["version"])
    return None


def _refuse_superseded(registry: Registry, table: DeltaTable, run: Run, identity: str) -> None:
    # Delta does not fence: a refreshed handle may commit an older epoch over a newer one. So look
    # first, then commit on this very handle, which fails if anybody committed since.
    committed = table.transaction_version(identity)
    if committed is not None and committed >= run.epoch:
        raise SupersededError(run.id, f"epoch {committed} is in the table, this is {run.epoch}")
    with registry.read() as session:
        if not holds_claim(session, run):
            raise SupersededError(run.id, "a later run claimed the partition")


class _Stream:
    """One partition on its way through the child: keys put back, checked, profiled."""

    def __init__(self, home: Home, job: Job, run: Run, partition: Ingest, child: Child) -> None:
        self._job, self._run, self._partition, self._child = job, run, partition, child
        self._reference = decode_profile(job.bundle.files["profile.json"])
        self._path = lake.accepted_path(home.lake, partition.dataset)
        self._keys: queue.SimpleQueue[pa.RecordBatch] = queue.SimpleQueue()
        # Features are profiled by the thread that feeds, and met here by their predictions.
        self._features: queue.SimpleQueue[Profile] = queue.SimpleQueue()
        self._profiles: list[Profile] = []
        self.error: Exception | None = None

    def reader(self) -> pa.RecordBatchReader:
        """Return the finished rows; its last act is the check that they are complete."""
        return pa.RecordBatchReader.from_batches(self._job.schema, self._batches())

    def profile(self) -> Profile:
        """Return the profile of inputs and predictions together."""
        merged = merge_profiles(self._profiles)
        assert merged is not None, "a partition has rows"
        return merged

    def _batches(self) -> Iterator[pa.RecordBatch]:
        spec = self._job.bundle.spec
        features = pa.schema([self._job.read_schema.field(name) for name in spec.features])
        rows = 0
        try:
            outputs = output_schema(spec.predictions)
            for predicted in self._child.score(self._input(), features, outputs):
                refuse_not_finite(spec.name, predicted, self._child.log_tail())
                keys = self._keys.get_nowait()
                if keys.num_rows != predicted.num_rows:
                    raise ChildError(
                        spec.name, f"gave {predicted.num_rows} rows for {keys.num_rows}"
                    )
                rows += predicted.num_rows
                yield self._finish(keys, predicted)
            if rows != self._partition.accepted:
                raise LakeError(
                    self._partition.dataset,
                    f"day {self._run.date} reads as {rows} rows, {self._partition.accepted} were "
                    "ingested",
                    "Ingest the day again.",
                )
        except Exception as err:
            self.error = err  # the library wraps it; the caller wants the original
            raise

    def _input(self) -> Iterator[pa.RecordBatch]:
        spec, schema = self._job.bundle.spec, self._job.read_schema
        table = lake.open_table(self._path, self._run.table_version)
        predicate = lake.on_day(self._job.date_column, self._run.date)
        for large in lake.scan(table, schema, predicate):
            for start in range(0, large.num_rows, BATCH_ROWS):
                batch = large.slice(start, BATCH_ROWS)
                self._keys.put(batch.select(list(self._job.key)))
                features = batch.select(list(spec.features))
                self._features.put(profile_like(self._reference, features))
                yield features

    def _finish(self, keys: pa.RecordBatch, predicted: pa.RecordBatch) -> pa.RecordBatch:
        seen = profile_like(self._reference, predicted)
        features = self._features.get_nowait()
        both = Profile(features.rows, {**features.columns, **seen.columns})
        self._profiles.append(both)
        own = [self._job.bundle.version.number, self._run.id, self._job.variant]
        constants = [pa.repeat(pa.scalar(value), keys.num_rows) for value in own]
        columns = [*keys.columns, *predicted.columns, *constants]
        return pa.RecordBatch.from_arrays(columns, schema=self._job.schema)


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
    if job.bundle.manifest.interpreter != interpreter():
        raise VersionUnfitError(
            name,
            version.number,
            f"needs {job.bundle.manifest.interpreter}, this is {interpreter()}",
            "Run pilotline with that Python.",
        )


def _resources(environment: Environment, child: Child, seconds: float) -> dict[str, Any]:
    usage = child.usage
    parent_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "wall_s": round(seconds, 4),
        "build_s": round(environment.build_s, 4),
        "offline": environment.offline,
        "start_s": round(usage.start_s, 4),
        "predict_s": round(usage.predict_s, 4),
        "child_cpu_s": round(usage.cpu_s, 4),
        "child_peak_mib": round(usage.peak_mib, 1),
        "parent_peak_mib": round(parent_kib / 1024, 1),
        "bytes_in": usage.bytes_in,
        "bytes_out": usage.bytes_out,
    }


def _end(registry: Registry, run: Run, ending: Ending) -> None:
    with registry.write() as session:
        end_run(session, run, ending)


def load_champion(registry: Registry, name: str) -> Bundle:
    """Return the champion of ``name``, with the checks production needs.

    Raises:
        UnknownModelError, NoChampionError, VersionUnfitError: none may run.
    """
    with registry.read() as session:
        version = champion(session, name)
    return load_bundle(registry, version)
