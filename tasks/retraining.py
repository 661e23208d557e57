"""The retraining policy: whether a model may be retrained now, counted in data dates."""

from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy.orm import Session

from registry import Registry
from registry.events import append_event, list_events
from tasks.bundle import Bundle
from tasks.errors import RetrainingRefusedError
from tasks.monitoring import DETECTED

REQUESTED = "retraining requested"


@dataclass(frozen=True)
class Evidence:
    """Why a retraining was allowed."""

    until: date  # the last data date it may learn from
    drift_until: date  # the end of the windows that drifted
    new: bool


def request_retraining(registry: Registry, bundle: Bundle, until: date) -> Evidence:
    """Record that ``bundle``'s model is to be retrained, if its policy allows it.

    Asking again for the same day changes nothing.

    Raises:
        RetrainingRefusedError: no drift was detected, or cooldown or cap stand against it.
    """
    name, rules = bundle.spec.name, bundle.spec.retraining
    model_id = bundle.version.model_id
    with registry.write() as session:
        drift_until = _last_drift(session, bundle, until)
        asked = [
            date.fromisoformat(event.facts()["until"])
            for event in list_events(session, model_id, REQUESTED)
        ]
        if until in asked:
            return Evidence(until, drift_until, new=False)
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
                "drift_until": drift_until.isoformat(),
            },
        )
    return Evidence(until, drift_until, new=True)


def _last_drift(session: Session, bundle: Bundle, until: date) -> date:
    found = [
        date.fromisoformat(event.facts()["until"])
        for event in list_events(session, bundle.version.model_id, DETECTED)
        if event.facts()["digest"] == bundle.version.digest
    ]
    usable = [day for day in found if day <= until]
    if not usable:
        raise RetrainingRefusedError(
            bundle.spec.name,
            f"no drift of version {bundle.version.number} was detected until {until}",
            f"Look for it: 'pilotline monitor {bundle.spec.name} --date {until}'.",
        )
    return max(usable)


def _quarter(day: date) -> tuple[int, int]:
    return day.year, (day.month - 1) // 3
