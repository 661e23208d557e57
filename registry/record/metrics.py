"""Metrics of a version: evaluated at training, realized once actuals arrived, drift."""

from datetime import date, datetime

from sqlalchemy import Date, Float, ForeignKey, String, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.record.versions import ModelVersion
from pilotline.registry.store import Base, UtcDateTime, now

KINDS = ("evaluation", "realized", "drift")


class Metric(Base):
    """One number about a version. Rows are added and never edited."""

    __tablename__ = "metric"
    __table_args__ = (
        UniqueConstraint("version_id", "kind", "name", "start", "end", "variant", "basis"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(100))
    value: Mapped[float] = mapped_column(Float)
    start: Mapped[date] = mapped_column(Date)  # first day it is about
    end: Mapped[date] = mapped_column(Date)  # last day, included
    variant: Mapped[str] = mapped_column(String(80))
    low: Mapped[float | None] = mapped_column(Float)  # of its interval, where one is known
    high: Mapped[float | None] = mapped_column(Float)
    rows: Mapped[int]  # how many it was computed from
    basis: Mapped[str] = mapped_column(String(64))  # SHA-256 of what it was computed from
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


def record_metric(session: Session, metric: Metric) -> bool:
    """Add ``metric`` unless the same basis gave it already; flushes, the caller commits.

    Returns:
        Whether it is new.
    """
    names = ("version_id", "kind", "name", "start", "end", "variant", "basis")
    known = select(Metric.id).where(
        *(getattr(Metric, name) == getattr(metric, name) for name in names)
    )
    if session.scalars(known).first() is not None:
        return False
    session.add(metric)
    session.flush()
    return True


def list_metrics(session: Session, version: ModelVersion, *kinds: str) -> list[Metric]:
    """Return the metrics of ``version`` by day, the last recorded of each; reads only."""
    query = select(Metric).where(Metric.version_id == version.id).order_by(Metric.id)
    if kinds:
        query = query.where(Metric.kind.in_(kinds))
    last = {
        (metric.kind, metric.name, metric.start, metric.end, metric.variant): metric
        for metric in session.scalars(query)
    }
    return sorted(last.values(), key=lambda metric: (metric.start, metric.kind, metric.name))


def is_judged(session: Session, version_id: int, day: date, basis: str) -> bool:
    """Tell whether ``day`` has a realized metric of the version from ``basis``; reads only."""
    query = select(Metric.id).where(
        Metric.version_id == version_id,
        Metric.kind == "realized",
        Metric.start == day,
        Metric.basis == basis,
    )
    return session.scalars(query.limit(1)).first() is not None


def count_judgements(session: Session, version: ModelVersion, variant: str, day: date) -> int:
    """Return from how many bases ``day`` of a variant has realized metrics; reads only."""
    query = select(func.count(Metric.basis.distinct())).where(
        Metric.version_id == version.id,
        Metric.kind == "realized",
        Metric.variant == variant,
        Metric.start == day,
    )
    return session.scalar(query) or 0


def last_values(
    session: Session, model_id: int, kind: str, name: str, span: tuple[date, date]
) -> dict[date, float]:
    """Return the value recorded last for each day, by whichever version; reads only.

    Args:
        session: any session.
        model_id: whose.
        kind: of the metric.
        name: of the metric.
        span: the first and the last day, included.
    """
    query = (
        select(Metric.start, Metric.value)
        .join(ModelVersion, ModelVersion.id == Metric.version_id)
        .where(ModelVersion.model_id == model_id, Metric.kind == kind)
        .where(Metric.name == name, Metric.start >= span[0], Metric.start <= span[1])
        .order_by(Metric.id)
    )
    return dict(session.execute(query).all())
