"""Judge a model in production: realized performance, drift, challengers, staleness."""

import logging
from dataclasses import asdict, replace
from datetime import date
from math import isfinite

from prefect import flow

from pilotline.flows.run.artifacts import show_report
from pilotline.flows.run.deployed import deployed_run
from pilotline.flows.run.events import emit
from pilotline.flows.run.place import current_home
from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.monitor import Watch
from pilotline.tasks.monitor.steps import check_staleness, monitor_days

log = logging.getLogger("pilotline")


@flow(flow_run_name="monitor-{model}-{day}")
def monitor(model: str, day: date) -> Watch:
    """Return what was found up to ``day``; what is new of it is announced, each thing once.

    A run of a deployment announces drift each time it finds it.
    """
    home = current_home()
    stale = check_staleness(home, model, day)
    for one in stale:
        if one.new:
            facts = {"kind": one.kind, "since": str(one.since), "limit_days": one.limit}
            emit("staleness.detected", model, {**facts, "until": day.isoformat()})
    try:
        watch = replace(monitor_days(home, model, day), stale=stale)
    except NothingToDoError:
        for one in stale:  # why there is nothing to judge
            log.warning(one.said)
        raise
    _announce_missing(model, watch)
    _announce_compared(model, watch)
    # A run before may have recorded the drift and died before it told anybody; an automation that
    # hears it twice makes nothing happen twice.
    if watch.new or (watch.fired and deployed_run() is not None):
        _announce_drift(model, watch, day)
    show_report(home, model, day)
    return watch


def _announce_drift(model: str, watch: Watch, day: date) -> None:
    judged = [j for j in watch.windows[-1].judgements if isfinite(j.value)]
    found = [j for j in judged if j.watched and j.verdict == "drift"]
    strongest = max(found, key=lambda j: j.value / j.threshold)
    facts = asdict(strongest)
    names = ("column", "distance", "value", "threshold")
    payload = {name: facts[name] for name in names}
    emit("drift.detected", model, {"version": watch.number, "until": day.isoformat(), **payload})


def _announce_missing(model: str, watch: Watch) -> None:
    """Say which metrics could not be had: a reason to look, and never one to retrain."""
    for day in watch.realized:
        if day.alerted:
            facts = {"version": day.number, "variant": day.variant, "date": day.date.isoformat()}
            emit("metric.missing", model, {**facts, "missing": day.missing})
    for window in watch.windows:
        if window.alerted:
            facts = {"version": watch.number, "date": window.end.isoformat()}
            emit("metric.missing", model, {**facts, "missing": window.missing})


def _announce_compared(model: str, watch: Watch) -> None:
    for found in watch.compared:
        if found.new:
            facts = {"champion": found.champion, "challenger": found.challenger}
            words = {"verdict": found.verdict, "sentence": found.sentence()}
            emit("challenger.compared", model, {**facts, **words, "until": found.end.isoformat()})
