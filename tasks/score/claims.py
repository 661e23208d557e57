"""Claiming partitions for a job, and recording what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.form import VersionUnfitError, digest_bytes, reach
from pilotline.registry.gates import OUT_OF_USE
from pilotline.registry.record import CHAMPION, get_alias, standing_of, version_by_id
from pilotline.registry.runs import (
    PRODUCTION,
    Claim,
    Ending,
    Ingest,
    InputRead,
    Run,
    RunOutcome,
    claim_partition,
    end_run,
    get_partition,
    unsettled_runs,
    visible_runs,
)
from pilotline.registry.store import Session
from pilotline.tasks import lake
from pilotline.tasks.errors import OverwriteRefusedError, SupersededError
from pilotline.tasks.features import pick_inputs
from pilotline.tasks.home import Home
from pilotline.tasks.lake import find_commit
from pilotline.tasks.sandbox import Tier
from pilotline.tasks.score.commit import mark_of
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.plan import may_replace
from pilotline.tasks.stats import Profile


@dataclass(frozen=True)
class Tried:
    """What came of a claim: its rows are in the table, or an error says why they are not."""

    run: Run
    partition: Ingest
    used: dict[str, Any]
    version: int | None = None  # of the table of predictions
    profile: Profile | None = None
    error: Exception | None = None


def settle_earlier(registry: Registry, home: Home, job: Job, days: Sequence[date]) -> None:
    """Record how runs ended whose process died, before anything is tried again."""
    model_id = job.bundle.version.model_id
    with registry.read() as session:
        earlier = [
            run for day in days for run in unsettled_runs(session, model_id, job.variant, day)
        ]
    if not earlier:
        return
    path = lake.predictions_path(home.lake, job.bundle.spec.name)
    table = lake.open_table(path) if lake.is_table(path) else None
    with registry.write() as session:
        for run in earlier:
            landed = find_commit(table, mark_of(run)) if table else None
            said = "its rows were committed" if landed is not None else "it committed nothing"
            end_run(
                session,
                run,
                Ending("crashed", reason=f"no outcome was recorded; {said}", table_version=landed),
            )


def claim_day(
    session: Session, tier: Tier, job: Job, day: date, reads: Sequence[InputRead] = ()
) -> tuple[Run, Ingest]:
    """Begin a run of ``day`` under the writers' lock; return it and what it is to score.

    What refuses a day writes nothing, so that other days may be claimed in the same session.

    Raises:
        InputRefusedError, OverwriteRefusedError, VersionUnfitError: it must not be scored.
        UnknownPartitionError: it was never ingested.
    """
    pick_inputs(session, job.joins, [day])  # under the lock: is one of them revoked by now?
    partition = get_partition(session, job.bundle.spec.input, day)
    refuse_retired(session, job)
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


def refuse_retired(session: Session, job: Job) -> None:
    """Look whether each version may still run; under the writers' lock nothing changes that.

    Raises:
        VersionUnfitError: one may not.
    """
    for bundle in job.bundles:
        status, name = standing_of(session, bundle.version), bundle.spec.name
        if status in OUT_OF_USE:
            problem = f"is {status}"
            raise VersionUnfitError(name, bundle.version.number, problem, "Score with another one.")


def _refuse_overwrite(session: Session, job: Job, day: date) -> None:
    """Look under the writers' lock whether somebody was promoted, or scored, since the plan."""
    version = job.bundle.version
    if job.variant != PRODUCTION or job.reason:
        return
    shown = visible_runs(session, version.model_id, job.variant, day, day).get(day)
    present = get_alias(session, version.model_id, CHAMPION)
    if shown is not None and not may_replace(present, shown, version):
        before = version_by_id(session, shown.version_id).number
        raise OverwriteRefusedError(job.bundle.spec.name, day.isoformat(), before, version.number)


def record(registry: Registry, job: Job, tried: Sequence[Tried]) -> list[RunOutcome]:
    """Record how runs ended, all of them at once; return what is on record.

    A later run of the same day may have settled one before.
    """
    endings = [_ending(registry, job, one) for one in tried]  # blobs need no lock
    with registry.write() as session:
        outcomes = [
            end_run(session, one.run, ending) for one, ending in zip(tried, endings, strict=True)
        ]
    if any(one.error is None for one in tried):
        reach("score: recorded")
    return outcomes


def _ending(registry: Registry, job: Job, tried: Tried) -> Ending:
    if tried.error is not None:
        state = "superseded" if isinstance(tried.error, SupersededError) else "failed"
        return Ending(state, reason=str(tried.error), resources=tried.used)
    assert tried.profile is not None, "what was committed was profiled"
    return Ending(
        "succeeded",
        rows=tried.partition.accepted,
        reason=job.reason,
        resources=tried.used,
        profile_digest=registry.blobs.put(tried.profile.encode()),
        table_version=tried.version,
    )
