"""One scoring: a job's days, or what a plan leaves to do, in the isolation the policy asks for."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

from pilotline.registry import Registry
from pilotline.registry.gates import deprecated_warning, resolve
from pilotline.registry.record import get_version
from pilotline.registry.runs import PRODUCTION
from pilotline.tasks.home import Home
from pilotline.tasks.lab import ScoringRules, load_bundle, load_rules
from pilotline.tasks.logs import about
from pilotline.tasks.sandbox import tier_for, warn_once
from pilotline.tasks.score.days import DayScored, score_days
from pilotline.tasks.score.job import Job, check_record, plan_job
from pilotline.tasks.score.plan import TO_DO, PlannedDay
from pilotline.tasks.score.shards.cutting import Crew
from pilotline.tasks.score.takeovers import list_left

Crews = Callable[[Home, ScoringRules], Crew]  # gives those who score parts as the rules say
GoOn = Callable[[Sequence[DayScored]], bool]  # told what became of days; whether to do more

log = logging.getLogger("pilotline")


def score_job(
    registry: Registry,
    home: Home,
    job: Job,
    days: Sequence[date],
    crews: Crews,
    go_on: GoOn = lambda done: True,
) -> list[DayScored]:
    """Score ``days`` in the isolation, and with the workers, that the policy asks for.

    A deprecated version may do it, and says what it is.
    """
    with about(model=job.bundle.spec.name, version=job.bundle.version.number):
        with registry.read() as session:
            warnings = [deprecated_warning(session, bundle.version) for bundle in job.bundles]
        for warning in filter(None, warnings):
            warn_once(f"{warning}.")
        tier = tier_for(home, job.bundle.folder)
        crew = crews(home, load_rules(home))
        return score_days(registry, home, tier, job, days, log.info, crew, go_on)


def plan_shadow(registry: Registry, name: str, reference: str) -> Job:
    """Return the job of scoring with any version beside production, into a variant of its own.

    Raises:
        UnknownModelError, UnknownVersionError, VersionUnfitError: it is not there, or must not run.
        AuditError: the model's record contradicts itself.
    """
    with registry.read() as session:
        version = resolve(session, name, reference)
    check_record(registry, version)
    return plan_job(load_bundle(registry, version), f"shadow/{version.number}", "score")


def score_plan(
    registry: Registry,
    home: Home,
    name: str,
    plan: Sequence[PlannedDay],
    reason: str,
    crews: Crews,
    go_on: GoOn,
) -> list[DayScored]:
    """Score what the plan leaves to do: one environment and one child for each version.

    Args:
        registry: the registry.
        home: the home.
        name: the model.
        plan: what is to be done.
        reason: why another version than the present champion may replace what a third one made.
        crews: gives those who score the parts of a day that is cut.
        go_on: told what became of the days of each commit; returns whether to do more.
    """
    todo: dict[str, list[date]] = {}
    for planned in plan:
        if planned.state in TO_DO:
            todo.setdefault(planned.number, []).append(planned.date)
    results = []
    wanted = True

    def tell(done: Sequence[DayScored]) -> bool:
        nonlocal wanted
        wanted = go_on(done)
        return wanted

    for number, days in todo.items():
        if not wanted:
            break
        with registry.read() as session:
            version = get_version(session, name, number)
        check_record(registry, version)
        job = plan_job(load_bundle(registry, version), PRODUCTION, "backfill", reason)
        done = score_job(registry, home, job, days, crews, tell)
        results += _score_left(registry, home, job, done, crews, tell) if wanted else done
    return sorted(results, key=lambda result: result.date)


def _score_left(
    registry: Registry,
    home: Home,
    job: Job,
    done: Sequence[DayScored],
    crews: Crews,
    tell: GoOn,
) -> list[DayScored]:
    """Score once more the days that another process took over and did not finish.

    What two take from each other again fails, so that it is seen, and that this ends.
    """
    results = {day.date: day for day in done}

    def left() -> list[date]:
        lost = [day.date for day in results.values() if day.state == "superseded"]
        spec, number = job.bundle.spec, job.bundle.version.number
        return list_left(registry, spec.name, spec.input, number, lost, job.reason) if lost else []

    if days := left():
        log.warning("another process took %s days over and did not finish them", len(days))
        scored = score_job(registry, home, job, days, crews, tell)
        results |= {day.date: day for day in scored}
        why = "another process took it over and did not finish it; run the command again"
        results |= {day: replace(results[day], state="failed", reason=why) for day in left()}
    return list(results.values())
