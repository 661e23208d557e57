"""Model versions: immutable releases of a model, and the small table of their present status."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NoReturn

from sqlalchemy import Date, ForeignKey, String, Text, UniqueConstraint, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.form import (
    ConflictError,
    UnknownVersionError,
    VersionUnfitError,
    digest_bytes,
    digest_json,
)
from pilotline.registry.record.events import append_event, list_events
from pilotline.registry.record.models import ModelFacts, RegisteredModel, get_model, put_model
from pilotline.registry.record.numbering import Number, Step, next_number
from pilotline.registry.store import Base, UtcDateTime, now

FIRST: Number = (1, 0, 0)
# Every status; a version comes to each by an event of that kind.
STATUSES = ("registered", "approved", "rejected", "deprecated", "revoked", "archived")


class ModelVersion(Base):
    """An immutable release of a model. Rows are added and never edited."""

    __tablename__ = "model_version"
    __table_args__ = (
        UniqueConstraint("model_id", "major", "minor", "patch"),
        UniqueConstraint("model_id", "digest", name="uq_model_version_digest"),
        UniqueConstraint("model_id", "training_key", name="uq_model_version_training_key"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    major: Mapped[int]
    minor: Mapped[int]
    patch: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the manifest
    training_key: Mapped[str] = mapped_column(String(64))  # SHA-256 of everything it learned from
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    reason: Mapped[str] = mapped_column(Text)  # why it has this number
    author: Mapped[str] = mapped_column(String(200))
    features: Mapped[str] = mapped_column(Text, default="[]")  # JSON list of input columns
    dataset: Mapped[str] = mapped_column(Text, default="")  # what it reads
    notes: Mapped[str] = mapped_column(Text, default="")  # release notes
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    @property
    def number(self) -> str:
        """The version number, MAJOR.MINOR.PATCH."""
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def parts(self) -> Number:
        """The version number as three integers."""
        return (self.major, self.minor, self.patch)


class VersionStatus(Base):
    """Present state: the status of one version, changed only beside its event."""

    __tablename__ = "version_status"

    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), primary_key=True)
    # registered, approved, rejected, deprecated, revoked or archived
    status: Mapped[str] = mapped_column(String(20))


class TrainingPartition(Base):
    """A day of a dataset that a version learned from or was judged on."""

    __tablename__ = "training_partition"

    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(63), primary_key=True)
    date: Mapped[date] = mapped_column(Date, primary_key=True)
    use: Mapped[str] = mapped_column(String(10))  # train, holdout, or joined to either
    partition_digest: Mapped[str] = mapped_column(String(64))
    table_version: Mapped[int]  # the Delta version that was read


@dataclass(frozen=True)
class Learned:
    """One day of one dataset, as a version read it."""

    dataset: str
    date: date
    use: str
    partition_digest: str
    table_version: int


@dataclass(frozen=True)
class NewVersion:
    """A version whose blobs are stored, ready to be entered."""

    facts: ModelFacts
    author: str
    digest: str
    training_key: str
    parent: ModelVersion | None
    step: Step | None  # None for a model's first version
    learned: Sequence[Learned]
    metrics: Mapping[str, float]
    features: Sequence[str] = ()
    dataset: str = ""
    notes: str = ""


def enter_version(session: Session, new: NewVersion) -> tuple[ModelVersion, bool]:
    """Enter a version under the number the registry gives it; flushes, the caller commits.

    Returns:
        The version, and whether it is new: the same digest or the same training key twice
        gives the version that is there.
    """
    model = put_model(session, new.facts)
    existing = (
        find_trained(session, model.id, new.training_key)
        or session.scalars(
            select(ModelVersion).where(
                ModelVersion.model_id == model.id, ModelVersion.digest == new.digest
            )
        ).first()
    )
    if existing is not None:
        return existing, False
    version = _number(session, model, new)
    session.add(VersionStatus(version_id=version.id, status="registered"))
    session.add_all(TrainingPartition(version_id=version.id, **vars(item)) for item in new.learned)
    append_event(
        session,
        model.id,
        "registered",
        {
            "version": version.number,
            "digest": version.digest,
            "parent": new.parent.number if new.parent else None,
            "author": new.author,
            "reason": version.reason,
            "metrics": dict(new.metrics),
            "training_key": new.training_key,
            "dataset": new.dataset,
            "features": list(new.features),
            "notes": digest_bytes(new.notes.encode()),
            "learned": learned_digest(new.learned),
        },
    )
    return version, True


def learned_digest(learned: Iterable[Any]) -> str:
    """Return the SHA-256 over the days a version learned from, of the table's rows or as given."""
    names = ("dataset", "use", "partition_digest", "table_version")
    days = [[i.date.isoformat(), *(getattr(i, name) for name in names)] for i in learned]
    return digest_json(sorted(days))


def _number(session: Session, model: RegisteredModel, new: NewVersion) -> ModelVersion:
    taken = [version.parts for version in list_versions(session, model.id)]
    if new.parent is None or new.step is None:
        number = next_number((0, 0, 0), Step("major", ()), taken)
        reason = "first version" if number == FIRST else "no parent version"
    else:
        number = next_number(new.parent.parts, new.step, taken)
        reason = f"{new.step.part} over {new.parent.number}: {'; '.join(new.step.reasons)}"
    version = ModelVersion(
        model_id=model.id,
        major=number[0],
        minor=number[1],
        patch=number[2],
        digest=new.digest,
        training_key=new.training_key,
        parent_id=new.parent.id if new.parent else None,
        reason=reason,
        author=new.author,
        features=json.dumps(list(new.features)),
        dataset=new.dataset,
        notes=new.notes,
    )
    session.add(version)
    session.flush()
    return version


def find_trained(session: Session, model_id: int, training_key: str) -> ModelVersion | None:
    """Return the version trained from exactly these inputs, if there is one; reads only."""
    return session.scalars(
        select(ModelVersion).where(
            ModelVersion.model_id == model_id, ModelVersion.training_key == training_key
        )
    ).first()


def list_versions(session: Session, model_id: int) -> list[ModelVersion]:
    """Return the model's versions, oldest number first; reads only."""
    return list(
        session.scalars(
            select(ModelVersion)
            .where(ModelVersion.model_id == model_id)
            .order_by(ModelVersion.major, ModelVersion.minor, ModelVersion.patch)
        )
    )


def get_version(session: Session, name: str, number: str) -> ModelVersion:
    """Return version ``number`` of model ``name``; reads only.

    Raises:
        UnknownModelError: the model is not registered.
        UnknownVersionError: the model has no such version.
    """
    versions = list_versions(session, get_model(session, name).id)
    for version in versions:
        if version.number == number:
            return version
    raise UnknownVersionError(name, number, [version.number for version in versions])


def version_by_id(session: Session, version_id: int) -> ModelVersion:
    """Return the version that a row names by its id; reads only."""
    return session.get_one(ModelVersion, version_id)


def model_of(session: Session, version: ModelVersion) -> RegisteredModel:
    """Return the model that ``version`` belongs to; reads only."""
    return session.get_one(RegisteredModel, version.model_id)


def status_of(session: Session, version: ModelVersion) -> str:
    """Return the present status of ``version``; reads only.

    Raises:
        VersionUnfitError: somebody deleted it.
    """
    row = session.get(VersionStatus, version.id)
    if row is None:
        refuse_tampered(model_of(session, version).name, version.number, "has no status any more")
    return row.status


def standing_of(session: Session, version: ModelVersion) -> str:
    """Return the status that decides whether ``version`` may run; reads only.

    What the log says is revoked stays so, whatever somebody made of its row.
    """
    for event in list_events(session, version.model_id, "revoked"):
        if event.facts().get("version") == version.number:
            return "revoked"
    return status_of(session, version)


def refuse_tampered(name: str, number: str, problem: str) -> NoReturn:
    """Refuse a version whose record does not hold together.

    Raises:
        VersionUnfitError: always.
    """
    raise VersionUnfitError(
        name,
        number,
        problem,
        "Somebody changed the registry; 'pilotline audit verify' says what, a backup what it was.",
    )


def set_status(
    session: Session, version: ModelVersion, status: str, body: Mapping[str, Any]
) -> None:
    """Move ``version`` to ``status`` beside an event of that kind; flushes, the caller commits.

    Raises:
        ConflictError: somebody else changed the status meanwhile.
    """
    before = status_of(session, version)
    moved = session.execute(
        update(VersionStatus)
        .where(VersionStatus.version_id == version.id, VersionStatus.status == before)
        .values(status=status)
        .returning(VersionStatus.version_id)
    ).all()
    if not moved:
        raise ConflictError(f"Status of {version.number}", before, "another status")
    append_event(session, version.model_id, status, {"version": version.number, **body})


def learned_from(session: Session, version: ModelVersion) -> list[TrainingPartition]:
    """Return the days ``version`` learned from or was judged on, oldest first; reads only."""
    return list(
        session.scalars(
            select(TrainingPartition)
            .where(TrainingPartition.version_id == version.id)
            .order_by(TrainingPartition.date, TrainingPartition.dataset)
        )
    )
