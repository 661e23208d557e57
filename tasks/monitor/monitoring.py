"""Watching a model: realized performance as actuals arrive, and drift over windows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from itertools import chain
from math import isfinite
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.form import digest_json
from pilotline.registry.record import Metric, ModelVersion, append_event, list_events, record_metric
from pilotline.registry.runs import (
    PRODUCTION,
    Run,
    get_partition,
    outcome_of,
    shown_variants,
    visible_runs,
)
from pilotline.tasks import lake
from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Dataset, arrow_schema, load_champion, load_dataset
from pilotline.tasks.logs import about
from pilotline.tasks.monitor.own_metrics import Judge, own_judge
from pilotline.tasks.monitor.performance import DayRealized, realize_days, record_missing, unjudged
from pilotline.tasks.monitor.staleness import Stale
from pilotline.tasks.monitor.versus import Comparison, compare_challengers
from pilotline.tasks.sandbox import tier_for
from pilotline.tasks.score import Job, plan_job
from pilotline.tasks.stats import (
    Judgement,
    Profile,
    decode_profile,
    judge_others,
    judge_window,
    merge_profiles,
    profile_rows,
)

DETECTED = "drift detected"
LATE_DAYS = 90  # actuals that come later than this change no metric any more


@dataclass(frozen=True)
class Window:
    """One window of the drift watch."""

    start: date
    end: date
    days: int  # scored days in it
    judgements: list[Judgement]  # of what is watched
    drifted: bool
    missing: dict[str, str] = field(default_factory=dict)  # distance -> why it says nothing
    alerted: bool = False  # this call was the first to miss them
    others: list[Judgement] = field(default_factory=list)  # by default thresholds; reported only


@dataclass(frozen=True)
class Watch:
    """What monitoring found up to a day."""

    number: str
    realized: list[DayRealized]
    windows: list[Window]  # oldest first; they do not overlap
    fired: bool
    new: bool  # this call was the first to see it
    learned: tuple[date, date]  # first and last day of the reference
    compared: list[Comparison] = field(default_factory=list)
    stale: list[Stale] = field(default_factory=list)  # what is too old, looked at beside all this


def monitor_champion(registry: Registry, home: Home, name: str, day: date) -> Watch:
    """Judge the champion of ``name`` up to ``day`` as its version and the lab say.

    Raises:
        UnknownModelError, NoChampionError, VersionUnfitError: none may run.
        NothingToDoError: nothing is scored in the windows that end on ``day``.
        LakeError: the actuals are damaged.
    """
    bundle = load_champion(registry, name)
    job = plan_job(bundle, PRODUCTION, "monitor")
    actuals = load_dataset(home.lab, bundle.spec.actuals)
    inputs = load_dataset(home.lab, bundle.spec.input)
    said = about(version=bundle.version.number)
    with said, own_judge(registry, home, tier_for(home, bundle.folder), bundle) as judge:
        return monitor_model(registry, home, job, actuals, inputs, day, judge)


def monitor_model(
    registry: Registry,
    home: Home,
    job: Job,
    actuals: Dataset,
    inputs: Dataset,
    day: date,
    judge: Judge | None = None,
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
        variants = shown_variants(session, version.model_id)
    realized = _realize(registry, home, job, actuals, variants, (start, day), judge)
    if not runs:
        raise NothingToDoError(
            f"Monitoring {job.bundle.spec.name!r}",
            f"nothing is scored from {start} to {day}",
            f"Score it: 'pilotline score {job.bundle.spec.name} --date {day}'.",
        )
    windows = [
        _judge(registry, home, job, runs, inputs, day - timedelta(days=drift.window_days * back))
        for back in reversed(range(drift.persistence))
    ]
    fired = all(window.drifted for window in windows)
    new = fired and _record(registry, version, windows, day)
    learned = [date.fromisoformat(day) for day in job.bundle.json("data.json")["train"]["days"]]
    compared = compare_challengers(registry, home, job, actuals, variants, day)
    return Watch(
        version.number,
        realized,
        windows,
        fired,
        new,
        (learned[0], learned[-1]),
        compared,
    )


def _realize(
    registry: Registry,
    home: Home,
    job: Job,
    actuals: Dataset,
    variants: Sequence[str],
    span: tuple[date, date],
    judge: Judge | None,
) -> list[DayRealized]:
    """Judge the days of the span, and earlier ones whose actuals came or changed since."""
    start, end = span
    model_id, before = job.bundle.version.model_id, start - timedelta(days=1)
    with registry.read() as session:
        shown = [visible_runs(session, model_id, v, start, end).values() for v in variants]
        earlier = [
            visible_runs(session, model_id, v, end - timedelta(days=LATE_DAYS), before).values()
            for v in variants
        ]
    late = unjudged(registry, actuals, chain.from_iterable(earlier))
    runs = [*late, *chain.from_iterable(shown)]
    return realize_days(registry, home, job, actuals, runs, judge)


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
    current = merge_profiles(_profile(registry, home, job, run, inputs) for run in within)
    if current is None:
        return Window(start, end, 0, [], False)
    judgements = judge_window(reference, current, drift.watch)
    drifted, missing = calls_drift(judgements, drift.fires_when), list_unusable(judgements)
    others = judge_others(reference, current, drift.watch)
    alerted = _record_distances(registry, job, within, [*judgements, *others], start, end, missing)
    return Window(start, end, len(within), judgements, drifted, missing, alerted, others)


def calls_drift(judgements: Sequence[Judgement], fires_when: str) -> bool:
    """Tell whether a window has drifted; a distance that is no number is no reason to retrain."""
    verdicts = [j.verdict == "drift" and isfinite(j.value) for j in judgements]
    return bool(verdicts) and (any if fires_when == "any" else all)(verdicts)


def list_unusable(judgements: Sequence[Judgement]) -> dict[str, str]:
    """Return the distances that are no numbers, each with what it came out as."""
    return {
        f"{j.column}.{j.distance}": f"it came out as {j.value}"
        for j in judgements
        if not isfinite(j.value)
    }


def _profile(registry: Registry, home: Home, job: Job, run: Run, inputs: Dataset) -> Profile:
    """Return what a day held: folded while it was scored, or ingested.

    Predictions are in it where all of them are the version's own.
    """
    spec, features = job.bundle.spec, set(job.bundle.spec.features)
    with registry.read() as session:
        outcome = outcome_of(session, run)
        partition = get_partition(session, inputs.name, run.date)
    own = run.version_id == job.bundle.version.id and run.challenger_id is None
    if outcome and outcome.profile_digest:
        scored = decode_profile(registry.blobs.get(outcome.profile_digest))
        if features <= set(scored.columns):
            return scored.select([*spec.features, *(spec.predictions if own else ())])
    if partition.profile_digest:
        return decode_profile(registry.blobs.get(partition.profile_digest)).select(spec.features)
    # Ingested before profiles were kept, and scored by a version with other features.
    table = lake.open_table(lake.accepted_path(home.lake, inputs.name), partition.table_version)
    ingested = [name for name in spec.features if name in inputs.columns]  # the rest was joined
    schema = arrow_schema({name: inputs.columns[name] for name in ingested})
    return profile_rows(lake.read(table, schema, lake.on_day(inputs.date, run.date)))


def _record_distances(
    registry: Registry,
    job: Job,
    runs: Sequence[Run],
    judgements: Sequence[Judgement],
    start: date,
    end: date,
    missing: dict[str, str],
) -> bool:
    basis = digest_json([run.id for run in runs])
    with registry.write() as session:
        for judgement in judgements:
            if not isfinite(judgement.value):
                continue
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
        version = job.bundle.version
        return bool(missing) and record_missing(
            session, version, end, PRODUCTION, digest_json([basis, "drift"]), missing
        )


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
                "judgements": [asdict(j) for j in window.judgements if isfinite(j.value)],
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
