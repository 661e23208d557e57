"""Ingested partitions: one row each time a day of a dataset was brought in."""

from datetime import date, datetime
from itertools import pairwise

from sqlalchemy import Date, Index, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.form import UnknownPartitionError, digest_json
from pilotline.registry.store import Base, UtcDateTime, now


class Ingest(Base):
    """One ingestion of one day. Rows are added; the last one of a day is what the day holds."""

    __tablename__ = "ingest"
    __table_args__ = (Index("ix_ingest_dataset_date", "dataset", "date"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str] = mapped_column(String(63))
    date: Mapped[date] = mapped_column(Date)
    token: Mapped[str] = mapped_column(String(64))  # SHA-256 of source rows, schema and checks
    partition_digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the accepted rows
    files_digest: Mapped[str | None] = mapped_column(String(64))  # SHA-256 over its data files
    profile_digest: Mapped[str | None] = mapped_column(String(64))  # blob: its values' profile
    table_version: Mapped[int]  # the Delta version of the commit
    accepted: Mapped[int]  # rows
    quarantined: Mapped[int]  # rows
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


def record_ingest(session: Session, ingest: Ingest) -> Ingest:
    """Add ``ingest``; flushes, the caller commits."""
    session.add(ingest)
    session.flush()
    return ingest


def list_partitions(
    session: Session, dataset: str, start: date | None = None, end: date | None = None
) -> list[Ingest]:
    """Return what each ingested day holds now, oldest day first; reads only."""
    last = select(func.max(Ingest.id)).where(Ingest.dataset == dataset).group_by(Ingest.date)
    query = select(Ingest).where(Ingest.id.in_(last)).order_by(Ingest.date)
    if start is not None:
        query = query.where(Ingest.date >= start)
    if end is not None:
        query = query.where(Ingest.date <= end)
    return list(session.scalars(query))


def get_partition(session: Session, dataset: str, day: date) -> Ingest:
    """Return what ``day`` of ``dataset`` holds now; reads only.

    Raises:
        UnknownPartitionError: the day was never ingested.
    """
    partition = find_partition(session, dataset, day)
    if partition is None:
        raise UnknownPartitionError(dataset, day.isoformat(), span_of(session, dataset))
    return partition


def find_partition(session: Session, dataset: str, day: date) -> Ingest | None:
    """Return what ``day`` of ``dataset`` holds now, or None; reads only."""
    query = select(Ingest).where(Ingest.dataset == dataset, Ingest.date == day)
    return session.scalars(query.order_by(Ingest.id.desc()).limit(1)).first()


def release_token(base: str, partition_digest: str) -> str:
    """Return the token of a day that rows were released into from its quarantine.

    Args:
        base: the token of what the day held before.
        partition_digest: of the accepted rows, the released ones among them.
    """
    return digest_json(["released", base, partition_digest])


def source_token(session: Session, partition: Ingest) -> str:
    """Return the token of the source's rows on which ``partition`` rests; reads only.

    It is the partition's own, unless rows were released into the day since: then it is that of
    the ingest before. Which it is can be told from the tokens alone.
    """
    query = select(Ingest.token, Ingest.partition_digest).where(
        Ingest.dataset == partition.dataset,
        Ingest.date == partition.date,
        Ingest.id <= partition.id,
    )
    rows = session.execute(query.order_by(Ingest.id.desc())).all()
    for (token, digest), before in pairwise(rows):
        if token != release_token(before.token, digest):
            return str(token)
    return str(rows[-1].token)


def files_digest_of(
    session: Session, dataset: str, day: date, partition_digest: str, table_version: int
) -> str | None:
    """Return the digest over the data files of one ingest of ``day``; reads only.

    None where there was no such ingest here, or its files were not hashed.
    """
    return session.scalar(
        select(Ingest.files_digest).where(
            Ingest.dataset == dataset,
            Ingest.date == day,
            Ingest.partition_digest == partition_digest,
            Ingest.table_version == table_version,
        )
    )


def last_day(session: Session, dataset: str, until: date | None = None) -> date | None:
    """Return the last ingested day of ``dataset`` up to ``until``, or None; reads only."""
    query = select(func.max(Ingest.date)).where(Ingest.dataset == dataset)
    if until is not None:
        query = query.where(Ingest.date <= until)
    return session.scalar(query)


def span_of(session: Session, dataset: str) -> str:
    """Return the ingested days of ``dataset`` in words, for messages; reads only."""
    days = session.scalars(select(Ingest.date).where(Ingest.dataset == dataset).distinct()).all()
    return f"{min(days)} to {max(days)}, {len(days)} days" if days else "nothing yet"
