"""Which days of further inputs are read, what they hold, and whether that changed since."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from pilotline.registry import Registry
from pilotline.registry.record import get_model, standing_of
from pilotline.registry.runs import (
    PRODUCTION,
    InputRead,
    Run,
    RunInput,
    committed_rows,
    files_digest_of,
    inputs_of,
    list_partitions,
    outcome_of,
    span_of,
    versions_of,
    visible_runs,
)
from pilotline.registry.store import Session
from pilotline.tasks import lake
from pilotline.tasks.errors import InputRefusedError, LakeError
from pilotline.tasks.features.as_of import AsOf, Joined
from pilotline.tasks.features.plans import JoinPlan
from pilotline.tasks.home import Home
from pilotline.tasks.lake import PartitionFiles, check_day, find_files
from pilotline.tasks.sandbox import BATCH_ROWS

Read = InputRead | RunInput


def choose_inputs(
    registry: Registry, home: Home, plans: Sequence[JoinPlan], days: Iterable[date]
) -> list[InputRead]:
    """Return what rows of ``days`` may read of further inputs, as everything is now.

    Predictions have no digest on record: their files are hashed here, before they are decoded.

    Raises:
        InputRefusedError: predictions among them are by a revoked version.
        LakeError: predictions that are on record are not there.
    """
    if not plans:
        return []
    days = list(days)
    with registry.read() as session:
        chosen = pick_inputs(session, plans, days)
    by_name = {plan.input: plan for plan in plans}
    return [
        replace(read, partition_digest=_files(home, by_name[read.dataset], read).digest())
        if by_name[read.dataset].model
        else read
        for read in chosen
    ]


def pick_inputs(
    session: Session, plans: Sequence[JoinPlan], days: Sequence[date]
) -> list[InputRead]:
    """Return the same from the record alone, so without digests of predictions; reads only.

    Raises:
        InputRefusedError: predictions among them are by a revoked version.
    """
    picked: list[InputRead] = []
    for plan in plans:
        windows = [plan.window(day) for day in days]
        known = _predicted if plan.model else _ingested
        start, end = min(first for first, _ in windows), max(last for _, last in windows)
        picked += [
            read
            for read in known(session, plan, start, end)
            if any(first <= read.date <= last for first, last in windows)
        ]
    return picked


def read_joined(
    registry: Registry,
    home: Home,
    plans: Sequence[JoinPlan],
    reads: Sequence[Read],
    date_column: str,
) -> Joined | None:
    """Return the further inputs of ``plans``, exactly the days that ``reads`` names, in memory.

    Every file is hashed before it is decoded. None where there are no further inputs.

    Raises:
        LakeError: a day is gone, or is not what was ingested or predicted.
        InputRefusedError: two rows of one day cannot be told apart.
    """
    if not plans:
        return None
    tables = []
    for plan in plans:
        batches: list[pa.RecordBatch] = []
        for read in reads:
            if read.dataset == plan.input:
                batches += _read_day(registry, home, plan, read)
        tables.append(AsOf(plan, pa.Table.from_batches(batches, plan.schema)))
    return Joined(tables, date_column)


def say_changes(session: Session, plans: Sequence[JoinPlan], run: Run) -> str:
    """Return in words which inputs hold other days or rows than ``run`` read; reads only.

    Raises:
        InputRefusedError: predictions among them are by a revoked version.
    """
    now = _identify(plans, pick_inputs(session, plans, [run.date]))
    before = _identify(plans, inputs_of(session, [run.id]))
    changed = sorted({name for name, _, _ in now ^ before})
    return f"{' and '.join(changed)} changed since" if changed else ""


def list_empty(session: Session, plans: Sequence[JoinPlan], day: date) -> list[str]:
    """Return in words which inputs have nothing that a row of ``day`` may read; reads only."""
    said = []
    for plan in plans:
        start, end = plan.window(day)
        if not pick_inputs(session, [plan], [day]):
            known = "nothing shown" if plan.model else span_of(session, plan.input)
            said.append(
                f"{plan.input} has no day from {start} to {end} ({known}): "
                f"its features are empty on {day}"
            )
    return said


def _identify(plans: Sequence[JoinPlan], reads: Iterable[Read]) -> set[tuple[str, date, object]]:
    """Return what tells two reads apart; which commit shows predictions tells whose they are."""
    models = {plan.input for plan in plans if plan.model}
    return {
        (read.dataset, read.date, read.table_version)
        if read.dataset in models
        else (read.dataset, read.date, read.partition_digest)
        for read in reads
    }


def _ingested(session: Session, plan: JoinPlan, start: date, end: date) -> Iterator[InputRead]:
    for day in list_partitions(session, plan.input, start, end):
        yield InputRead(plan.input, day.date, day.partition_digest, day.table_version)


def _predicted(session: Session, plan: JoinPlan, start: date, end: date) -> Iterator[InputRead]:
    """Yield the days of production's predictions that readers see.

    Raises:
        InputRefusedError: a revoked version made one.
    """
    model_id = get_model(session, plan.model).id
    for day, run in sorted(visible_runs(session, model_id, PRODUCTION, start, end).items()):
        for version in versions_of(session, run):
            if standing_of(session, version) == "revoked":
                raise InputRefusedError(
                    plan.input,
                    f"{day} was predicted by {version.number}, which is revoked",
                    f"Score the day again: 'pilotline backfill {plan.model} --start {day} --end "
                    f"{day}'.",
                )
        outcome = outcome_of(session, run)
        if outcome is not None and outcome.table_version is not None:
            yield InputRead(plan.input, day, "", outcome.table_version)


def _files(home: Home, plan: JoinPlan, read: Read) -> PartitionFiles:
    predicate = None
    path = lake.accepted_path(home.lake, plan.input)
    if plan.model:
        path = lake.predictions_path(home.lake, plan.model)
        predicate = f"variant = '{PRODUCTION}' and {lake.on_day(plan.date_column, read.date)}"
    table = lake.open_table(path, read.table_version)
    return find_files(table, path, plan.input, plan.date_column, read.date, predicate)


def _read_day(
    registry: Registry, home: Home, plan: JoinPlan, read: Read
) -> Iterator[pa.RecordBatch]:
    if plan.model:
        yield from _read_predictions(registry, home, plan, read)
        return
    with registry.read() as session:
        hashed = files_digest_of(
            session, read.dataset, read.date, read.partition_digest, read.table_version
        )
    if hashed is not None:
        files = _files(home, plan, read)
        yield from files.stream(plan.schema, BATCH_ROWS, files.require(hashed))
        return
    # Ingested before files were hashed, or elsewhere: its rows are compared.
    table = lake.open_table(lake.accepted_path(home.lake, plan.input), read.table_version)
    rows = lake.read(table, lake.schema_of(table), lake.on_day(plan.date_column, read.date))
    check_day(plan.input, plan.key, read.date, rows, read.partition_digest)
    yield from rows.select(plan.schema.names).cast(plan.schema).to_batches()


def _read_predictions(
    registry: Registry, home: Home, plan: JoinPlan, read: Read
) -> Iterator[pa.RecordBatch]:
    """Yield one day of predictions, once it is known to be the work of the run on record."""
    with registry.read() as session:
        model_id = get_model(session, plan.model).id
        found = committed_rows(session, model_id, read.date, read.table_version)
    files = _files(home, plan, read)
    before = files.require(read.partition_digest)
    schema = plan.schema.append(pa.field("run_id", pa.string()))
    rows = pa.Table.from_batches(files.stream(schema, BATCH_ROWS, before), schema)
    made_by = pc.unique(rows["run_id"]).to_pylist()
    run_id, count = found or ("", 0)
    if found is None or rows.num_rows != count or made_by not in ([], [run_id]):
        said = f"{count} by run {run_id}" if found else "no run that made them"
        raise LakeError(
            plan.input,
            f"{read.date} holds {rows.num_rows} rows, on record is {said}",
            "Somebody changed the table: score the day again.",
        )
    yield from rows.select(plan.schema.names).to_batches()
