"""Staleness: what a model lives on has become too old, counted in data dates."""

from dataclasses import dataclass, replace
from datetime import date

from pilotline.registry import Registry
from pilotline.registry.record import ModelVersion, append_event, list_events
from pilotline.registry.runs import first_shown_day, last_day, last_known_day, last_shown_day
from pilotline.tasks.lab import Bundle

STALE = "staleness detected"


@dataclass(frozen=True)
class Stale:
    """One thing that is older than the model's policy allows."""

    kind: str  # no score, no actuals, data late or version old
    since: date | None  # the last day there is; None: there is none
    days: int | None  # from then to the day asked for
    limit: int  # of model.toml [staleness]
    said: str
    new: bool  # this call was the first to see it


def find_stale(registry: Registry, bundle: Bundle, day: date) -> list[Stale]:
    """Return what is too old on ``day``, and record each once as an event.

    What goes on is one event; once it is mended and happens again it is another one, as it goes
    back to another day.
    """
    version = bundle.version
    return [
        replace(one, new=_record(registry, version, one.kind, one.since, day, one.limit))
        for one in list_stale(registry, bundle, day)
    ]


def list_stale(registry: Registry, bundle: Bundle, day: date) -> list[Stale]:
    """Return what is too old on ``day``; only days until then count; reads only."""
    version, limits = bundle.version, bundle.spec.staleness
    learned = bundle.json("data.json")["train"]["days"]
    with registry.read() as session:
        last: dict[str, tuple[date | None, int]] = {
            "no score": (last_shown_day(session, version.model_id, day), limits.no_score_days),
            "data late": (last_day(session, bundle.spec.input, day), limits.data_late_days),
            "version old": (date.fromisoformat(learned[-1]), limits.version_old_days),
        }
        # Where none ever came, an outcome is waited for since the first day that was scored.
        first = first_shown_day(session, version.model_id, day)
        known = last_known_day(session, version.model_id, bundle.spec.actuals, day) or first
    if known is not None:  # else there is nothing whose outcome could be known
        last["no actuals"] = (known, limits.no_actuals_days)
    found = []
    for kind, (since, limit) in last.items():
        days = None if since is None else (day - since).days
        if days is None or days > limit:
            said = _say(kind, bundle, since, days, limit)
            found.append(Stale(kind, since, days, limit, said, False))
    return found


def _say(kind: str, bundle: Bundle, since: date | None, days: int | None, limit: int) -> str:
    what = {
        "no score": "scored",
        "no actuals": "with actuals, or else the first one scored,",
        "data late": f"ingested of {bundle.spec.input!r}",
        "version old": f"that version {bundle.version.number} learned from",
    }[kind]
    if since is None:
        return f"{kind}: no day is {what}"
    return f"{kind}: the last day {what} is {since}, {days} days ago; at most {limit} are allowed"


def _record(
    registry: Registry,
    version: ModelVersion,
    kind: str,
    since: date | None,
    day: date,
    limit: int,
) -> bool:
    """Add the event, once for a version and the day that it goes back to."""
    last = since.isoformat() if since else None
    with registry.write() as session:
        for event in list_events(session, version.model_id, STALE):
            facts = event.facts()
            if (facts["digest"], facts["kind"], facts["since"]) == (version.digest, kind, last):
                return False
        body = {
            "version": version.number,
            "digest": version.digest,
            "kind": kind,
            "since": last,
            "until": day.isoformat(),
            "limit_days": limit,
        }
        append_event(session, version.model_id, STALE, body)
    return True
