"""Lineage: what a version, a run or a data version came from and led to, in few queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, CompoundSelect, Select, and_, or_, select, union
from sqlalchemy.orm import Session

from pilotline.registry.form import UnknownDigestError
from pilotline.registry.record import (
    ModelVersion,
    RegisteredModel,
    TrainingPartition,
    VersionStatus,
)
from pilotline.registry.runs.ingests import Ingest, get_partition
from pilotline.registry.runs.runs import Run, RunInput, RunOutcome, ScoredPartition, versions_of


@dataclass(frozen=True)
class DataVersion:
    """One day of a dataset with exactly these rows."""

    dataset: str
    date: date
    digest: str


@dataclass(frozen=True)
class KnownVersion:
    """A version with its model's name and its present status."""

    row: ModelVersion
    model: str
    status: str


@dataclass(frozen=True)
class KnownRun:
    """A run, how it ended, and whose rows readers of its partition see now."""

    row: Run
    outcome: RunOutcome | None
    shown: str | None  # a run; None while no run on record is
    inputs: tuple[RunInput, ...] = ()  # days of further datasets, joined to its rows

    @property
    def visible(self) -> bool:
        """Whether readers see this run's rows now."""
        return self.shown == self.row.id

    @property
    def data(self) -> DataVersion:
        """The rows it scored."""
        return DataVersion(self.row.dataset, self.row.date, self.row.partition_digest)

    def joined(self, data: DataVersion) -> bool:
        """Tell whether it joined exactly these rows to those it scored."""
        return any(
            (read.dataset, read.date, read.partition_digest)
            == (data.dataset, data.date, data.digest)
            for read in self.inputs
        )


@dataclass(frozen=True)
class Lineage:
    """A part of the graph: rows flow from ingests into versions and runs, versions descend."""

    subject: tuple[KnownVersion, ...] | KnownRun | DataVersion
    versions: Mapping[int, KnownVersion]  # the subject's and their relatives, by id
    learned: Mapping[int, Sequence[TrainingPartition]]  # by version, oldest day first
    runs: Sequence[KnownRun]  # oldest day first
    ingests: Mapping[tuple[str, date], Sequence[Ingest]]  # of each day named, oldest first

    def ancestors(self, version: KnownVersion) -> list[KnownVersion]:
        """Return the parent, its parent and so on."""
        return _ancestors(self.versions, version)

    def descendants(self, version: KnownVersion) -> list[KnownVersion]:
        """Return the versions that descend from ``version``, oldest number first."""
        found = _descendants(self.versions, version)
        return sorted(found, key=lambda known: known.row.parts)

    def runs_of(self, version: KnownVersion) -> list[KnownRun]:
        """Return the runs by ``version``, oldest day first."""
        mine = version.row.id
        return [run for run in self.runs if mine in (run.row.version_id, run.row.challenger_id)]

    def holds_others(self, data: DataVersion) -> bool:
        """Tell whether the day was ingested again and holds other rows now."""
        ingests = self.ingests.get((data.dataset, data.date))
        return ingests is not None and ingests[-1].partition_digest != data.digest


def versions_lineage(session: Session, versions: Sequence[ModelVersion]) -> Lineage:
    """Return what ``versions`` learned from, descend from, begot and scored; reads only."""
    wanted = [version.id for version in versions]
    models = {version.model_id for version in versions}
    family = _versions(session, ModelVersion.model_id.in_(models))
    subject = tuple(family[version_id] for version_id in wanted)
    kept = {version.row.id: version for version in subject}
    for version in subject:
        for relative in (*_ancestors(family, version), *_descendants(family, version)):
            kept[relative.row.id] = relative
    return _complete(session, subject, kept, _runs(session, _by(wanted)))


def run_lineage(session: Session, run: Run) -> Lineage:
    """Return what ``run`` scored, by which version, and what that came from; reads only."""
    family = _versions(session, ModelVersion.model_id == run.model_id)
    scorers = [family[version.id] for version in versions_of(session, run)]
    ancestors = (known for version in scorers for known in _ancestors(family, version))
    kept = {known.row.id: known for known in (*scorers, *ancestors)}
    (known,) = _runs(session, Run.id == run.id)
    return _complete(session, known, kept, [known])


def data_lineage(session: Session, data: DataVersion) -> Lineage:
    """Return who learned from exactly these rows, what they scored, and who scored them.

    Reads only.
    """
    learned = select(TrainingPartition.version_id).where(
        TrainingPartition.dataset == data.dataset,
        TrainingPartition.date == data.date,
        TrainingPartition.partition_digest == data.digest,
    )
    joined = select(RunInput.run_id).where(
        RunInput.dataset == data.dataset,
        RunInput.date == data.date,
        RunInput.partition_digest == data.digest,
    )
    its_own = and_(
        Run.dataset == data.dataset, Run.date == data.date, Run.partition_digest == data.digest
    )
    scored = its_own | Run.id.in_(joined)
    runs = _runs(session, scored | _by(learned))
    scorers: CompoundSelect[int] = union(
        select(Run.version_id).where(scored), select(Run.challenger_id).where(scored)
    )
    kept = _versions(session, ModelVersion.id.in_(learned) | ModelVersion.id.in_(scorers))
    return _complete(session, data, kept, runs)


def find_data(session: Session, dataset: str, day: date, prefix: str | None = None) -> DataVersion:
    """Return what a day holds now, or the one of its data versions that ``prefix`` names.

    Reads only.

    Raises:
        UnknownPartitionError: the day was never ingested.
        UnknownDigestError: the prefix names none of its data versions, or several.
    """
    if prefix is None:
        return DataVersion(dataset, day, get_partition(session, dataset, day).partition_digest)
    # A model moved here learned from days that were not.
    tables = (Ingest, TrainingPartition, Run, RunInput)
    known = {
        digest
        for table in tables
        for digest in session.scalars(
            select(table.partition_digest).where(table.dataset == dataset, table.date == day)
        )
    }
    found = [digest for digest in known if prefix and digest.startswith(prefix.lower())]
    if len(found) != 1:
        raise UnknownDigestError(dataset, day.isoformat(), prefix, sorted(known))
    return DataVersion(dataset, day, found[0])


def is_dataset(session: Session, name: str) -> bool:
    """Tell whether any day of a dataset called ``name`` is on record; reads only."""
    tables = (Ingest, TrainingPartition, Run, RunInput)
    queries = (select(table.dataset).where(table.dataset == name).limit(1) for table in tables)
    return any(session.scalar(query) is not None for query in queries)


def _complete(
    session: Session,
    subject: tuple[KnownVersion, ...] | KnownRun | DataVersion,
    versions: Mapping[int, KnownVersion],
    runs: Sequence[KnownRun],
) -> Lineage:
    """Return the lineage with what its versions learned from and every ingest of a day named."""
    learned: dict[int, list[TrainingPartition]] = {version_id: [] for version_id in versions}
    query = select(TrainingPartition).where(TrainingPartition.version_id.in_(versions))
    for item in session.scalars(query.order_by(TrainingPartition.dataset, TrainingPartition.date)):
        learned[item.version_id].append(item)
    days = {(item.dataset, item.date) for items in learned.values() for item in items}
    days |= {(run.row.dataset, run.row.date) for run in runs}
    days |= {(read.dataset, read.date) for run in runs for read in run.inputs}
    if isinstance(subject, DataVersion):
        days.add((subject.dataset, subject.date))
    return Lineage(subject, versions, learned, runs, _ingests(session, days))


def _versions(session: Session, which: ColumnElement[bool]) -> dict[int, KnownVersion]:
    rows = session.execute(
        select(ModelVersion, RegisteredModel.name, VersionStatus.status)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.model_id)
        .join(VersionStatus, VersionStatus.version_id == ModelVersion.id)
        .where(which)
        .order_by(RegisteredModel.name, ModelVersion.id)
    )
    return {row.id: KnownVersion(row, model, status) for row, model, status in rows}


def _by(versions: Sequence[int] | Select[int]) -> ColumnElement[bool]:
    """Return the condition that one of ``versions`` scored, alone or with another."""
    return or_(Run.version_id.in_(versions), Run.challenger_id.in_(versions))


def _runs(session: Session, which: ColumnElement[bool]) -> list[KnownRun]:
    partition = and_(
        ScoredPartition.model_id == Run.model_id,
        ScoredPartition.variant == Run.variant,
        ScoredPartition.date == Run.date,
    )
    rows = session.execute(
        select(Run, RunOutcome, ScoredPartition.visible_run)
        .outerjoin(RunOutcome, RunOutcome.run_id == Run.id)
        .outerjoin(ScoredPartition, partition)
        .where(which)
        .order_by(Run.date, Run.variant, Run.epoch)
    )
    inputs = select(RunInput).join(Run, Run.id == RunInput.run_id).where(which)
    joined: dict[str, list[RunInput]] = {}
    for read in session.scalars(inputs.order_by(RunInput.dataset, RunInput.date)):
        joined.setdefault(read.run_id, []).append(read)
    return [
        KnownRun(run, outcome, shown, tuple(joined.get(run.id, ()))) for run, outcome, shown in rows
    ]


def _ingests(session: Session, days: set[tuple[str, date]]) -> dict[tuple[str, date], list[Ingest]]:
    found: dict[tuple[str, date], list[Ingest]] = {}
    if not days:
        return found
    dates = [day for _, day in days]
    query = (  # one span of days, not thousands of parameters
        select(Ingest)
        .where(Ingest.dataset.in_({dataset for dataset, _ in days}))
        .where(Ingest.date >= min(dates), Ingest.date <= max(dates))
        .order_by(Ingest.id)
    )
    for ingest in session.scalars(query):
        if (ingest.dataset, ingest.date) in days:
            found.setdefault((ingest.dataset, ingest.date), []).append(ingest)
    return found


def _ancestors(versions: Mapping[int, KnownVersion], version: KnownVersion) -> list[KnownVersion]:
    found: list[KnownVersion] = []
    seen = {version.row.id}  # a row changed behind the registry's back may name a child as parent
    parent = versions.get(version.row.parent_id or 0)
    while parent is not None and parent.row.id not in seen:
        found.append(parent)
        seen.add(parent.row.id)
        parent = versions.get(parent.row.parent_id or 0)
    return found


def _descendants(versions: Mapping[int, KnownVersion], version: KnownVersion) -> list[KnownVersion]:
    children: dict[int | None, list[KnownVersion]] = {}
    for known in versions.values():
        children.setdefault(known.row.parent_id, []).append(known)
    found: dict[int, KnownVersion] = {version.row.id: version}
    waiting = [version]
    while waiting:
        for child in children.get(waiting.pop().row.id, []):
            if child.row.id not in found:
                found[child.row.id] = child
                waiting.append(child)
    del found[version.row.id]
    return list(found.values())
