"""Replaying a run: its rows scored again from the record alone, compared bit by bit by key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pilotline.registry import Registry
from pilotline.registry.form import DigestMismatchError, VersionUnfitError, digest_bytes
from pilotline.registry.record import ModelVersion, model_of, standing_of, version_by_id
from pilotline.registry.runs import (
    Run,
    came_by_import,
    get_run,
    inputs_of,
    outcome_of,
    versions_of,
    visible_runs,
)
from pilotline.tasks import lake
from pilotline.tasks.errors import LakeError, NothingToDoError
from pilotline.tasks.features import read_joined
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Bundle, load_bundle
from pilotline.tasks.logs import about
from pilotline.tasks.sandbox import (
    Room,
    Tier,
    Wheelhouse,
    built_environment,
    predict_rows,
    tier_for,
)
from pilotline.tasks.score import (
    Job,
    bucket_of,
    check_interpreter,
    check_record,
    plan_again,
    read_input,
)

THERE, MISSING = "a row", "no row"
UNIT = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}  # bits of a float by its width


@dataclass(frozen=True)
class Difference:
    """The first thing, in the order of the key, that a replay did not give again."""

    key: dict[str, Any]
    column: str | None  # None: the whole row is on one side only
    recorded: Any
    replayed: Any


@dataclass(frozen=True)
class Comparison:
    """Recorded and replayed predictions beside each other."""

    recorded: int  # rows
    replayed: int  # rows
    differing: int  # rows that are on one side only, or not the same bit by bit
    largest: float  # largest absolute difference of a number, 0.0 where none differs
    first: Difference | None


@dataclass(frozen=True)
class Replayed:
    """What came of a replay."""

    run_id: str
    model: str
    number: str
    variant: str
    date: date
    equal: bool
    compared_with: str  # which recorded rows the figures are of
    figures: Comparison
    isolation: str  # tier of the replay


@dataclass(frozen=True)
class Replayable:
    """A run that committed predictions, and may be replayed."""

    run: Run
    version: ModelVersion
    table_version: int  # of the predictions table
    visible: bool  # readers see its rows now
    imported: bool  # its history was: its rows lie where it ran, if that is another lake


def find_replayable(registry: Registry, run_id: str) -> Replayable:
    """Return the run called ``run_id`` if it can be replayed.

    Raises:
        UnknownRunError: there is none.
        NothingToDoError: it committed no predictions.
        VersionUnfitError: its version is revoked.
    """
    with registry.read() as session:
        run = get_run(session, run_id)
        outcome = outcome_of(session, run)
        version = version_by_id(session, run.version_id)
        name = model_of(session, version).name
        revoked = [v for v in versions_of(session, run) if standing_of(session, v) == "revoked"]
        shown = visible_runs(session, run.model_id, run.variant, run.date, run.date)
        imported = came_by_import(session, run)
    if outcome is None or outcome.table_version is None:
        ended = "is under way, or its process died" if outcome is None else f"ended {outcome.state}"
        why = f" ({outcome.reason.splitlines()[0][:200]})" if outcome and outcome.reason else ""
        raise NothingToDoError(
            f"Replay of run {run_id!r}",
            f"it committed no predictions: it {ended}{why}",
            f"Replay another run, see 'pilotline lineage {name}@{version.number}'.",
        )
    if revoked:
        raise VersionUnfitError(
            name, revoked[0].number, "is revoked and must not run", "Its runs cannot be replayed."
        )
    visible = any(shown_run.id == run.id for shown_run in shown.values())
    return Replayable(run, version, outcome.table_version, visible, imported)


def replay_on_record(
    registry: Registry, home: Home, run_id: str, say: Callable[[str], None]
) -> Replayed:
    """Replay a run in the isolation that factory and model ask for; nothing is written.

    Raises:
        UnknownRunError, NothingToDoError, VersionUnfitError: it cannot be replayed.
        MissingBlobError, DigestMismatchError: the version is damaged.
        LakeError: a table, or the version of it that is needed, is gone or damaged.
        IsolationError: this machine has less than they ask for.
        EnvironmentBuildError: its environment cannot be built any more.
    """
    with registry.read() as session:
        version = version_by_id(session, get_run(session, run_id).version_id)
    bundle = load_bundle(registry, version)
    with about(model=bundle.spec.name, version=version.number, run=run_id):
        return replay_run(registry, home, tier_for(home, bundle.folder), run_id, say)


def replay_run(
    registry: Registry, home: Home, tier: Tier, run_id: str, say: Callable[[str], None]
) -> Replayed:
    """Score a run's rows again and compare them with what it recorded; nothing is written.

    Everything comes from the record: the version's manifest and blobs, the lock, the rows at the
    version of the table that the run read. Where readers see the run's rows now, these are
    compared too: they may have been changed after the commit.

    Raises:
        UnknownRunError, NothingToDoError, VersionUnfitError: it cannot be replayed.
        MissingBlobError, DigestMismatchError: the version is damaged.
        LakeError: a table, or the version of it that is needed, is gone or damaged.
        EnvironmentBuildError: its environment cannot be built any more.
    """
    found = find_replayable(registry, run_id)
    run = found.run
    check_record(registry, found.version)
    job = replace(plan_again(registry, run), trigger="replay")
    for each in job.bundles:
        check_interpreter(each)
    bundle = job.bundle
    if digest_bytes(bundle.lock) != run.lock_digest:
        raise DigestMismatchError(
            f"the lock of run {run_id!r}", run.lock_digest, digest_bytes(bundle.lock)
        )
    say(f"reading {run.dataset} {run.date} at table version {run.table_version}")
    with registry.read() as session:
        reads = inputs_of(session, [run.id])
    try:
        joined = read_joined(registry, home, job.joins, reads, job.date_column)
        rows = read_input(home, job, run, joined)
        sources = _read_recorded(home, job, found)
    except LakeError as err:
        if not found.imported:
            raise
        raise _not_here(run, bundle.spec.name) from err
    if found.imported and not sources[0][1].num_rows:
        raise _not_here(run, bundle.spec.name)
    replayed = _score_again(registry, home, tier, job, rows, say)
    compared = [
        (where, compare_predictions(recorded, replayed, list(job.key)))
        for where, recorded in sources
    ]
    everywhere = " and ".join(where for where, _ in compared)
    different = ((where, figures) for where, figures in compared if figures.differing)
    where, figures = next(different, (everywhere, compared[0][1]))
    verdict = f"{figures.differing:,} rows differ from" if figures.differing else "equal to"
    say(f"replay of {run.id}: {verdict} {where}")
    return Replayed(
        run_id=run.id,
        model=bundle.spec.name,
        number=found.version.number,
        variant=run.variant,
        date=run.date,
        equal=figures.differing == 0,
        compared_with=where,
        figures=figures,
        isolation=tier.name,
    )


def compare_predictions(recorded: pa.Table, replayed: pa.Table, key: Sequence[str]) -> Comparison:
    """Return how two tables of the same columns differ, row by row, met by their key.

    Floats are the same if their bits are: NaN is NaN, and 0.0 is not -0.0.
    """
    meeting = _meet(recorded, replayed, key)
    both = meeting["_merge"].to_numpy() == "both"
    ours = recorded.take(pa.array(meeting["recorded"].to_numpy()[both].astype(np.int64)))
    theirs = replayed.take(pa.array(meeting["replayed"].to_numpy()[both].astype(np.int64)))
    columns = [name for name in recorded.column_names if name not in key]
    differs = {name: _differs(ours[name], theirs[name]) for name in columns}
    wrong = ~both
    wrong[both] = np.any([*differs.values()], axis=0)
    first = None
    if wrong.any():
        at = int(np.argmax(wrong))
        values = {name: _plain(meeting[name].iloc[at]) for name in key}
        if both[at]:
            row = int(both[:at].sum())
            name = next(name for name in columns if differs[name][row])
            first = Difference(values, name, ours[name][row].as_py(), theirs[name][row].as_py())
        else:
            only = meeting["_merge"].iloc[at] == "left_only"
            first = Difference(values, None, *((THERE, MISSING) if only else (MISSING, THERE)))
    largest = max((_gap(ours[name], theirs[name]) for name in columns), default=0.0)
    return Comparison(recorded.num_rows, replayed.num_rows, int(wrong.sum()), largest, first)


def _not_here(run: Run, name: str) -> NothingToDoError:
    return NothingToDoError(
        f"Replay of run {run.id!r}",
        f"it was imported with the history of {name!r}; its rows are not here",
        "Replay it where it ran.",
    )


def _read_recorded(home: Home, job: Job, found: Replayable) -> list[tuple[str, pa.Table]]:
    """Return the run's rows as it committed them and, where readers see them, as they are now."""
    path = lake.predictions_path(home.lake, job.bundle.spec.name)
    run = found.run
    predicate = (
        f"variant = '{run.variant}' and {lake.on_day(job.date_column, run.date)} "
        f"and run_id = '{run.id}'"
    )
    wanted = [name for name in job.schema.names if name not in ("variant", "run_id")]
    schema = pa.schema([job.schema.field(name) for name in wanted])
    table = lake.open_table(path, found.table_version)
    where = f"what it committed (table version {found.table_version})"
    sources = [(where, lake.read(table, schema, predicate))]
    now = lake.open_table(path)
    if found.visible and now.version() != found.table_version:
        where = f"what readers see now (table version {now.version()})"
        sources.append((where, lake.read(now, schema, predicate)))
    return sources


def _score_again(
    registry: Registry,
    home: Home,
    tier: Tier,
    job: Job,
    rows: pa.Table,
    say: Callable[[str], None],
) -> pa.Table:
    """Return predictions for ``rows``, each by its version in a fresh environment, with keys."""
    buckets = bucket_of(rows, list(job.key)) if job.challenger else None
    tables = []
    for bundle, (first, end) in job.arms():
        mine = rows if buckets is None else rows.filter((first <= buckets) & (buckets < end))
        if mine.num_rows:
            tables.append(_score_arm(registry, home, tier, job, bundle, mine, say))
    return pa.concat_tables(tables)


def _score_arm(
    registry: Registry,
    home: Home,
    tier: Tier,
    job: Job,
    bundle: Bundle,
    rows: pa.Table,
    say: Callable[[str], None],
) -> pa.Table:
    name, number = bundle.spec.name, bundle.version.number
    say(f"building the environment of {name} {number}")
    wheelhouse = Wheelhouse(registry, home.scratch)
    with built_environment(
        home.scratch, name, bundle.lock, walled=tier.walled, wheelhouse=wheelhouse
    ) as environment:
        say(f"scoring {rows.num_rows:,} rows again")
        room = Room(home, environment, tier)
        predicted = predict_rows(room, bundle.folder, bundle.artifact, rows)
    table = rows.select(list(job.key))
    for column in predicted.column_names:
        table = table.append_column(predicted.schema.field(column), predicted[column])
    return table.append_column("model_version", pa.repeat(pa.scalar(number), rows.num_rows))


def _meet(recorded: pa.Table, replayed: pa.Table, key: Sequence[str]) -> pd.DataFrame:
    """Return a row for each key on either side, sorted by key, with where it stands on each.

    A key that stands twice on a side meets its like by its turn.
    """
    sides = []
    for side, table in (("recorded", recorded), ("replayed", replayed)):
        frame = table.select(list(key)).to_pandas(date_as_object=False)
        frame["turn"] = frame.groupby(list(key), dropna=False).cumcount()
        frame[side] = np.arange(table.num_rows)
        sides.append(frame)
    on = [*key, "turn"]
    met: pd.DataFrame = sides[0].merge(sides[1], on=on, how="outer", indicator=True)
    return met.sort_values(on, ignore_index=True)


def _differs(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> NDArray[np.bool_]:
    absent = np.asarray(pc.is_null(ours)) != np.asarray(pc.is_null(theirs))
    if not pa.types.is_floating(ours.type):
        unequal = pc.fill_null(pc.not_equal(ours, theirs), False)
        return np.asarray(absent | np.asarray(unequal), dtype=np.bool_)
    bits = [np.asarray(pc.fill_null(side, 0.0)) for side in (ours, theirs)]
    left, right = (values.view(UNIT[values.dtype.itemsize]) for values in bits)
    return np.asarray(absent | (left != right), dtype=np.bool_)


def _gap(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> float:
    """Return the largest absolute difference of two columns of numbers, 0.0 for other ones."""
    kind = ours.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        return 0.0
    with np.errstate(invalid="ignore"):
        gaps = np.abs(np.asarray(ours.cast(pa.float64())) - np.asarray(theirs.cast(pa.float64())))
    known = gaps[~np.isnan(gaps)]
    return float(known.max()) if known.size else 0.0


def _plain(value: Any) -> Any:
    """Return a key's value as Python's own type; a day came as a timestamp."""
    if isinstance(value, pd.Timestamp):
        return value.date()
    return value.item() if hasattr(value, "item") else value
