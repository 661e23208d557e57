"""Scoring runs: what was claimed, what it read, and what came of it."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, Float, ForeignKey, Index, String, Text, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.form import UnknownRunError, canonical_json, digest_json
from pilotline.registry.record import ModelVersion, append_event, standing_of
from pilotline.registry.store import Base, UtcDateTime, now

PRODUCTION = "production"
QUERY_IDS = 10_000  # in one question; SQLite takes 32,766 values


class Run(Base):
    """One scoring of one partition, as it began. Rows are added and never edited."""

    __tablename__ = "run"
    __table_args__ = (Index("ix_run_partition", "model_id", "variant", "date"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    variant: Mapped[str] = mapped_column(String(80))
    dataset: Mapped[str] = mapped_column(String(63))
    date: Mapped[date] = mapped_column(Date)
    partition_digest: Mapped[str] = mapped_column(String(64))
    table_version: Mapped[int]  # of the dataset's Delta table
    epoch: Mapped[int]  # fencing number of (model, variant, date); a later claim has a higher one
    lock_digest: Mapped[str] = mapped_column(String(64))
    isolation: Mapped[str] = mapped_column(String(1))
    trigger: Mapped[str] = mapped_column(String(20))  # score or backfill
    # Where a split gave part of the keys to another version: which one, and how many of them.
    challenger_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"), index=True)
    share: Mapped[str | None] = mapped_column(String(8))  # decimal, above 0 and below 1
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class RunOutcome(Base):
    """How a run ended. A run without an outcome is under way, or its process died."""

    __tablename__ = "run_outcome"

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(20))  # succeeded, failed, superseded or crashed
    rows: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)  # why it did not succeed, with the log's tail
    resources: Mapped[str] = mapped_column(Text)  # canonical JSON: seconds, bytes, teardown
    profile_digest: Mapped[str | None] = mapped_column(String(64))
    table_version: Mapped[int | None]  # of the predictions table
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class Teardown(Base):
    """That a run's environment and process were taken down; a run without one died before."""

    __tablename__ = "teardown"

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), primary_key=True)
    seconds: Mapped[float] = mapped_column(Float)
    clean: Mapped[bool]  # nothing of the scratch folder is left
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class RunInput(Base):
    """A day of a further dataset that a run joined to its rows. Rows are added and never edited."""

    __tablename__ = "run_input"

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(63), primary_key=True)  # or predictions/MODEL
    date: Mapped[date] = mapped_column(Date, primary_key=True)
    # SHA-256 of a dataset's rows, or over the data files of predictions
    partition_digest: Mapped[str] = mapped_column(String(64))
    table_version: Mapped[int]  # of its Delta table


class ScoredPartition(Base):
    """Present state of one (model, variant, date): the last claim and the run readers see."""

    __tablename__ = "scored_partition"

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True)
    variant: Mapped[str] = mapped_column(String(80), primary_key=True)
    date: Mapped[date] = mapped_column(Date, primary_key=True)
    epoch: Mapped[int]
    claimed_by: Mapped[str] = mapped_column(ForeignKey("run.id"))
    visible_run: Mapped[str | None] = mapped_column(ForeignKey("run.id"))


@dataclass(frozen=True)
class Claim:
    """What a run is about to do."""

    variant: str
    dataset: str
    date: date
    partition_digest: str
    table_version: int
    lock_digest: str
    isolation: str
    trigger: str
    challenger_id: int | None = None
    share: str | None = None


@dataclass(frozen=True)
class InputRead:
    """One day of a further dataset, at the version of its table that is read."""

    dataset: str
    date: date
    partition_digest: str
    table_version: int


@dataclass(frozen=True)
class Ending:
    """What came of a run."""

    state: str
    rows: int = 0
    reason: str = ""
    resources: dict[str, Any] | None = None
    profile_digest: str | None = None
    table_version: int | None = None


def claim_partition(
    session: Session, version: ModelVersion, claim: Claim, inputs: Sequence[InputRead] = ()
) -> Run:
    """Begin a run and take the partition from whoever claimed it before; flushes only.

    Args:
        session: a writing session.
        version: who scores.
        claim: what.
        inputs: the days of further datasets that are joined to its rows.

    The epoch it gets is higher than any before, which is what fences an older worker off: it
    finds a higher one in the table, or in the registry, and ends as superseded. Numbers are
    never handed out twice because the epoch is counted up under the writer's lock.
    """
    state = session.get(ScoredPartition, (version.model_id, claim.variant, claim.date))
    run = Run(
        id=f"{claim.date:%Y%m%d}-{secrets.token_hex(6)}",
        model_id=version.model_id,
        version_id=version.id,
        epoch=1 if state is None else state.epoch + 1,
        **vars(claim),
    )
    session.add(run)
    session.flush()
    session.add_all(RunInput(run_id=run.id, **vars(read)) for read in inputs)
    if state is None:
        session.add(
            ScoredPartition(
                model_id=run.model_id,
                variant=run.variant,
                date=run.date,
                epoch=run.epoch,
                claimed_by=run.id,
                visible_run=None,
            )
        )
    else:
        state.epoch, state.claimed_by = run.epoch, run.id
    session.flush()
    return run


def holds_claim(session: Session, run: Run) -> bool:
    """Tell whether ``run`` is still the last that claimed its partition; reads only."""
    state = session.get(ScoredPartition, (run.model_id, run.variant, run.date))
    return state is not None and state.epoch == run.epoch


def end_run(session: Session, run: Run, ending: Ending) -> RunOutcome:
    """Record how ``run`` ended, once; a success becomes visible beside its event.

    Flushes, the caller commits. A second call returns the first outcome.
    """
    outcome = session.get(RunOutcome, run.id)
    if outcome is not None:
        return outcome
    versions = versions_of(session, run)
    revoked = [v.number for v in versions if standing_of(session, v) == "revoked"]
    if ending.state == "succeeded" and revoked:
        # It was revoked while it ran: what it committed is shown to nobody, and never listed.
        said = f"{revoked[0]} was revoked while it scored"
        ending = replace(ending, state="failed", reason=said)
    outcome = RunOutcome(
        run_id=run.id,
        state=ending.state,
        rows=ending.rows,
        reason=ending.reason,
        resources=canonical_json(ending.resources or {}).decode(),
        profile_digest=ending.profile_digest,
        table_version=ending.table_version,
    )
    session.add(outcome)
    if ending.state == "succeeded":
        newer = (  # a lower epoch may report late; the table holds the rows of the highest
            select(Run.id)
            .join(RunOutcome, RunOutcome.run_id == Run.id)
            .where(Run.model_id == run.model_id, Run.variant == run.variant, Run.date == run.date)
            .where(Run.epoch > run.epoch, RunOutcome.state == "succeeded")
        )
        session.execute(
            update(ScoredPartition)
            .where(
                ScoredPartition.model_id == run.model_id,
                ScoredPartition.variant == run.variant,
                ScoredPartition.date == run.date,
                ~newer.exists(),
            )
            .values(visible_run=run.id)
        )
    elif ending.table_version is not None:
        # Its rows are what readers of the table see, so no run on record is: until the partition
        # is scored again, nothing may pass for done.
        session.execute(
            update(ScoredPartition)
            .where(
                ScoredPartition.model_id == run.model_id,
                ScoredPartition.variant == run.variant,
                ScoredPartition.date == run.date,
            )
            .values(visible_run=None)
        )
    session.flush()
    append_event(
        session,
        run.model_id,
        f"run {ending.state}",
        {
            "run": run.id,
            "version": versions[0].number,
            **describe_split(session, run),
            "variant": run.variant,
            "date": run.date.isoformat(),
            "epoch": run.epoch,
            "partition": run.partition_digest,
            **describe_inputs(inputs_of(session, [run.id])),
            "rows": ending.rows,
            "committed": ending.table_version is not None,
            "reason": ending.reason[:400],
        },
    )
    return outcome


def versions_of(session: Session, run: Run) -> list[ModelVersion]:
    """Return the versions that score for ``run``, of a split the champion first; reads only."""
    ids = [run.version_id] if run.challenger_id is None else [run.version_id, run.challenger_id]
    return [session.get_one(ModelVersion, version_id) for version_id in ids]


def describe_split(session: Session, run: Run) -> dict[str, str]:
    """Return who scored which share beside the champion, nothing where nobody did; reads only."""
    if run.challenger_id is None or run.share is None:
        return {}
    return {
        "challenger": session.get_one(ModelVersion, run.challenger_id).number,
        "share": run.share,
    }


def inputs_of(session: Session, runs: Iterable[str]) -> list[RunInput]:
    """Return what runs joined to their rows, by run, dataset and day; reads only."""
    query = select(RunInput).where(RunInput.run_id.in_(list(runs)))
    return list(session.scalars(query.order_by(RunInput.run_id, RunInput.dataset, RunInput.date)))


def joined_runs(session: Session, runs: Sequence[str]) -> set[str]:
    """Return which of ``runs`` joined further inputs to their rows; reads only."""
    found: set[str] = set()
    for first in range(0, len(runs), QUERY_IDS):
        some = runs[first : first + QUERY_IDS]
        query = select(RunInput.run_id).where(RunInput.run_id.in_(some)).distinct()
        found.update(session.scalars(query))
    return found


def describe_inputs(inputs: Iterable[RunInput]) -> dict[str, str]:
    """Return what the event of one run says of its further inputs, nothing where it has none."""
    read = [[i.dataset, i.date.isoformat(), i.partition_digest, i.table_version] for i in inputs]
    return {"inputs": digest_json(sorted(read))} if read else {}


def record_teardown(session: Session, run: Run, seconds: float, clean: bool) -> None:
    """Record that nothing of ``run`` is left on the machine, once; flushes only."""
    if session.get(Teardown, run.id) is not None:
        return
    session.add(Teardown(run_id=run.id, seconds=seconds, clean=clean))
    session.flush()


def teardown_of(session: Session, run: Run) -> Teardown | None:
    """Return the record of ``run``'s teardown, None where its process died first; reads only."""
    return session.get(Teardown, run.id)


def unsettled_runs(session: Session, model_id: int, variant: str, day: date) -> list[Run]:
    """Return runs of a partition that have no outcome, oldest first; reads only."""
    return list(
        session.scalars(
            select(Run)
            .outerjoin(RunOutcome, RunOutcome.run_id == Run.id)
            .where(Run.model_id == model_id, Run.variant == variant, Run.date == day)
            .where(RunOutcome.run_id.is_(None))
            .order_by(Run.epoch)
        )
    )


def is_run(session: Session, run_id: str) -> bool:
    """Tell whether there is a run called ``run_id``; reads only."""
    return session.get(Run, run_id) is not None


def get_run(session: Session, run_id: str) -> Run:
    """Return the run called ``run_id``; reads only.

    Raises:
        UnknownRunError: there is none.
    """
    run = session.get(Run, run_id)
    if run is None:
        raise UnknownRunError(run_id)
    return run


def outcome_of(session: Session, run: Run) -> RunOutcome | None:
    """Return how ``run`` ended, None where it has not; reads only."""
    return session.get(RunOutcome, run.id)
