"""The whole life of one model on real flights, each step by its own flow."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from prefect import flow

from pilotline.flows.backfill import backfill
from pilotline.flows.ingest import ingest
from pilotline.flows.monitor import monitor
from pilotline.flows.release import Released, release
from pilotline.flows.retrain import retrain
from pilotline.flows.run.place import current_home
from pilotline.flows.score import score
from pilotline.flows.screen.logs import CHAPTER, COMMAND, FACT
from pilotline.flows.train import train
from pilotline.registry.gates import Decision
from pilotline.registry.runs import PRODUCTION
from pilotline.tasks.decide import record_decision
from pilotline.tasks.example import SeedReport
from pilotline.tasks.explain import show_model, show_version
from pilotline.tasks.home import Home
from pilotline.tasks.ingest import DayIngested, count_reasons
from pilotline.tasks.monitor import DayRealized, Watch
from pilotline.tasks.score import DayScored
from pilotline.tasks.train import Trained

MODEL = "flight-delay"
JANUARY = (date(2013, 1, 1), date(2013, 1, 31))
FEBRUARY = (date(2013, 2, 1), date(2013, 2, 14))
NIGHTS = [date(2013, 2, day) for day in (1, 2, 3, 4, 12, 13, 14)]  # 5 to 11 are skipped
JULY = (date(2013, 7, 1), date(2013, 7, 21))
SUNDAYS = [date(2013, 7, 7), date(2013, 7, 14), date(2013, 7, 21)]
DECISIONS = (
    Decision("review", "approve", "reviewer@example.org", "better than chance on a week held out"),
    Decision("go-live", "approve", "operations@example.org", "verified here, within its budgets"),
)

log = logging.getLogger("pilotline")


@flow(flow_run_name="lifecycle")
def lifecycle(seeded: SeedReport) -> dict[str, Any]:
    """Return what happened, as plain values; what was done before is found done.

    Args:
        seeded: what the example's online database holds.
    """
    started = time.monotonic()
    home = current_home()
    broken = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in seeded.broken.items())
    fact(f"{seeded.flights:,} flights, {seeded.arrivals:,} arrivals; broken: {broken}")
    ingested = _ingest_winter()
    trained = _train()
    released = _release(trained)
    scored = _score_nights()
    scored += _backfill()
    arrivals, winter = _monitor_winter()
    july, summer, watches = _summer()
    challenger, waiting = _retrain()
    return {
        "home": str(home.root),
        "seeded": asdict(seeded),
        "ingested": _count([*ingested, *arrivals, *july]),
        "quarantine": {name: count_reasons(home, name) for name in ("flights", "arrivals")},
        "released": asdict(released),
        "scored": _count_scored(home, [*scored, *summer]),
        "realized": _realized([winter, *watches]),
        "drift": [_watch(watch) for watch in watches],
        "challenger": {
            "version": challenger.number,
            "metrics": challenger.metrics,
            "champion": challenger.champion,
            "holdout": [str(day) for day in challenger.holdout_days[:2]],
            "state": asdict(waiting),
        },
        "model": _show(home),
        "seconds": round(time.monotonic() - started, 1),
    }


def _ingest_winter() -> list[DayIngested]:
    chapter("2. Ingest: flights of January to 14 February, arrivals of January, day by day")
    flights = ingest("flights", JANUARY[0], FEBRUARY[1])
    arrivals = ingest("arrivals", *JANUARY)
    for days in (flights, arrivals):
        fact(_said(days))
    return [*flights, *arrivals]


def _train() -> Trained:
    chapter("3. Train on January in a transient environment, the last week held out")
    trained = train(MODEL, until=JANUARY[1])
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in trained.metrics.items())
    known = "registered" if trained.new else "registered before"
    fact(f"{MODEL} {trained.number} {known} ({trained.reason}): {metrics}")
    fact(f"digest {trained.digest}")
    return trained


def _release(trained: Trained) -> Released:
    chapter("4. Release: review, verification in the real environment, go-live")
    released = release(MODEL, trained.number)
    for said in DECISIONS:
        if released.state != "waiting" or released.reason != f"waiting for {said.gate}":
            break
        fact(released.reason)
        if released.verification:
            fact(f"verified: {released.verification}")
        log.log(COMMAND, released.command)
        decided = record_decision(current_home(), MODEL, trained.number, said)
        fact(f"{said.gate} approved by {decided.by} ({decided.identity}): {said.comment}")
        released = release(MODEL, trained.number)
    fact(f"{MODEL} {trained.number}: {released.reason}")
    return released


def _score_nights() -> list[DayScored]:
    chapter("5. Score the nights of 1 to 14 February, but for one week that is skipped")
    scored = [score(MODEL, day) for day in NIGHTS]
    fact(_said_scored(scored))
    return scored


def _backfill() -> list[DayScored]:
    chapter("6. Backfill the skipped week: the plan first, then one child for all its days")
    _, done = backfill(MODEL, *FEBRUARY, using="champion")
    fact(_said_scored(done))
    return done


def _monitor_winter() -> tuple[list[DayIngested], Watch]:
    chapter("7. Monitor: the arrivals of February come in")
    arrivals = ingest("arrivals", *FEBRUARY)
    fact(_said(arrivals))
    watch = monitor(MODEL, FEBRUARY[1])
    for day in watch.realized:
        fact(_said_realized(day))
    _say_drift(watch)
    return arrivals, watch


def _summer() -> tuple[list[DayIngested], list[DayScored], list[Watch]]:
    chapter("8. Summer: 1 to 21 July is ingested, scored and watched")
    ingested = [*ingest("flights", *JULY), *ingest("arrivals", *JULY)]
    fact(_said(ingested))
    _, scored = backfill(MODEL, *JULY, using="champion")
    fact(_said_scored(scored))
    watches = [monitor(MODEL, day) for day in SUNDAYS]
    for watch in watches:
        _say_drift(watch)
    return ingested, scored, watches


def _retrain() -> tuple[Trained, Released]:
    chapter("9. Retrain with the champion's own scripts; the challenger waits for a person")
    trained, released = retrain(MODEL, JULY[1])
    fact(f"{MODEL} {trained.number} ({trained.reason})")
    if trained.champion:
        theirs = trained.champion["metrics"]
        fact(
            f"on {trained.holdout_days[0]} to {trained.holdout_days[1]}: "
            + ", ".join(
                f"{name} {trained.metrics[name]:.3f} against {theirs[name]:.3f}" for name in theirs
            )
        )
    fact(released.reason)
    log.log(COMMAND, released.command)
    return trained, released


def chapter(text: str) -> None:
    """Say a heading."""
    log.log(CHAPTER, text)


def fact(text: str) -> None:
    """Say a line that stays on the screen."""
    log.log(FACT, text)


def _said(days: Sequence[DayIngested]) -> str:
    rows, accepted = sum(d.ingested for d in days), sum(d.accepted for d in days)
    quarantined, changed = sum(d.quarantined for d in days), sum(d.changed for d in days)
    names = " and ".join(dict.fromkeys(day.dataset for day in days))
    return (
        f"{names}: {rows:,} ingested = {accepted:,} accepted + {quarantined} quarantined, "
        f"{len(days)} partitions, {changed} of them new"
    )


def _said_scored(days: Sequence[DayScored]) -> str:
    states = [day.state for day in days]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    tiers = ", ".join(sorted({day.isolation for day in days if day.isolation}))
    rows = sum(day.rows for day in days)
    return f"{len(days)} days ({counts or 'nothing to do'}), {rows:,} rows" + (
        f", isolation tier {tiers}" if tiers else ""
    )


def _said_realized(day: DayRealized) -> str:
    shown = [name for name in ("roc_auc", "brier") if name in day.metrics]
    metrics = ", ".join(f"{name} {day.metrics[name]:.3f}" for name in shown)
    return f"{day.date} by {day.number}: {metrics}; {day.coverage:.1%} of {day.rows} known"


def _say_drift(watch: Watch) -> None:
    window = watch.windows[-1]
    distances = ", ".join(
        f"{j.column} {j.distance} {j.value:.3f} (threshold {j.threshold:g}, {j.verdict})"
        for j in window.judgements
    )
    said = "no drift"
    if window.drifted:
        said = "drift that persists" if watch.fired else "drift, in one window so far"
    fact(f"{window.start} to {window.end}: {distances}: {said}")


def _realized(watches: Sequence[Watch]) -> list[dict[str, Any]]:
    days = {day.date: day for watch in watches for day in watch.realized}
    return [
        {
            "date": day.date.isoformat(),
            "version": day.number,
            "rows": day.rows,
            "coverage": day.coverage,
            **day.metrics,
        }
        for day in days.values()
    ]


def _watch(watch: Watch) -> dict[str, Any]:
    window = watch.windows[-1]
    return {
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "judgements": [asdict(judgement) for judgement in window.judgements],
        "fired": watch.fired,
    }


def _count(days: Sequence[DayIngested]) -> dict[str, dict[str, int]]:
    return {
        name: {
            "partitions": len(own),
            "ingested": sum(day.ingested for day in own),
            "accepted": sum(day.accepted for day in own),
            "quarantined": sum(day.quarantined for day in own),
        }
        for name in dict.fromkeys(day.dataset for day in days)
        for own in [[day for day in days if day.dataset == name]]
    }


def _count_scored(home: Home, days: Sequence[DayScored]) -> dict[str, Any]:
    """Count what readers of production see, and what this run did for it."""
    with home.open_registry() as registry:
        runs = show_version(registry, MODEL, "champion")["runs"]
    seen = {
        run["date"]: run["rows"]
        for run in runs
        if (run["variant"], run["state"]) == (PRODUCTION, "succeeded")
    }
    states = [day.state for day in days]
    return {
        "days": len(seen),
        "rows": sum(seen.values()),
        "states": {state: states.count(state) for state in dict.fromkeys(states)},
    }


def _show(home: Home) -> dict[str, Any]:
    with home.open_registry() as registry:
        return show_model(registry, MODEL)
