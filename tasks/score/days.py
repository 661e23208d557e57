"""Scoring partitions: claim, stream through the model's process, commit once, record, tear down."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.form import VersionUnfitError, reach
from pilotline.registry.runs import (
    Ending,
    InputRead,
    Run,
    RunOutcome,
    end_run,
    get_partition,
    list_partitions,
    record_teardown,
    unsettled_runs,
    visible_runs,
)
from pilotline.tasks.errors import (
    EnvironmentBuildError,
    InputRefusedError,
    LakeError,
    OverwriteRefusedError,
    StepError,
    SupersededError,
)
from pilotline.tasks.features import choose_inputs, list_empty, say_changes
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Bundle
from pilotline.tasks.lake import TableRefusedError
from pilotline.tasks.logs import about, note
from pilotline.tasks.sandbox import (
    Room,
    Tier,
    Wheelhouse,
    built_environment,
    interpreter,
    sweep_scratch,
)
from pilotline.tasks.score.children import ScoringChildren
from pilotline.tasks.score.chunks import Claimed, cut_chunks, score_together
from pilotline.tasks.score.claims import Tried, claim_day, record, refuse_retired, settle_earlier
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.shards.cutting import Crew, ShardWorker

# Why a day must not be scored: told before it is claimed.
REFUSALS = (InputRefusedError, LakeError, OverwriteRefusedError, VersionUnfitError)
# How scoring may fail, the model's ways among them; anything else is a mistake of ours.
EXPECTED = (StepError, VersionUnfitError, TableRefusedError, OSError, pa.ArrowException)


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
    go_on: Callable[[Sequence[DayScored]], bool] = lambda done: True,
) -> list[DayScored]:
    """Score ``days`` in one environment, oldest first; some share a commit.

    A day that shows this version's predictions from the same rows already is left as it is. A
    day that fails does not stop the others. A day that is big enough to be cut, or that two
    versions share, is scored by ``crew``, where there is one, with a child for each part.

    Args:
        registry: the registry.
        home: the home.
        tier: the isolation.
        job: which version scores what.
        days: which days.
        say: told of each day.
        crew: who scores the parts of a day that is cut.
        go_on: told what became of the days of each commit; days after it that returns False stay
            as they are.

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
    with about():  # what is noted of a day holds for no line after the days
        try:
            if whole:
                at_once = min(len(whole), crew.rules.days_at_once if crew else 1)
                results += _score_whole(registry, home, tier, job, whole, at_once, say, go_on)
        except EnvironmentBuildError as err:
            for day in whole:
                _record_unbuilt(registry, home, tier, job, day, err)
            raise
        left = len(results) < len(days) - len(big)  # somebody asked to stop
        if crew is not None and big and not left:
            results += _score_big(registry, home, tier, job, big, crew, say, go_on)
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
    go_on: Callable[[Sequence[DayScored]], bool],
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
        with about(date=day, run=result.run_id or None):
            say(f"{day} {result.state}, {result.rows:,} rows by {result.scorers}")
        results.append(result)
        if not go_on([result]):
            break
    return results


def _score_whole(
    registry: Registry,
    home: Home,
    tier: Tier,
    job: Job,
    days: Sequence[date],
    at_once: int,
    say: Callable[[str], None],
    go_on: Callable[[Sequence[DayScored]], bool],
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
        with ScoringChildren(room, job, at_once) as children:
            for chunk in cut_chunks(days, _count_rows(registry, job, days)):
                done = _score_chunk(registry, home, tier, job, chunk, children, runs)
                for result in done:
                    with about(date=result.date, run=result.run_id or None):
                        say(
                            f"{result.date} {result.state}, {result.rows:,} rows by {result.number}"
                        )
                results += done
                if not go_on(done):
                    break
    reach("score: torn down")
    with registry.write() as session:
        for run in runs:
            record_teardown(
                session, run, environment.teardown_s[0], not environment.folder.exists()
            )
    return results


def _count_rows(registry: Registry, job: Job, days: Sequence[date]) -> dict[date, int]:
    with registry.read() as session:
        found = list_partitions(session, job.bundle.spec.input, min(days), max(days))
    return {partition.date: partition.accepted for partition in found}


def _record_unbuilt(
    registry: Registry, home: Home, tier: Tier, job: Job, day: date, error: EnvironmentBuildError
) -> None:
    """Leave a failed run with its reason, as for every other way of failing."""
    settle_earlier(registry, home, job, [day])
    with suppress(*REFUSALS):
        reads = choose_inputs(registry, home, job.joins, [day])
        with registry.write() as session:
            run, _ = claim_day(session, tier, job, day, reads)
            end_run(session, run, Ending("failed", reason=str(error)))


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


def _score_day(
    registry: Registry,
    home: Home,
    tier: Tier,
    job: Job,
    day: date,
    worker: ShardWorker,
    runs: list[Run],
) -> DayScored:
    worker.begin()
    note(version=job.bundle.version.number, date=day, run=None)
    settle_earlier(registry, home, job, [day])
    claimed, refused = _claim(registry, home, tier, job, [day])
    if refused:
        return refused[0]
    ((run, partition),) = claimed
    runs.append(run)
    note(run=run.id)
    reach("score: claimed")
    try:
        version, profile = worker.commit(run, partition)
        tried = Tried(run, partition, worker.measure(), version, profile)
    except SupersededError as err:
        tried = Tried(run, partition, worker.measure(), error=err)
    except Exception as err:
        tried = Tried(run, partition, worker.measure(), error=err)
        worker.drop(err)
    return _record(registry, job, [tried])[0]


def _score_chunk(
    registry: Registry,
    home: Home,
    tier: Tier,
    job: Job,
    days: Sequence[date],
    children: ScoringChildren,
    runs: list[Run],
) -> list[DayScored]:
    note(version=job.bundle.version.number, date=None, run=None)
    settle_earlier(registry, home, job, days)
    claimed, refused = _claim(registry, home, tier, job, days)
    runs += [run for run, _ in claimed]
    reach("score: claimed")
    tried = score_together(registry, home, job, claimed, children) if claimed else []
    return sorted(_record(registry, job, tried) + refused, key=lambda result: result.date)


def _claim(
    registry: Registry, home: Home, tier: Tier, job: Job, days: Sequence[date]
) -> tuple[list[Claimed], list[DayScored]]:
    """Claim days together; return the claims, and the days that must not be scored."""
    claimed, refused = [], []
    reads: dict[date, Sequence[InputRead]] = {}
    number = job.bundle.version.number
    for day in days:
        try:
            reads[day] = choose_inputs(registry, home, job.joins, [day])
        except REFUSALS as err:
            refused.append(DayScored(day, "failed", number, "", 0, str(err)))
    with registry.write() as session:
        for day, read in reads.items():
            try:
                claimed.append(claim_day(session, tier, job, day, read))
            except REFUSALS as err:
                refused.append(DayScored(day, "failed", number, "", 0, str(err)))
    return claimed, refused


def _record(registry: Registry, job: Job, tried: Sequence[Tried]) -> list[DayScored]:
    """Record what came of claims and return it; an error that nobody expected is raised then."""
    if not tried:
        return []
    outcomes = record(registry, job, tried)
    for one in tried:
        if one.error is not None and not isinstance(one.error, EXPECTED):
            raise one.error
    return [_result(job, one, ended) for one, ended in zip(tried, outcomes, strict=True)]


def _result(job: Job, tried: Tried, ended: RunOutcome) -> DayScored:
    run, number = tried.run, job.bundle.version.number
    failed = DayScored(run.date, "failed", number, run.id, 0, str(tried.error))
    if tried.error is not None:
        late = isinstance(tried.error, SupersededError)
        return replace(failed, state="superseded") if late else failed
    if ended.state != "succeeded":
        reason = ended.reason or "a later run claimed the partition and settled this one"
        state = "failed" if ended.state == "failed" else "superseded"
        return replace(failed, state=state, reason=reason)
    return DayScored(
        run.date,
        "succeeded",
        number,
        run.id,
        tried.partition.accepted,
        "",
        tried.used["wall_s"],
        run.isolation,
        tried.used,
    )


def _check_fit(registry: Registry, job: Job) -> None:
    with registry.read() as session:
        refuse_retired(session, job)
    for bundle in job.bundles:
        check_interpreter(bundle)
