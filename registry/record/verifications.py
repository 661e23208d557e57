"""Deployment verifications: whether a version passed in its real runtime environment."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.record.events import append_event
from pilotline.registry.record.versions import ModelVersion
from pilotline.registry.store import Base, UtcDateTime, now


class Verification(Base):
    """One run of deployment verification. Rows are added and never edited."""

    __tablename__ = "verification"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    passed: Mapped[bool]
    summary: Mapped[str] = mapped_column(Text)  # one line for people
    report_digest: Mapped[str] = mapped_column(String(64))  # blob: JSON with every check
    platform: Mapped[str] = mapped_column(String(80))
    isolation: Mapped[str] = mapped_column(String(1))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


def record_verification(
    session: Session, version: ModelVersion, verification: Verification
) -> Verification:
    """Record the outcome of a verification; flushes, the caller commits."""
    verification.version_id = version.id
    session.add(verification)
    session.flush()
    append_event(
        session,
        version.model_id,
        "verified",
        {
            "version": version.number,
            "digest": version.digest,
            "passed": verification.passed,
            "summary": verification.summary,
            "report": verification.report_digest,
            "platform": verification.platform,
            "isolation": verification.isolation,
        },
    )
    return verification


def passed_verification(
    session: Session, version: ModelVersion, platform: str | None = None
) -> Verification | None:
    """Return the last verification if it passed, on ``platform`` where given; reads only."""
    last = last_verification(session, version, platform)
    return last if last is not None and last.passed else None


def last_verification(
    session: Session, version: ModelVersion, platform: str | None = None
) -> Verification | None:
    """Return the last verification, on ``platform`` where given; reads only."""
    query = select(Verification).where(Verification.version_id == version.id)
    if platform is not None:
        query = query.where(Verification.platform == platform)
    return session.scalars(query.order_by(Verification.id.desc()).limit(1)).first()
