"""What search should know of models, gathered for many of them at once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from pilotline.registry.consumers import Consumer
from pilotline.registry.record import (
    CHAMPION,
    Alias,
    Metric,
    ModelVersion,
    RegisteredModel,
    TrainingPartition,
    VersionStatus,
)
from pilotline.registry.runs import PRODUCTION, Run, RunOutcome, ScoredPartition

Value = TypeVar("Value")
USAGE = timedelta(days=30)  # how far back runs and rows are counted


@dataclass(frozen=True)
class Usage:
    """Scoring runs of the last 30 days that succeeded, and their rows."""

    runs: int = 0
    rows: int = 0
    until: datetime | None = None  # when the oldest of them is no longer counted


@dataclass(frozen=True)
class SearchFacts:
    """One model, all its versions together."""

    model_id: int
    name: str
    owner: str
    description: str
    tags: Sequence[str]
    champion: str | None  # its number
    status: str | None  # the champion's, else the newest version's
    statuses: Sequence[str]
    features: Sequence[str]
    datasets: Sequence[str]
    notes: Sequence[str]  # the newest first
    metrics: Mapping[str, float]  # on held-out days; the champion's, else the newest version's
    consumers: Sequence[str]
    usage: Usage
    last_scored: date | None

    @property
    def archived(self) -> bool:
        """Whether every version is archived."""
        return set(self.statuses) == {"archived"}


def gather_facts(session: Session, ids: Sequence[int], at: datetime) -> list[SearchFacts]:
    """Return what is known of the models ``ids``; reads only.

    Args:
        session: any session.
        ids: which; together, since eight queries answer for one or for hundreds.
        at: the moment whose last 30 days count as usage.
    """
    versions = _versions(session, ids)
    champions = _pairs(
        session,
        select(Alias.model_id, Alias.version_id).where(
            Alias.model_id.in_(ids), Alias.name == CHAMPION
        ),
    )
    best = {
        model_id: next((v for v in rows if v.id == champions.get(model_id)), rows[-1])
        for model_id, rows in versions.items()
    }
    metrics = _metrics(session, [version.id for version in best.values()])
    older = _older_datasets(
        session, [of for of, rows in versions.items() if any(not row.dataset for row in rows)]
    )
    consumers = _consumers(session, ids)
    usage = _usage(session, ids, at)
    scored = _last_scored(session, ids)
    table = RegisteredModel.__table__
    facts = []
    for model in session.execute(select(*table.columns).where(RegisteredModel.id.in_(ids))):
        of_model = versions.get(model.id, [])
        shown = best.get(model.id)
        reigns = shown is not None and shown.id == champions.get(model.id)
        facts.append(
            SearchFacts(
                model_id=model.id,
                name=model.name,
                owner=model.owner,
                description=model.description,
                tags=json.loads(model.tags),
                champion=f"{shown.major}.{shown.minor}.{shown.patch}" if shown and reigns else None,
                status=shown.status if shown else None,
                statuses=_once(version.status for version in of_model),
                features=_once(
                    name
                    for told in _once(v.features for v in of_model)
                    for name in json.loads(told)
                ),
                datasets=_once([*(v.dataset for v in of_model), *older.get(model.id, [])]),
                notes=_once(version.notes for version in reversed(of_model)),
                metrics=metrics.get(shown.id, {}) if shown else {},
                consumers=consumers.get(model.id, []),
                usage=usage.get(model.id, Usage()),
                last_scored=scored.get(model.id),
            )
        )
    return facts


def _versions(session: Session, ids: Sequence[int]) -> dict[int, list[Any]]:
    """Return rows of versions with their status, in the order they were registered."""
    of = ModelVersion
    query = (
        select(of.model_id, of.id, of.major, of.minor, of.patch, VersionStatus.status)
        .add_columns(of.features, of.dataset, of.notes)
        .join(VersionStatus, VersionStatus.version_id == of.id)
        .where(of.model_id.in_(ids))
        .order_by(of.id)
    )
    found: dict[int, list[Any]] = {}
    for row in session.execute(query):
        found.setdefault(row.model_id, []).append(row)
    return found


def _metrics(session: Session, version_ids: Sequence[int]) -> dict[int, dict[str, float]]:
    query = (
        select(Metric.version_id, Metric.name, Metric.value)
        .where(Metric.version_id.in_(version_ids), Metric.kind == "evaluation")
        .order_by(Metric.id)
    )
    found: dict[int, dict[str, float]] = {}
    for version_id, name, value in session.execute(query):
        found.setdefault(version_id, {})[name] = value
    return found


def _older_datasets(session: Session, ids: Sequence[int]) -> dict[int, list[str]]:
    """Return what versions learned from that are older than their column ``dataset``."""
    if not ids:  # as a rule
        return {}
    query = (
        select(ModelVersion.model_id, TrainingPartition.dataset)
        .join(TrainingPartition, TrainingPartition.version_id == ModelVersion.id)
        .where(ModelVersion.model_id.in_(ids), ModelVersion.dataset == "")
        .distinct()
    )
    return _lists(session, query)


def _consumers(session: Session, ids: Sequence[int]) -> dict[int, list[str]]:
    query = select(Consumer.model_id, Consumer.name).where(Consumer.model_id.in_(ids))
    return _lists(session, query.order_by(Consumer.name))


def _usage(session: Session, ids: Sequence[int], at: datetime) -> dict[int, Usage]:
    ended = RunOutcome.ended_at
    query = (
        select(Run.model_id, func.count(), func.sum(RunOutcome.rows), func.min(ended))
        .join(RunOutcome, RunOutcome.run_id == Run.id)
        .where(Run.model_id.in_(ids), RunOutcome.state == "succeeded", ended > at - USAGE)
        .group_by(Run.model_id)
    )
    return {
        model_id: Usage(runs, int(rows), oldest + USAGE)
        for model_id, runs, rows, oldest in session.execute(query)
    }


def _last_scored(session: Session, ids: Sequence[int]) -> dict[int, date]:
    """Return the last day of which readers see predictions."""
    of = ScoredPartition
    query = (
        select(of.model_id, func.max(of.date))
        .where(of.model_id.in_(ids), of.variant == PRODUCTION, of.visible_run.is_not(None))
        .group_by(of.model_id)
    )
    return _pairs(session, query)


def _pairs(session: Session, query: Select[int, Value]) -> dict[int, Value]:
    return dict(session.execute(query).all())


def _lists(session: Session, query: Select[int, str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for model_id, value in session.execute(query):
        found.setdefault(model_id, []).append(value)
    return found


def _once(values: Iterable[str]) -> list[str]:
    """Return each value that says something once, in order."""
    return [value for value in dict.fromkeys(values) if value]
