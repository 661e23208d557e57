"""The profiles of scored days, as they were stored: a report reads no rows."""

from collections.abc import Sequence
from datetime import date

from pilotline.registry import Registry
from pilotline.registry.form import DigestMismatchError, MissingBlobError
from pilotline.registry.runs import (
    PRODUCTION,
    Run,
    RunOutcome,
    list_partitions,
    outcome_of,
    visible_runs,
)
from pilotline.tasks.lab import Bundle
from pilotline.tasks.stats import Profile, decode_profile


def load_profiles(
    registry: Registry, bundle: Bundle, start: date, end: date
) -> tuple[dict[date, Profile], int]:
    """Return each scored day's profile, and how many could not be read; reads only.

    It is that of the run which readers see, else that of the day as it was ingested. Predictions
    are in it where all of them are the version's own.
    """
    spec, version = bundle.spec, bundle.version
    with registry.read() as session:
        runs = visible_runs(session, version.model_id, PRODUCTION, start, end)
        outcomes = {day: outcome_of(session, run) for day, run in runs.items()}
        ingested = {p.date: p for p in list_partitions(session, spec.input, start, end)}
    found: dict[date, Profile] = {}
    for day, run in sorted(runs.items()):
        partition = ingested.get(day)
        names = [*spec.features, *(spec.predictions if _is_own(run, bundle) else ())]
        digests = (_digest(outcomes[day]), partition.profile_digest if partition else None)
        profile = _read(registry, digests, names, set(spec.features))
        if profile is not None:
            found[day] = profile
    return found, len(runs) - len(found)


def _is_own(run: Run, bundle: Bundle) -> bool:
    return run.version_id == bundle.version.id and run.challenger_id is None


def _digest(outcome: RunOutcome | None) -> str | None:
    return outcome.profile_digest if outcome else None


def _read(
    registry: Registry, digests: Sequence[str | None], names: Sequence[str], needed: set[str]
) -> Profile | None:
    for digest in digests:
        if digest is None:
            continue
        try:
            profile = decode_profile(registry.blobs.get(digest))
        except (ValueError, MissingBlobError, DigestMismatchError):
            continue
        if needed <= set(profile.columns):
            return profile.select(names)
    return None
