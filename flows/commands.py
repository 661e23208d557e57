"""Commands that change something: each runs its flow at a Prefect server and prints the result."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from itertools import groupby
from typing import Any

from flows.run.place import current_home
from flows.screen.console import log, out, print_facts, print_json, print_table
from flows.screen.evidence import print_verification
from flows.screen.logs import CHAPTER
from flows.screen.text import show
from flows.server.at_server import announce, at_server, flow_run, no_heartbeat
from tasks.home import Home
from tasks.planning import TO_DO, PlannedDay, plan_backfill


def run_demo(as_json: bool, shifted: bool = False) -> None:
    """Run the whole lifecycle and show what came of it; then have flights of these days ready."""
    from flows.demo_report import print_report
    from tasks.example import seed_flights

    home = current_home()
    home.require_lab()
    home.open_registry().close()  # a wrong address is told before a server is started
    with at_server("seeding the example's database") as server:
        prepare_home(home)
        if home.registry_is_elsewhere:
            log.warning(
                "the demo's approvals are names only, and go into the shared registry %s",
                home.registry_shown,
            )
        log.log(CHAPTER, "1. An online database: the flights of 2013, some broken on purpose")
        seeded = seed_flights(home.root / "online.db", log.info)
        from flows.lifecycle import lifecycle

        with no_heartbeat(server):
            summary = lifecycle(seeded)
        if shifted:
            from tasks.example_shift import shift_flights

            found = shift_flights(home.root / "online.db", datetime.now().astimezone().date())
            log.log(
                CHAPTER,
                "Flights of these days: 2013 again, %s weeks later, %s to %s",
                found.weeks,
                found.first,
                found.last,
            )
    if as_json:
        print_json(summary)
    else:
        print_report(summary, home)


def prepare_home(home: Home) -> None:
    """Give a new home the example's own policy, which a machine without bubblewrap can meet."""
    own = home.root / "policy.toml"
    if not own.exists():
        shutil.copyfile(home.lab.parent / "deployments" / "policy-demo.toml", own)


def run_ingest(dataset: str, start: date, end: date, as_json: bool) -> None:
    """Ingest a range and show each day."""
    from tasks.datasets import load_dataset

    load_dataset(current_home().lab, dataset)  # a wrong name is told before a server is started
    with flow_run(f"ingesting {dataset}"):
        from flows.ingest import ingest

        days = ingest(dataset, start, end)
    if as_json:
        print_json([asdict(day) for day in days])
        return
    columns = ["date", "ingested", "accepted", "quarantined", "state", "digest"]
    rows = [
        (
            day.date,
            day.ingested,
            day.accepted,
            day.quarantined,
            "new" if day.changed else "unchanged",
            day.partition_digest[:12],
        )
        for day in days
    ]
    print_table(f"{dataset}: ingested = accepted + quarantined", columns, rows)


def run_train(
    model: str, until: date | None, parent: str | None, notes: str, as_json: bool
) -> None:
    """Train a version and show how it was judged."""
    from tasks.model_folder import load_model_folder

    load_model_folder(current_home().lab, model)
    with flow_run(f"training {model}"):
        from flows.train import train

        trained = train(model, until, parent, notes)
    if as_json:
        print_json(asdict(trained))
        return
    print_facts(
        [
            ("version", f"{model} {trained.number}"),
            ("state", "registered" if trained.new else "registered before, from the same inputs"),
            ("number because", trained.reason),
            ("digest", trained.digest),
            ("learned from", "{} to {}, {} days".format(*trained.train_days)),
            ("judged on", "{} to {}, {} days".format(*trained.holdout_days)),
        ]
    )
    rows = [(c["name"], "passed" if c["passed"] else "FAILED", c["detail"]) for c in trained.checks]
    print_table("Evaluation", ["check", "verdict", "found"], rows)
    out.print(f"Next: pilotline release {model} {trained.number}")


def run_decision(
    model: str,
    version: str,
    gate: str,
    decision: str,
    approver: str,
    code: str | None,
    comment: str,
    as_json: bool,
) -> None:
    """Record a decision and say what comes next."""
    from flows.gate.late import refuse_stale, say_earlier
    from flows.gate.waking import ended_undecided, try_to_wake
    from registry.approvals import Decision
    from registry.approvers import Presence
    from registry.names import same_person
    from tasks.gates import record_decision

    home = current_home()
    announce(home)
    if decision == "approve":
        refuse_stale(home, model, version, gate)
    said = Decision(gate, decision, approver, comment)
    presence = Presence(approver, code) if code else None
    decided = record_decision(home, model, version, said, presence)
    woken = try_to_wake(home, model, version)
    if as_json:
        print_json(asdict(decided))
        return
    if not decided.new and not same_person(decided.by, approver):
        out.print(f"{model} {version}: {say_earlier(gate, approver, decided.by)}.", markup=False)
        return
    word = {"approve": "approved", "reject": "rejected"}[decision]
    before = "" if decided.new else " already"
    out.print(
        f"{model} {version} {word}{before} at {gate} by {show(approver)} ({decided.identity}).",
        markup=False,
    )
    if not decided.new and decided.comment != comment:
        out.print(
            f"The first decision stays, and its comment: {show(decided.comment)}", markup=False
        )
    if woken:
        out.print("The release that waited for it in the Prefect UI goes on.")
    elif decision == "approve":
        if ended_undecided(home, model, version):
            out.print("The release that waited for it ended at its deadline; it takes a new one.")
        out.print(f"Next: pilotline release {model} {version}")


def run_release(
    model: str, version: str, effective_from: datetime | None, break_consumers: str, as_json: bool
) -> int:
    """Advance a release; return the exit status."""
    from flows.run.telling import deliver_due

    _check_version(model, version)
    with flow_run(f"releasing {model} {version}"):
        from flows.release import release

        released = release(model, version, effective_from, break_consumers)
    if released.state == "champion":
        deliver_due()
    if as_json:
        print_json(asdict(released))
    else:
        if released.verification:
            _print_evidence(model, version)
        out.print(f"{model} {version}: {show(released.reason)}", markup=False)
        if released.command:
            out.print(f"Next: {released.command}", markup=False)
        if released.state != "champion":
            _print_way_back(model, version)
    return 0 if released.state in ("champion", "waiting") else 1


def _print_way_back(model: str, version: str) -> None:
    """Say that the champion before needs no release."""
    from registry.promotions import champion_before
    from registry.reigns import reigns
    from tasks.gates import asks_for_code

    home = current_home()
    with home.open_registry() as registry, registry.read() as session:
        if champion_before(session, model) != version:
            return
        present = reigns(session, model)[-1].number
    code = " --by NAME --code CODE" if asks_for_code(home, model, present) else ""
    out.print(f"It was champion before: pilotline rollback {model}{code} --reason TEXT goes back.")


def run_verify(model: str, version: str, as_json: bool) -> int:
    """Verify a version; return the exit status."""
    _check_version(model, version)
    with flow_run(f"verifying {model} {version}"):
        from flows.verify import verify

        verified = verify(model, version)
    if as_json:
        print_json(asdict(verified))
    else:
        title = f"{model} {version} on {verified.platform}, isolation {verified.isolation}"
        print_verification(title, asdict(verified))
    return 0 if verified.passed else 1


def _print_evidence(model: str, version: str) -> None:
    """Print what go-live is decided on, out of the registry's record."""
    from tasks.catalogue import show_version

    with current_home().open_registry() as registry:
        found = show_version(registry, model, version)["verification"]
    if found is not None:
        title = f"Verified on {found['platform']}, isolation {found['isolation']}"
        print_verification(title, found)


def run_score(model: str, day: date, shadow: str | None, as_json: bool) -> int:
    """Score one day; return the exit status."""
    result = _find_unchanged(model, day, shadow)
    if result is None:
        with flow_run(f"scoring {model} {day}"):
            from flows.score import score

            result = score(model, day, shadow)
    if as_json:
        print_json(asdict(result))
    else:
        facts: list[tuple[str, object]] = [
            ("day", day),
            ("state", result.state),
            ("version", f"{model} {result.scorers}"),
            ("variant", f"shadow/{result.number}" if shadow else "production"),
            ("run", result.run_id),
            ("rows", result.rows),
            ("isolation", f"tier {result.isolation}" if result.isolation else None),
        ]
        if result.reason:
            facts.append(("reason", result.reason))
        print_facts([*facts, *_describe_resources(result.resources or {})])
    return 1 if result.state == "failed" else 0


def _describe_resources(used: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return what a run used, in words with units; nothing for a day that was left as it is."""
    if not used:
        return []
    times = (
        "{wall_s:.2f} s from claim to commit, of it {start_s:.2f} s start and {predict_s:.2f} s "
        "predict; {build_s:.2f} s environment before"
    )
    memory = "{child_peak_mib:.0f} MiB child, {parent_peak_mib:.0f} MiB parent"
    return [
        ("time", times.format(**used)),
        ("memory", memory.format(**used)),
        ("data", f"{used['bytes_in']:,} bytes in, {used['bytes_out']:,} bytes out"),
    ]


def run_backfill(
    model: str,
    start: date,
    end: date,
    using: str,
    learned: bool,
    reason: str,
    only_plan: bool,
    as_json: bool,
) -> int:
    """Backfill a range, its plan shown first; return the exit status."""
    planned = _plan(model, start, end, using, learned, reason)
    if not as_json:
        columns = ["date", "days", "state", "version", "reason"]
        print_table(f"Plan for {model}", columns, _in_spans(planned))
    elif only_plan:
        print_json([asdict(day) for day in planned])
    if only_plan:
        return 0
    done: list[Any] = []
    if any(day.state in TO_DO for day in planned):
        with flow_run(f"backfilling {model}"):
            from prefect.exceptions import CancelledRun

            from flows.backfill import backfill

            try:
                planned, done = backfill(model, start, end, using, learned, reason)
            except CancelledRun as cancelled:
                log.warning("cancelled: %s; run it again to go on", cancelled)
                return 1
    blocked = [day for day in planned if day.state == "blocked"]
    if as_json:
        print_json({"plan": [asdict(d) for d in planned], "done": [asdict(d) for d in done]})
    elif not done:
        out.print("Nothing to score.")
    else:
        scored = [(day.date, day.state, day.number, day.rows, day.reason) for day in done]
        columns = ["date", "state", "version", "rows", "reason"]
        print_table(f"Done for {model}", columns, scored)
    return 1 if blocked or any(day.state == "failed" for day in done) else 0


def _in_spans(planned: Sequence[PlannedDay]) -> list[tuple[object, ...]]:
    """Return the plan's rows for people: days in a row of which the same is said share one."""

    def said(day: PlannedDay) -> tuple[str, str, str]:
        return day.state, day.number, day.reason.replace(str(day.date), "")

    rows: list[tuple[object, ...]] = []
    for _, alike in groupby(planned, said):
        days = list(alike)
        first, last = str(days[0].date), str(days[-1].date)
        span = first if first == last else f"{first} to {last}"
        reason = days[0].reason.replace(first, span)
        rows.append((span, len(days), days[0].state, days[0].number or "-", reason))
    return rows


def _plan(
    model: str, start: date, end: date, using: str, learned: bool, reason: str
) -> Sequence[PlannedDay]:
    """Return the plan without a server: planning reads the registry only."""
    from tasks.job import load_champion

    with current_home().open_registry() as registry:
        dataset = load_champion(registry, model).spec.input
        return plan_backfill(registry, model, dataset, start, end, using, learned, reason)


def _check_version(model: str, version: str) -> None:
    from registry.versions import get_version

    with current_home().open_registry() as registry, registry.read() as session:
        get_version(session, model, version)


def _find_unchanged(model: str, day: date, shadow: str | None) -> Any:
    """Return a day that needs no scoring, None for one that does.

    A wrong model, version or day is told here, before a server is started.
    """
    from registry.references import resolve
    from tasks.bundle import load_bundle
    from tasks.job import check_record, plan_job, plan_production
    from tasks.scoring import find_unchanged

    with current_home().open_registry() as registry:
        if not shadow:
            return find_unchanged(registry, plan_production(registry, model, ""), day)
        with registry.read() as session:
            version = resolve(session, model, shadow)
        check_record(registry, version)
        job = plan_job(load_bundle(registry, version), f"shadow/{version.number}", "")
        return find_unchanged(registry, job, day)
