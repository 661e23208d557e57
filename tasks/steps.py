"""The steps as Prefect tasks: each opens the registry, does one thing and closes it again."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from registry import Registry
from registry.aliases import set_challenger
from registry.approvals import latest_decision, live_approval
from registry.errors import UnknownModelError
from registry.failpoints import reach
from registry.models import get_model
from registry.policy import Policy
from registry.promotions import Wish, promote
from registry.references import look_up, resolve
from registry.reigns import Reign
from registry.resolution import serving_champion
from registry.runs import PRODUCTION, get_run
from registry.statuses import deprecated_warning
from registry.store import Session
from registry.verifications import passed_verification
from registry.versions import ModelVersion, get_version, list_versions, status_of, version_by_id
from tasks.bundle import load_bundle
from tasks.challenge import face_champion, require_compared
from tasks.crews import PrefectCrew
from tasks.datasets import load_dataset
from tasks.errors import NothingToDoError
from tasks.gates import policy_of
from tasks.home import Home
from tasks.ingestion import DayIngested, ingest_days
from tasks.job import Job, check_record, load_champion, plan_job, plan_production
from tasks.logs import about
from tasks.model_folder import ModelFolder, load_model_folder
from tasks.monitoring import Watch, monitor_model
from tasks.own_metrics import own_judge
from tasks.planning import TO_DO, PlannedDay, plan_backfill
from tasks.replaying import Replayed, replay_run
from tasks.retraining import Evidence, request_retraining
from tasks.scoring import DayScored, score_days
from tasks.scoring_rules import load_rules
from tasks.sources import open_source
from tasks.staleness import Stale, find_stale
from tasks.takeovers import list_left
from tasks.tiers import tier_for, warn_once
from tasks.training import Trained, train_version
from tasks.validation import Validator
from tasks.verification import Verified, platform, verify_version
from tasks.version_contents import Request

log = logging.getLogger("pilotline")


@dataclass(frozen=True)
class Gate:
    """Where a version stands at one gate."""

    gate: str
    state: str  # approved, waiting or rejected
    by: str = ""
    comment: str = ""
    approvers: tuple[str, ...] = ()  # who may decide
    identity: str = ""  # how they must show that it is them


@task(cache_policy=NO_CACHE)
def ingest_range(
    home: Home, name: str, start: date, end: date, tell: Callable[[DayIngested], None]
) -> list[DayIngested]:
    """Bring the days of a range in, oldest first, the checks set up once.

    Args:
        home: the home.
        name: of the dataset.
        start: first day.
        end: last day, included.
        tell: told of each day that is in, also of those before one that is refused.

    Raises:
        NothingToDoError: the range is empty.
        PartitionRefusedError, SourceError, LakeError: a day failed; those before it are in.
    """
    dataset = load_dataset(home.lab, name)
    source = open_source(dataset, home.root)
    if end < start:
        raise NothingToDoError(
            f"Ingest of {name!r}", f"{end} is before {start}", "Swap --start and --end."
        )
    validator = Validator(dataset)
    done = []
    with home.open_registry() as registry:
        days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
        for result in ingest_days(dataset, source, validator, days, registry, home.lake):
            done.append(result)
            tell(result)
            with about(date=result.date):
                log.info(
                    "%s %s: %s accepted, %s quarantined",
                    name,
                    result.date,
                    result.accepted,
                    result.quarantined,
                )
                if result.note:
                    log.warning("%s %s: %s", name, result.date, result.note)
    return done


@task(cache_policy=NO_CACHE)
def train_from_lab(
    home: Home, name: str, until: date | None, parent: str | None, notes: str
) -> Trained:
    """Train what the lab's folder says and register it."""
    folder = load_model_folder(home.lab, name)
    return _train(home, folder, until, parent, notes)


@task(cache_policy=NO_CACHE)
def train_from_champion(home: Home, name: str, until: date) -> Trained:
    """Train the champion's own scripts, configuration and lock, out of its manifest, again."""
    with home.open_registry() as registry:
        bundle = load_champion(registry, name)
    trained = _train(home, bundle.folder, until, "champion", "")
    with home.open_registry() as registry, registry.write() as session:
        version = get_version(session, name, trained.number)
        if version.id != bundle.version.id:
            set_challenger(session, version, f"retrained from {bundle.version.number}")
    return trained


def _train(
    home: Home, folder: ModelFolder, until: date | None, parent: str | None, notes: str
) -> Trained:
    name, tier = folder.spec.name, tier_for(home, folder)
    with home.open_registry() as registry:
        with registry.read() as session:
            try:
                current = serving_champion(session, name)
            except UnknownModelError:
                current = None
            origin = _parent(session, name, parent)
        own = load_bundle(registry, origin) if origin else None
        theirs = load_bundle(registry, current) if current else None
        request = Request(folder, until, notes, own, theirs)
        return train_version(registry, home, tier, request, log.info)


def _parent(session: Session, name: str, parent: str | None) -> ModelVersion | None:
    """Return what a version descends from: what is named, else the latest approved one."""
    if parent is not None:
        return look_up(session, name, parent)  # also one that must not run any more
    try:
        model = get_model(session, name)
    except UnknownModelError:
        return None
    versions = list_versions(session, model.id)
    approved = [v for v in versions if status_of(session, v) == "approved"]
    return max(approved or versions, key=lambda v: v.id, default=None)


@task(cache_policy=NO_CACHE)
def check_evaluation(home: Home, name: str, number: str) -> list[dict[str, Any]]:
    """Return the evaluation's checks that failed; none means the version may be reviewed.

    Where another one became champion since it was trained, it is compared with that first.

    Raises:
        VersionUnfitError: it cannot be compared with the champion any more.
    """
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        evaluation = face_champion(registry, home, version, log.info)
    return [check for check in evaluation["checks"] if not check["passed"]]


@task(cache_policy=NO_CACHE)
def read_gate(home: Home, name: str, number: str, gate: str) -> Gate:
    """Return where the version stands at ``gate``, from the recorded decisions alone."""
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        policy = policy_of(home, registry, version)
        with registry.read() as session:
            return _read_gate(session, version, gate, policy)


def _read_gate(session: Session, version: ModelVersion, gate: str, policy: Policy) -> Gate:
    last = latest_decision(session, version, gate)
    if last is not None and last.decision == "reject":
        return Gate(gate, "rejected", last.approver, last.comment)
    live = live_approval(session, version, gate, policy)
    if live is None:
        return Gate(gate, "waiting", approvers=policy.approvers[gate], identity=policy.identity)
    return Gate(gate, "approved", live.approver, live.comment)


@task(cache_policy=NO_CACHE)
def verify(home: Home, name: str, number: str, again: bool = False) -> Verified:
    """Verify the version here, unless it passed here before and ``again`` is not asked for."""
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
            passed = passed_verification(session, version, platform())
        policy = policy_of(home, registry, version)
        if passed is not None and policy.takes_isolation(passed.isolation) and not again:
            return Verified(number, True, passed.summary, [], passed.isolation, passed.platform)
        tier = tier_for(home, load_bundle(registry, version).folder)
        return verify_version(registry, home, tier, version, log.info)


@task(cache_policy=NO_CACHE)
def promote_version(home: Home, name: str, number: str, wish: Wish) -> Reign:
    """Make the version champion, consuming its approvals, and tell its consumers."""
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        check_record(registry, version)
        policy = policy_of(home, registry, version)
        with registry.write() as session:
            require_compared(registry, session, version)  # the champion may have changed just now
            reign = promote(session, name, number, policy, platform(), wish)
        reach("promote: committed")
    return reign


@task(cache_policy=NO_CACHE)
def is_champion(home: Home, name: str, number: str) -> bool:
    """Tell whether the version is champion already.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
    """
    with home.open_registry() as registry, registry.read() as session:
        version = get_version(session, name, number)
        current = serving_champion(session, name)
        return current is not None and current.id == version.id


@task(cache_policy=NO_CACHE)
def score_production(home: Home, name: str, days: Sequence[date], trigger: str) -> list[DayScored]:
    """Score days with the champion; what readers of production see."""
    with home.open_registry() as registry:
        return _score(registry, home, plan_production(registry, name, trigger), days)


def _score(
    registry: Registry,
    home: Home,
    job: Job,
    days: Sequence[date],
    go_on: Callable[[Sequence[DayScored]], bool] = lambda done: True,
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
        crew = PrefectCrew(home, load_rules(home.policy_path))
        return score_days(registry, home, tier, job, days, log.info, crew, go_on)


@task(cache_policy=NO_CACHE)
def score_shadow(home: Home, name: str, day: date, reference: str) -> list[DayScored]:
    """Score a day with any version beside production, into a variant of its own."""
    with home.open_registry() as registry:
        with registry.read() as session:
            version = resolve(session, name, reference)
        check_record(registry, version)
        job = plan_job(load_bundle(registry, version), f"shadow/{version.number}", "score")
        return _score(registry, home, job, [day])


@task(cache_policy=NO_CACHE)
def make_plan(
    home: Home,
    name: str,
    start: date,
    end: date,
    using: str,
    include_training_days: bool = False,
    reason: str = "",
) -> list[PlannedDay]:
    """Return what a backfill would do, day by day."""
    with home.open_registry() as registry:
        dataset = load_champion(registry, name).spec.input
        return plan_backfill(
            registry, name, dataset, start, end, using, include_training_days, reason
        )


@task(cache_policy=NO_CACHE)
def run_plan(
    home: Home,
    name: str,
    plan: Sequence[PlannedDay],
    reason: str = "",
    go_on: Callable[[Sequence[DayScored]], bool] = lambda done: True,
) -> list[DayScored]:
    """Score what the plan leaves to do: one environment and one child for each version.

    Args:
        home: the home.
        name: the model.
        plan: what is to be done.
        reason: why another version than the present champion may replace what a third one made.
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

    with home.open_registry() as registry:
        for number, days in todo.items():
            if not wanted:
                break
            with registry.read() as session:
                version = get_version(session, name, number)
            check_record(registry, version)
            job = plan_job(load_bundle(registry, version), PRODUCTION, "backfill", reason)
            done = _score(registry, home, job, days, tell)
            results += _score_left(registry, home, job, done, tell) if wanted else done
    return sorted(results, key=lambda result: result.date)


def _score_left(
    registry: Registry,
    home: Home,
    job: Job,
    done: Sequence[DayScored],
    tell: Callable[[Sequence[DayScored]], bool],
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
        results |= {day.date: day for day in _score(registry, home, job, days, tell)}
        why = "another process took it over and did not finish it; run the command again"
        results |= {day: replace(results[day], state="failed", reason=why) for day in left()}
    return list(results.values())


@task(cache_policy=NO_CACHE)
def monitor_days(home: Home, name: str, day: date) -> Watch:
    """Judge the champion up to ``day``: realized performance, and drift over windows."""
    with home.open_registry() as registry:
        bundle = load_champion(registry, name)
        job = plan_job(bundle, PRODUCTION, "monitor")
        actuals = load_dataset(home.lab, bundle.spec.actuals)
        inputs = load_dataset(home.lab, bundle.spec.input)
        said = about(version=bundle.version.number)
        with said, own_judge(registry, home, tier_for(home, bundle.folder), bundle) as judge:
            return monitor_model(registry, home, job, actuals, inputs, day, judge)


@task(cache_policy=NO_CACHE)
def check_staleness(home: Home, name: str, day: date) -> list[Stale]:
    """Return what the champion lives on and is too old on ``day``, and record it."""
    with home.open_registry() as registry:
        return find_stale(registry, load_champion(registry, name), day)


@task(cache_policy=NO_CACHE)
def ask_to_retrain(home: Home, name: str, until: date) -> Evidence:
    """Record a retraining if the champion's policy allows it."""
    with home.open_registry() as registry:
        return request_retraining(registry, home, load_champion(registry, name), until)


@task(cache_policy=NO_CACHE)
def replay(home: Home, run_id: str) -> Replayed:
    """Score a run again from the record alone and compare; nothing is written."""
    with home.open_registry() as registry:
        with registry.read() as session:
            version = version_by_id(session, get_run(session, run_id).version_id)
        bundle = load_bundle(registry, version)
        with about(model=bundle.spec.name, version=version.number, run=run_id):
            tier = tier_for(home, bundle.folder)
            return replay_run(registry, home, tier, run_id, log.info)
