"""What runs used, with whose they are: all that an account of costs needs, in one query."""

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from pilotline.registry.record import ModelVersion, RegisteredModel
from pilotline.registry.runs.runs import Run, RunOutcome


class RunUsage(NamedTuple):
    """One run, how it ended and what it used."""

    run: str
    model: str
    owner: str  # the model's present one
    major: int
    minor: int
    patch: int
    variant: str
    date: date
    started_at: datetime
    state: str | None  # None while it is under way, or when nobody has looked since it died
    rows: int | None
    resources: str | None  # JSON

    @property
    def number(self) -> str:
        """The version that scored."""
        return f"{self.major}.{self.minor}.{self.patch}"


def list_usage(
    session: Session,
    model_id: int | None = None,
    variant: str | None = None,
    begin: datetime | None = None,
    until: datetime | None = None,
) -> list[RunUsage]:
    """Return runs in the order they began, however they ended; reads only.

    Args:
        session: any session.
        model_id: whose; every model's where None.
        variant: ``production`` or a shadow's; every one where None.
        begin: the earliest beginning.
        until: began before this.
    """
    of, version = Run, ModelVersion
    query = (
        select(of.id, RegisteredModel.name, RegisteredModel.owner)
        .add_columns(version.major, version.minor, version.patch)
        .add_columns(of.variant, of.date, of.started_at)
        .add_columns(RunOutcome.state, RunOutcome.rows, RunOutcome.resources)
        .join(version, version.id == of.version_id)
        .join(RegisteredModel, RegisteredModel.id == of.model_id)
        .outerjoin(RunOutcome, RunOutcome.run_id == of.id)
        .order_by(of.started_at, of.id)
    )
    if model_id is not None:
        query = query.where(of.model_id == model_id)
    if variant is not None:
        query = query.where(of.variant == variant)
    if begin is not None:
        query = query.where(of.started_at >= begin)
    if until is not None:
        query = query.where(of.started_at < until)
    return [RunUsage(*row) for row in session.execute(query)]
