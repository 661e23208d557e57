"""The retraining policy: whether a model may be retrained now, counted in data dates."""

from dataclasses import dataclass
from datetime import date, timedelta
from math import isfinite
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.form import digest_json
from pilotline.registry.record import Event, append_event, list_events
from pilotline.registry.store import Session
from pilotline.tasks.errors import RetrainingRefusedError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Bundle
from pilotline.tasks.monitor.monitoring import DETECTED
from pilotline.tasks.train import select_days

REQUESTED = "retraining requested"


@dataclass(frozen=True)
class Evidence:
    """Why a retraining was allowed."""

    until: date  # the last data date it may learn from
    drift_until: date  # the end of the windows that drifted
    new: bool


def request_retraining(registry: Registry, home: Home, bundle: Bundle, until: date) -> Evidence:
    """Record that ``bundle``'s model is to be retrained, if its policy allows it.

    Asking again for the same rows changes nothing: what is learned from is a set of partitions, not
    a day. Each request needs drift of the present champion that no request before it rested on, so
    that what a retraining brought about, a challenger that waits, asks for no further one.

    Raises:
        NothingToDoError: too few days are ingested to train.
        RetrainingRefusedError: no new drift was detected, or cooldown or cap stand against it.
    """
    name, rules = bundle.spec.name, bundle.spec.retraining
    model_id = bundle.version.model_id
    selection = select_days(registry, home, bundle.spec, until)
    learned = [
        [one.dataset, one.date.isoformat(), one.use, one.partition_digest]
        for one in selection.learned()
    ]
    partitions = digest_json(learned)
    with registry.write() as session:
        requests = [event.facts() for event in list_events(session, model_id, REQUESTED)]
        for facts in requests:
            if _is_same(facts, until, partitions):
                _refuse_other(name, facts, bundle)
                return Evidence(until, date.fromisoformat(facts["drift_until"]), new=False)
        drift = _last_drift(session, bundle, until, requests)
        asked = [date.fromisoformat(facts["until"]) for facts in requests]
        cooldown = timedelta(days=rules.cooldown_days)
        near = [day for day in asked if abs(until - day) < cooldown]
        if near:
            raise RetrainingRefusedError(
                name,
                f"one was asked for with data until {max(near)}",
                f"The cooldown of {cooldown.days} days ends with data of {max(near) + cooldown}.",
            )
        in_quarter = [day for day in asked if _quarter(day) == _quarter(until)]
        if len(in_quarter) >= rules.max_per_quarter:
            raise RetrainingRefusedError(
                name,
                f"{len(in_quarter)} in this quarter, at most {rules.max_per_quarter}",
                "Look at the model instead of training it once more.",
            )
        append_event(
            session,
            model_id,
            REQUESTED,
            {
                "version": bundle.version.number,
                "digest": bundle.version.digest,
                "until": until.isoformat(),
                "drift_until": drift.facts()["until"],
                "partitions": partitions,
                "evidence": {
                    "event": drift.hash,
                    "windows": drift.facts().get("windows", []),
                    "policy": vars(rules),
                },
            },
        )
    return Evidence(until, date.fromisoformat(drift.facts()["until"]), new=True)


def _is_same(facts: dict[str, Any], until: date, partitions: str) -> bool:
    """Tell whether a request was for these rows; early ones name the day alone."""
    if "partitions" not in facts:
        return bool(facts["until"] == until.isoformat())
    return bool(facts["partitions"] == partitions)


def _refuse_other(name: str, facts: dict[str, Any], bundle: Bundle) -> None:
    if facts["digest"] != bundle.version.digest:
        raise RetrainingRefusedError(
            name,
            f"these rows were learned from before, by a retraining of {facts['version']}",
            "Ingest newer days, or train from the lab.",
        )


def _last_drift(
    session: Session, bundle: Bundle, until: date, requests: list[dict[str, Any]]
) -> Event:
    """Return the last drift of this version until the day, beyond what requests rested on."""
    version, name = bundle.version, bundle.spec.name
    own = [
        event
        for event in list_events(session, version.model_id, DETECTED)
        if event.facts()["digest"] == version.digest
        and event.facts()["until"] <= until.isoformat()
        and _is_finite(event.facts())
    ]
    look = f"Look for it: 'pilotline monitor {name} --date {until}'."
    if not own:
        raise RetrainingRefusedError(
            name, f"no drift of version {version.number} was detected until {until}", look
        )
    used = [facts["drift_until"] for facts in requests if facts["digest"] == version.digest]
    last = max(own, key=lambda event: str(event.facts()["until"]))
    if used and last.facts()["until"] <= max(used):
        raise RetrainingRefusedError(
            name,
            f"the drift of version {version.number} until {max(used)} was answered by a request "
            f"before, and none was detected since until {until}",
            look,
        )
    return last


def _is_finite(facts: dict[str, Any]) -> bool:
    """Tell whether the windows say something: a number, for each that had to drift."""
    return all(
        any(isfinite(found["value"]) for found in window["judgements"])
        for window in facts.get("windows", [])
    )


def _quarter(day: date) -> tuple[int, int]:
    return day.year, (day.month - 1) // 3
