"""Predictions beside what happened: one day's rows, joined by key and run."""

from dataclasses import dataclass, field
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pilotline.registry import Registry
from pilotline.registry.runs import Ingest, Run, find_partition
from pilotline.tasks import lake
from pilotline.tasks.errors import LabError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Column, Dataset
from pilotline.tasks.lake import check_day
from pilotline.tasks.score import Job
from pilotline.tasks.stats import possible

PREDICTED = "predicted:"  # what a prediction's column is called beside the columns of the actuals
# Columns of actuals that, where they hold something, say which predictions a row is about.
ABOUT = ("run_id", "model_version")
PLACE = "\x00place"  # a name that no declared column has


@dataclass(frozen=True)
class Matched:
    """One day's predictions with a known outcome."""

    rows: pa.Table  # sorted by key: actuals' columns, PREDICTED ones, the row's model_version
    scored: dict[str, int]  # version number -> predictions, known or not
    partition: Ingest  # of the actuals
    set_aside: dict[str, int] = field(default_factory=dict)  # why -> actuals that judge nothing

    def of(self, number: str) -> pa.Table:
        """Return the rows that version ``number`` predicted."""
        return self.rows.filter(pc.equal(self.rows["model_version"], number))

    def predictions(self, rows: pa.Table, names: list[str]) -> pa.Table:
        """Return the predictions in ``rows`` under their declared names."""
        return rows.select([PREDICTED + name for name in names]).rename_columns(names)


def match_actuals(
    registry: Registry, home: Home, job: Job, run: Run, actuals: Dataset
) -> Matched | None:
    """Join the predictions readers see of a run with what happened; None where nothing came yet.

    An actual judges at most one prediction, and a prediction is judged at most once. What is left
    over is counted with its reason: its outcome is not one the model speaks of, it is there twice,
    it is about another run, its key was never scored, or it was known before its day.

    Raises:
        LabError: the actuals cannot be joined with the predictions.
        LakeError: the actuals are damaged.
    """
    spec, key = job.bundle.spec, [*job.bundle.json("contract.json")["key"]]
    _check_joinable(job, actuals, key)
    with registry.read() as session:
        partition = find_partition(session, actuals.name, run.date)
    if partition is None:
        return None
    truth = lake.read(
        lake.open_table(lake.accepted_path(home.lake, actuals.name), partition.table_version),
        actuals.schema,
        lake.on_day(actuals.date, run.date),
    )
    check_day(actuals.name, actuals.key, run.date, truth, partition.partition_digest)
    predicted = read_predictions(home, job, run.variant, run.date)
    scored = {
        pair["values"]: pair["counts"]
        for pair in pc.value_counts(predicted["model_version"]).to_pylist()
    }
    aside: dict[str, int] = {}
    truth = truth.filter(pc.is_valid(truth[spec.target]))
    truth = _keep(truth, _happened(truth, partition), "known before their day", aside)
    truth = _keep(truth, possible(spec, truth[spec.target]), "no possible outcome", aside)
    truth = _drop_repeated(truth, key, spec.target, aside)
    own = predicted.select([*key, *spec.predictions, *ABOUT]).rename_columns(
        [*key, *(PREDICTED + name for name in (*spec.predictions, *ABOUT))]
    )
    rows = truth.join(own, keys=key, join_type="inner").combine_chunks()
    _count(aside, "their key was never scored", truth.num_rows - rows.num_rows)
    for name in ABOUT:
        if name in actuals.columns:
            same = pc.equal(rows[name].cast(pa.string()), rows[PREDICTED + name])
            about = {"run_id": "about another run", "model_version": "about another version"}
            rows = _keep(rows, pc.fill_null(same, True), about[name], aside)
    if "model_version" in rows.column_names:
        rows = rows.drop_columns(["model_version"])
    rows = rows.append_column("model_version", rows[PREDICTED + "model_version"])
    # Sorted, sums of floats come out the same to the last digit whatever order a join gave.
    rows = rows.sort_by([(name, "ascending") for name in key])
    return Matched(rows, dict(sorted(scored.items())), partition, aside)


def read_predictions(home: Home, job: Job, variant: str, day: date) -> pa.Table:
    """Return the predictions that readers of ``variant`` see for ``day``."""
    path = lake.predictions_path(home.lake, job.bundle.spec.name)
    predicate = f"variant = '{variant}' and {lake.on_day(job.date_column, day)}"
    return lake.read(lake.open_table(path), job.schema, predicate)


def _check_joinable(job: Job, actuals: Dataset, key: list[str]) -> None:
    """Look whether the dataset, which the lab may have changed since, still brings the truth."""
    target, where = job.bundle.spec.target, f"lab/datasets/{actuals.name}/dataset.toml"
    wanted = {name: Column(job.key[name].type) for name in key}
    for name, column in wanted.items():
        found = actuals.columns.get(name)
        if found is None or found.type != column.type:
            raise LabError(
                where,
                f"key column {name!r} is {found.type if found else 'not there'}, the predictions "
                f"of {job.bundle.spec.name!r} have it as {column.type}",
                "Actuals are joined by the input's key: declare it alike.",
            )
    if target not in actuals.columns:
        raise LabError(
            where,
            f"there is no column {target!r}, the target of {job.bundle.spec.name!r}",
            f"Known: {', '.join(actuals.columns)}.",
        )


def _happened(truth: pa.Table, partition: Ingest) -> pa.Array:
    """Tell of each row whether it can be known: a day far east begins before it does in UTC."""
    known = partition.recorded_at.date() + timedelta(days=1) >= partition.date
    return pa.array([known] * truth.num_rows, pa.bool_())


def _drop_repeated(truth: pa.Table, key: list[str], target: str, aside: dict[str, int]) -> pa.Table:
    """Return one row a key; rows that contradict each other are believed neither."""
    placed = truth.append_column(PLACE, pa.array(range(truth.num_rows), pa.int64()))
    grouped = placed.group_by(key, use_threads=False).aggregate(
        [(PLACE, "min"), (PLACE, "count"), (target, "count_distinct")]
    )
    agreed = pc.equal(grouped[f"{target}_count_distinct"], 1)
    once, torn = grouped.filter(agreed), grouped.filter(pc.invert(agreed))
    _count(aside, "repeated", (pc.sum(once[f"{PLACE}_count"]).as_py() or 0) - once.num_rows)
    _count(aside, "contradict each other", pc.sum(torn[f"{PLACE}_count"]).as_py() or 0)
    return truth.take(once[f"{PLACE}_min"].sort())


def _keep(
    rows: pa.Table, fits: pa.Array | pa.ChunkedArray, why: str, aside: dict[str, int]
) -> pa.Table:
    kept = rows.filter(fits)
    _count(aside, why, rows.num_rows - kept.num_rows)
    return kept


def _count(aside: dict[str, int], why: str, rows: int) -> None:
    if rows:
        aside[why] = aside.get(why, 0) + rows
