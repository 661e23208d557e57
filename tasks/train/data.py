"""What a version learns from: pinned days of the input, joined with what happened."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from pilotline.registry import Registry
from pilotline.registry.record import Learned
from pilotline.registry.runs import Ingest, InputRead, list_partitions, span_of
from pilotline.registry.store import Session
from pilotline.tasks import lake
from pilotline.tasks.errors import LabError, NothingToDoError
from pilotline.tasks.features import JoinPlan, choose_inputs, plan_joins, read_joined
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Dataset, ModelSpec, load_dataset, short_name
from pilotline.tasks.lake import check_day


@dataclass(frozen=True)
class Pin:
    """One dataset at one version of its table, and the days to read there."""

    dataset: Dataset
    table_version: int
    days: dict[date, str]  # day -> partition digest


@dataclass(frozen=True)
class Selection:
    """The days to learn from and to be judged on, pinned."""

    input: Pin
    actuals: Pin
    train: tuple[date, ...]
    holdout: tuple[date, ...]
    plans: tuple[JoinPlan, ...] = ()  # of further inputs
    joined: tuple[InputRead, ...] = ()  # every day of them that one of these days may read

    @property
    def days(self) -> tuple[date, ...]:
        """All days, the held-out ones last."""
        return (*self.train, *self.holdout)

    def learned(self) -> list[Learned]:
        """Return what the registry keeps of it."""
        days = set(self.days)
        joined = [  # what was the truth of its own day may also be joined to later ones
            Learned(read.dataset, read.date, "joined", read.partition_digest, read.table_version)
            for read in self.joined
            if read.dataset != self.actuals.dataset.name or read.date not in days
        ]
        return joined + [
            Learned(
                pin.dataset.name,
                day,
                "train" if day in self.train else "holdout",
                pin.days[day],
                pin.table_version,
            )
            for pin in (self.input, self.actuals)
            for day in self.days
        ]


@dataclass(frozen=True)
class TrainingRows:
    """Rows with a known outcome: features, target, keys; sorted by key, so that runs repeat."""

    train: pa.Table
    holdout: pa.Table


def select_days(registry: Registry, home: Home, spec: ModelSpec, until: date | None) -> Selection:
    """Return the last days that have both input and actuals, pinned to the tables of now.

    Raises:
        UnknownFolderError, LabError: a dataset is missing from the lab or lacks a column.
        NothingToDoError: too few days are ingested.
    """
    inputs, actuals = load_dataset(home.lab, spec.input), load_dataset(home.lab, spec.actuals)
    _check_columns(spec, inputs, actuals)
    plans = plan_joins(registry, home, spec)
    with registry.read() as session:
        of_input = {p.date: p for p in list_partitions(session, inputs.name, end=until)}
        of_actuals = {p.date: p for p in list_partitions(session, actuals.name, end=until)}
        spans = f"{inputs.name}: {span_of(session, inputs.name)}; " + (
            f"{actuals.name}: {span_of(session, actuals.name)}"
        )
        days = sorted(set(of_input) & set(of_actuals))
        if len(days) <= spec.holdout_partitions:
            raise NothingToDoError(
                f"Training {spec.name!r}",
                f"{len(days)} days have both input and actuals, {spec.holdout_partitions} are held "
                f"out and at least one more is needed ({spans})",
                f"Ingest more: 'pilotline ingest {inputs.name} --start D --end D'.",
            )
        holdout = tuple(days[-spec.holdout_partitions :])
        train = tuple(days[: -spec.holdout_partitions][-spec.retraining.train_partitions :])
        found = Selection(
            _pin(session, inputs, of_input, (*train, *holdout)),
            _pin(session, actuals, of_actuals, (*train, *holdout)),
            train,
            holdout,
            plans,
        )
    return replace(found, joined=tuple(choose_inputs(registry, home, plans, found.days)))


def load_rows(
    registry: Registry, home: Home, spec: ModelSpec, selection: Selection
) -> TrainingRows:
    """Return the selected rows, each day checked against its digest first.

    Raises:
        LakeError: a table is gone, or a day is not what was ingested.
        InputRefusedError: rows of a further input cannot be told apart.
    """
    key = selection.input.dataset.key
    columns = dict.fromkeys([*key, selection.input.dataset.date, *spec.features])
    day, plans = selection.input.dataset.date, selection.plans
    inputs = read_pin(home, selection.input)
    further = read_joined(registry, home, plans, selection.joined, day)
    if further is not None:
        inputs = further.add(inputs)
    inputs = inputs.select(list(columns))
    actuals = read_pin(home, selection.actuals).select([*key, spec.target])
    known = actuals.filter(pc.is_valid(actuals[spec.target]))
    joined = inputs.join(known, keys=list(key), join_type="inner")
    joined = joined.sort_by([(name, "ascending") for name in key]).combine_chunks()
    if joined.num_rows == 0:
        raise NothingToDoError(
            f"Training {spec.name!r}", "no row has a known outcome", "Ingest its actuals."
        )
    column = joined[selection.input.dataset.date]
    return TrainingRows(
        joined.filter(pc.is_in(column, pa.array(selection.train, pa.date32()))),
        joined.filter(pc.is_in(column, pa.array(selection.holdout, pa.date32()))),
    )


def read_pin(home: Home, pin: Pin) -> pa.Table:
    """Return the pinned days, checked against their digests.

    Raises:
        LakeError: the table is gone, or a day is not what was ingested.
    """
    dataset = pin.dataset
    table = lake.open_table(lake.accepted_path(home.lake, dataset.name), pin.table_version)
    rows = lake.read(table, dataset.schema, lake.on_days(dataset.date, list(pin.days)))
    for day, digest in pin.days.items():
        found = rows.filter(pc.equal(rows[dataset.date], pa.scalar(day, pa.date32())))
        check_day(dataset.name, dataset.key, day, found, digest)
    return rows


def _pin(
    session: Session, dataset: Dataset, partitions: dict[date, Ingest], days: Sequence[date]
) -> Pin:
    # The newest commit holds every day as its last ingest left it.
    newest = max(p.table_version for p in list_partitions(session, dataset.name))
    return Pin(dataset, newest, {day: partitions[day].partition_digest for day in days})


def _check_columns(spec: ModelSpec, inputs: Dataset, actuals: Dataset) -> None:
    where = f"lab/models/{spec.name}/model.toml [data]"
    joined = {f"{short_name(one.input)}.{name}" for one in spec.joins for name in one.columns}
    for name in spec.features:
        if name not in inputs.columns and name not in joined:
            raise LabError(
                where,
                f"feature {name!r} is no column of {inputs.name!r}",
                f"Known: {', '.join(inputs.columns)}.",
            )
    if spec.target not in actuals.columns:
        raise LabError(
            where,
            f"target {spec.target!r} is no column of {actuals.name!r}",
            f"Known: {', '.join(actuals.columns)}.",
        )
    missing = [name for name in inputs.key if name not in actuals.columns]
    if missing:
        raise LabError(
            where,
            f"{actuals.name!r} lacks key columns {missing}",
            "Actuals are joined by the input's key.",
        )
