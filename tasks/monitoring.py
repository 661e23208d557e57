"""Watching a model: realized performance as actuals arrive, and drift over windows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from registry import Registry
from registry.canonical import digest_json
from registry.events import append_event, list_events
from registry.ingests import find_partition, get_partition
from registry.metrics import Metric, record_metric
from registry.runs import PRODUCTION, Run, outcome_of, visible_runs
from registry.versions import ModelVersion
from tasks import lake
from tasks.datasets import Dataset, arrow_schema
from tasks.drift import Judgement, judge_window
from tasks.errors import NothingToDoError
from tasks.evaluation import measure
from tasks.home import Home
from tasks.job import Job
from tasks.profiles import Profile, decode_profile, merge_profiles, profile_like
from tasks.training_data import check_day

DETECTED = "drift detected"


@dataclass(frozen=True)
class DayRealized:
    """How one day's predictions turned out."""

    date: date
    number: str
    rows: int  # predictions
    known: int  # of them with an actual
    metrics: dict[str, float]

    @property
    def coverage(self) -> float:
        """Share of predictions whose outcome is known, in [0, 1]."""
        return self.known / self.rows


@dataclass(frozen=True)
class Window:
    """One window of the drift watch."""

    start: date
    end: date
    days: int  # scored days in it
    judgements: list[Judgement]
    drifted: bool


@dataclass(frozen=True)
class Watch:
    """What monitoring found up to a day."""

    number: str
    realized: list[DayRealized]
    windows: list[Window]  # oldest first; they do not overlap
    fired: bool
    new: bool  # this call was the first to see it
    learned: tuple[date, date]  # first and last day of the reference


def monitor_model(
    registry: Registry, home: Home, job: Job, actuals: Dataset, inputs: Dataset, day: date
) -> Watch:
    """Judge the champion up to ``day`` and record metrics and, where it fires, the drift.

    Raises:
        NothingToDoError: nothing is scored in the windows that end on ``day``.
        LakeError: the actuals are damaged.
    """
    drift = job.bundle.spec.drift
    start = day - timedelta(days=drift.window_days * drift.persistence - 1)
    version = job.bundle.version
    with registry.read() as session:
        runs = visible_runs(session, version.model_id, PRODUCTION, start, day)
    if not runs:
        raise NothingToDoError(
            f"Monitoring {job.bundle.spec.name!r}",
            f"nothing is scored from {start} to {day}",
            f"Score it: 'pilotline score {job.bundle.spec.name} --date {day}'.",
        )
    realized = [
        found
        for run in sorted(runs.values(), key=lambda run: run.date)
        if (found := _realize(registry, home, job, run, actuals)) is not None
    ]
    windows = [
        _judge(registry, home, job, runs, inputs, day - timedelta(days=drift.window_days * back))
        for back in reversed(range(drift.persistence))
    ]
    fired = all(window.drifted for window in windows)
    new = fired and _record(registry, version, windows, day)
    learned = [date.fromisoformat(day) for day in job.bundle.json("data.json")["train"]["days"]]
    return Watch(version.number, realized, windows, fired, new, (learned[0], learned[-1]))


def _realize(
    registry: Registry, home: Home, job: Job, run: Run, actuals: Dataset
) -> DayRealized | None:
    """Join one day's predictions with its actuals; None while there are none."""
    spec = job.bundle.spec
    with registry.read() as session:
        partition = find_partition(session, actuals.name, run.date)
        version = session.get_one(ModelVersion, run.version_id)
    if partition is None:
        return None
    truth = lake.read(
        lake.open_table(lake.accepted_path(home.lake, actuals.name), partition.table_version),
        actuals.schema,
        lake.on_day(actuals.date, run.date),
    )
    check_day(actuals.name, actuals.key, run.date, truth, partition.partition_digest)
    predicted = read_predictions(home, job, run.variant, run.date)
    key = [*job.bundle.json("contract.json")["key"]]
    known = truth.filter(pc.is_valid(truth[spec.target])).select([*key, spec.target])
    joined = predicted.join(known, keys=key, join_type="inner")
    happened = joined[spec.target].to_numpy().astype(np.float64)
    names = tuple(dict.fromkeys(["roc_auc", "brier", *spec.metrics]))
    metrics = measure(names, happened, joined[spec.score_column].to_numpy())
    result = DayRealized(run.date, version.number, predicted.num_rows, joined.num_rows, metrics)
    basis = digest_json([run.id, partition.partition_digest])
    with registry.write() as session:
        for name, value in {**metrics, "coverage": result.coverage}.items():
            metric = Metric(
                version_id=run.version_id,
                kind="realized",
                name=name,
                value=value,
                start=run.date,
                end=run.date,
                variant=run.variant,
                rows=result.known,
                basis=basis,
            )
            record_metric(session, metric)
    return result


def read_predictions(home: Home, job: Job, variant: str, day: date) -> pa.Table:
    """Return the predictions that readers of ``variant`` see for ``day``."""
    path = lake.predictions_path(home.lake, job.bundle.spec.name)
    predicate = f"variant = '{variant}' and {lake.on_day(job.date_column, day)}"
    return lake.read(lake.open_table(path), job.schema, predicate)


def _judge(
    registry: Registry,
    home: Home,
    job: Job,
    runs: dict[date, Run],
    inputs: Dataset,
    end: date,
) -> Window:
    drift = job.bundle.spec.drift
    start = end - timedelta(days=drift.window_days - 1)
    within = [run for day, run in sorted(runs.items()) if start <= day <= end]
    reference = decode_profile(job.bundle.files["profile.json"])
    current = merge_profiles(
        _profile(registry, home, job, run, inputs, reference) for run in within
    )
    if current is None:
        return Window(start, end, 0, [], False)
    judgements = judge_window(reference, current, drift.watch)
    verdicts = [judgement.verdict == "drift" for judgement in judgements]
    drifted = bool(verdicts) and (any if drift.fires_when == "any" else all)(verdicts)
    _record_distances(registry, job, within, judgements, start, end)
    return Window(start, end, len(within), judgements, drifted)


def _profile(
    registry: Registry,
    home: Home,
    job: Job,
    run: Run,
    inputs: Dataset,
    reference: Profile,
) -> Profile:
    """Return a day's profile: the one folded while scoring, where it counts like the reference."""
    features = list(job.bundle.spec.features)
    with registry.read() as session:
        outcome = outcome_of(session, run)
        partition = get_partition(session, inputs.name, run.date)
    if run.version_id == job.bundle.version.id and outcome and outcome.profile_digest:
        profile = decode_profile(registry.blobs.get(outcome.profile_digest))
    else:
        table = lake.open_table(lake.accepted_path(home.lake, inputs.name), partition.table_version)
        schema = arrow_schema({name: inputs.columns[name] for name in features})
        rows = lake.read(table, schema, lake.on_day(inputs.date, run.date))
        profile = profile_like(reference, rows)
    return Profile(profile.rows, {name: profile.columns[name] for name in features})


def _record_distances(
    registry: Registry,
    job: Job,
    runs: Sequence[Run],
    judgements: Sequence[Judgement],
    start: date,
    end: date,
) -> None:
    basis = digest_json([run.id for run in runs])
    with registry.write() as session:
        for judgement in judgements:
            metric = Metric(
                version_id=job.bundle.version.id,
                kind="drift",
                name=f"{judgement.column}.{judgement.distance}",
                value=judgement.value,
                start=start,
                end=end,
                variant=PRODUCTION,
                rows=judgement.rows,
                basis=basis,
            )
            record_metric(session, metric)


def _record(registry: Registry, version: ModelVersion, windows: list[Window], day: date) -> bool:
    """Add the event that drift was detected, once for a version and a day."""
    body: dict[str, Any] = {
        "version": version.number,
        "digest": version.digest,
        "until": day.isoformat(),
        "windows": [
            {
                "start": window.start.isoformat(),
                "end": window.end.isoformat(),
                "judgements": [asdict(judgement) for judgement in window.judgements],
            }
            for window in windows
        ],
    }
    with registry.write() as session:
        for event in list_events(session, version.model_id, DETECTED):
            facts = event.facts()
            if (facts["digest"], facts["until"]) == (version.digest, day.isoformat()):
                return False
        append_event(session, version.model_id, DETECTED, body)
    return True
