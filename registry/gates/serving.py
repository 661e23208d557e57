"""What production shows of every model at once: champions, last days, versions that wait."""

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pilotline.registry.gates.resolution import OUT_OF_USE
from pilotline.registry.record import (
    CHAMPION,
    Alias,
    Event,
    ModelVersion,
    RegisteredModel,
    VersionStatus,
)
from pilotline.registry.runs import PRODUCTION, RunOutcome, ScoredPartition


class Serving(NamedTuple):
    """A model's champion."""

    model_id: int
    model: str
    version: ModelVersion
    since: datetime  # business time from which the model's first champion counted


class Shown(NamedTuple):
    """The last day of which readers see production's predictions."""

    date: date
    at: datetime  # since when


class Waiting(NamedTuple):
    """A version that waits for a decision."""

    model: str
    version: ModelVersion
    gate: str  # review or go-live


def list_serving(session: Session) -> list[Serving]:
    """Return each model's champion that may run, by the model's name; reads only.

    Cheap, for schedules and overviews: who runs a champion resolves it with every check.
    """
    began = (
        select(Event.model_id, func.min(Event.effective_from).label("at"))
        .where(Event.kind == "promoted")
        .group_by(Event.model_id)
        .subquery()
    )
    rows = session.execute(
        select(RegisteredModel.id, RegisteredModel.name, ModelVersion, began.c.at)
        .join(began, began.c.model_id == RegisteredModel.id)
        .join(Alias, (Alias.model_id == RegisteredModel.id) & (Alias.name == CHAMPION))
        .join(ModelVersion, ModelVersion.id == Alias.version_id)
        .join(VersionStatus, VersionStatus.version_id == ModelVersion.id)
        .where(VersionStatus.status.not_in(OUT_OF_USE))
        .order_by(RegisteredModel.name)
    )
    return [Serving(*row) for row in rows]


def last_shown(session: Session) -> dict[int, Shown]:
    """Return the last day that production shows, by model id; reads only."""
    last = (
        select(ScoredPartition.model_id, func.max(ScoredPartition.date).label("day"))
        .where(ScoredPartition.variant == PRODUCTION, ScoredPartition.visible_run.is_not(None))
        .group_by(ScoredPartition.model_id)
        .subquery()
    )
    rows = session.execute(
        select(ScoredPartition.model_id, ScoredPartition.date, RunOutcome.ended_at)
        .join(
            last,
            (last.c.model_id == ScoredPartition.model_id) & (last.c.day == ScoredPartition.date),
        )
        .join(RunOutcome, RunOutcome.run_id == ScoredPartition.visible_run)
        .where(ScoredPartition.variant == PRODUCTION)
    )
    return {model_id: Shown(day, at) for model_id, day, at in rows}


def list_waiting(session: Session) -> list[Waiting]:
    """Return versions newer than their champion that wait for a decision; reads only.

    The gate is by status alone: whether an approval still counts, the policy says. One whose
    evaluation failed is among them: its release refuses it, without a decision.
    """
    champions = select(Alias.model_id, Alias.version_id).where(Alias.name == CHAMPION).subquery()
    rows = session.execute(
        select(RegisteredModel.name, ModelVersion, VersionStatus.status)
        .join(ModelVersion, ModelVersion.model_id == RegisteredModel.id)
        .join(VersionStatus, VersionStatus.version_id == ModelVersion.id)
        .outerjoin(champions, champions.c.model_id == RegisteredModel.id)
        .where(VersionStatus.status.in_(("registered", "approved")))
        .where(ModelVersion.id > func.coalesce(champions.c.version_id, 0))
        .order_by(RegisteredModel.name, ModelVersion.id)
    )
    gates = {"registered": "review", "approved": "go-live"}
    return [Waiting(name, version, gates[status]) for name, version, status in rows]
