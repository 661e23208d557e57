"""Realized performance: how each day's predictions turned out, by version and variant."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from math import isfinite
from typing import Any

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.form import digest_json
from pilotline.registry.record import (
    Metric,
    ModelVersion,
    append_event,
    count_judgements,
    get_version,
    is_judged,
    list_events,
    record_metric,
)
from pilotline.registry.runs import Ingest, Run, find_partition
from pilotline.registry.store import Session
from pilotline.tasks.errors import ChildError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Dataset
from pilotline.tasks.monitor.actuals import PREDICTED, Matched, match_actuals
from pilotline.tasks.monitor.own_metrics import Judge
from pilotline.tasks.score import Job
from pilotline.tasks.stats import (
    Interval,
    interval_of,
    measure,
    measured_names,
    pair_outcomes,
    wilson,
)

MISSING = "metric missing"


@dataclass(frozen=True)
class DayRealized:
    """How one day's predictions of one version turned out."""

    date: date
    number: str
    rows: int  # predictions
    known: int  # of them with an actual
    metrics: dict[str, float]
    variant: str = "production"
    intervals: dict[str, Interval | None] = field(default_factory=dict)  # 95 %
    set_aside: dict[str, int] = field(default_factory=dict)  # why -> actuals of the day, unused
    missing: dict[str, str] = field(default_factory=dict)  # metric -> why it could not be had
    alerted: bool = False  # this call was the first to miss them
    times: int = 1  # how often the day was judged; more than once: its rows or truth changed

    @property
    def coverage(self) -> float:
        """Share of predictions whose outcome is known, in [0, 1]."""
        return self.known / self.rows if self.rows else 0.0


def realize_days(
    registry: Registry,
    home: Home,
    job: Job,
    actuals: Dataset,
    runs: Iterable[Run],
    judge: Judge | None,
) -> list[DayRealized]:
    """Judge the days that runs show, and record the metrics; days without actuals are left out.

    A day whose predictions or actuals changed is judged again; what was recorded before stays, with
    its time. A metric that is missing or not finite is recorded as such, once, and never as a
    number.

    Raises:
        LabError: the actuals cannot be joined with the predictions.
        LakeError: the actuals are damaged.
    """
    days = []
    for run in sorted(runs, key=lambda run: (run.date, run.variant)):
        matched = match_actuals(registry, home, job, run, actuals)
        if matched is not None:
            days += [
                _realize(registry, job, run, matched, number, actuals, judge)
                for number in matched.scored
            ]
    return days


def unjudged(registry: Registry, actuals: Dataset, runs: Iterable[Run]) -> list[Run]:
    """Return the runs whose actuals came, or changed, since they were last judged; reads only."""
    found = []
    with registry.read() as session:
        for run in runs:
            partition = find_partition(session, actuals.name, run.date)
            if partition is None:
                continue
            if not is_judged(session, run.version_id, run.date, basis_of(run, partition)):
                found.append(run)
    return found


def basis_of(run: Run, partition: Ingest) -> str:
    """Return the digest of what a day was judged on: its run, and its ingested actuals.

    The table's version is in it: a day that is corrected back to what it was is judged once more,
    and shown as the last.
    """
    return digest_json([run.id, partition.partition_digest, partition.table_version])


def record_missing(
    session: Session,
    version: ModelVersion,
    day: date,
    variant: str,
    basis: str,
    missing: Mapping[str, str],
) -> bool:
    """Add the event that metrics are missing, once for what they were to be had from.

    Flushes, the caller commits.
    """
    for event in list_events(session, version.model_id, MISSING):
        facts = event.facts()
        if (facts["basis"], facts["version"]) == (basis, version.number):
            return False
    body = {
        "version": version.number,
        "digest": version.digest,
        "date": day.isoformat(),
        "variant": variant,
        "basis": basis,
        "missing": missing,
    }
    append_event(session, version.model_id, MISSING, body)
    return True


def _realize(
    registry: Registry,
    job: Job,
    run: Run,
    matched: Matched,
    number: str,
    actuals: Dataset,
    judge: Judge | None,
) -> DayRealized:
    spec = job.bundle.spec
    rows = matched.of(number)
    names = measured_names(spec)
    predicted = matched.predictions(rows, list(spec.predictions))
    outcomes = pair_outcomes(spec, rows[spec.target], predicted)
    metrics = measure(names, outcomes)
    intervals = {name: interval_of(name, value, outcomes) for name, value in metrics.items()}
    missing = {
        name: f"{rows.num_rows} outcomes of one kind cannot give it"
        for name in names
        if name not in metrics and rows.num_rows
    }
    if judge is not None and rows.num_rows:
        _ask(judge, rows, actuals, spec.predictions, metrics, intervals, missing)
    facts: dict[str, Any] = {
        "date": run.date,
        "number": number,
        "rows": matched.scored[number],
        "known": rows.num_rows,
        "metrics": metrics,
        "variant": run.variant,
        "intervals": intervals,
        "set_aside": matched.set_aside,
        "missing": missing,
    }
    with registry.write() as session:
        version = get_version(session, spec.name, number)
        basis = basis_of(run, matched.partition)
        _record(session, version, DayRealized(**facts), basis)
        alerted = bool(missing) and record_missing(
            session, version, run.date, run.variant, basis, missing
        )
        times = count_judgements(session, version, run.variant, run.date)
    return DayRealized(**facts, alerted=alerted, times=times)


def _ask(
    judge: Judge,
    rows: pa.Table,
    actuals: Dataset,
    predictions: Mapping[str, str],
    metrics: dict[str, float],
    intervals: dict[str, Interval | None],
    missing: dict[str, str],
) -> None:
    """Add the model's own metrics; its code may fail, which takes nothing from the others."""
    shown = [name for name in actuals.columns if name in rows.column_names]
    try:
        own = judge.measure(rows.select([*shown, *(PREDICTED + name for name in predictions)]))
    except ChildError as err:
        missing["its own metrics"] = err.problem[:400]
        return
    for name, value in own.values.items():
        if isfinite(value):
            metrics[name], intervals[name] = value, own.intervals[name]
        else:
            missing[name] = f"the model's own function gave {value}"


def _record(session: Session, version: ModelVersion, day: DayRealized, basis: str) -> None:
    sure = {"coverage": wilson(day.coverage, day.rows)} if day.rows else {}
    known = day.intervals | sure
    for name, value in {**day.metrics, "coverage": day.coverage}.items():
        low, high = known.get(name) or (None, None)
        metric = Metric(
            version_id=version.id,
            kind="realized",
            name=name,
            value=value,
            low=low,
            high=high,
            start=day.date,
            end=day.date,
            variant=day.variant,
            rows=day.known,
            basis=basis,
        )
        record_metric(session, metric)
