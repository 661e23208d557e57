"""The plan of a backfill."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import UnknownModelError, UnknownVersionError, VersionUnfitError
from pilotline.registry.gates.approvals import Decision, decide
from pilotline.registry.gates.promotions import promote
from pilotline.registry.record.models import ModelFacts
from pilotline.registry.record.numbering import Step
from pilotline.registry.record.verifications import Verification, record_verification
from pilotline.registry.record.versions import ModelVersion, NewVersion, enter_version
from pilotline.registry.runs.ingests import Ingest, get_partition, record_ingest
from pilotline.registry.runs.runs import (
    Claim,
    Ending,
    claim_partition,
    end_run,
    get_run,
    outcome_of,
)
from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.days import ingest_day
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.datasets import Dataset
from pilotline.tasks.lab.policy import factory_policy
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.plan import PlannedDay, plan_backfill
from pilotline.tasks.sources.opening import open_source
from tests.support.tasks.calls import Score

DAY = date(2013, 1, 14)
LAST = date(2013, 1, 22)


def plan(registry: Registry, start: date, end: date, using: str) -> list[PlannedDay]:
    """Return the plan for the example's model."""
    return plan_backfill(registry, "flight-delay", "flights", start, end, using)


def test_each_day_is_done_missing_failed_stale_or_blocked(
    home: Home,
    registry: Registry,
    job: Job,
    score: Score,
    flights: Dataset,
    validator: Validator,
    change_model: Callable[[str], Job],
) -> None:
    days = [DAY + timedelta(days=n) for n in range(4)]
    score(*days[:2])
    broken = "def load(folder): return None\ndef predict(model, data): raise ValueError('no')\n"
    score(days[2], job=change_model(broken))
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        changed = "update flights set hour = 5 where flight_date = ? and flight = 1"
        database.execute(changed, (days[1].isoformat(),))
    ingest_day(flights, open_source(flights, home.root), validator, days[1], registry, home.lake)
    planned = plan(registry, DAY, days[-1], "champion")
    assert [day.state for day in planned] == ["done", "stale", "failed", "missing"]
    assert [day.number for day in planned] == ["1.0.0"] * 4
    assert planned[1].reason == "its rows changed since"
    assert planned[2].reason.startswith("Model 'flight-delay': predict raised ValueError: no.")
    assert [day.state for day in plan(registry, LAST, LAST + timedelta(days=1), "1.0.0")] == [
        "missing",
        "blocked",
    ]


def test_a_day_not_ingested_is_blocked_and_says_so(registry: Registry) -> None:
    (day,) = plan(registry, date(2014, 1, 1), date(2014, 1, 1), "champion")
    blocked = PlannedDay(date(2014, 1, 1), "blocked", "", "flights 2014-01-01 is not ingested")
    assert day == blocked


def promote_second(registry: Registry, home: Home, job: Job) -> ModelVersion:
    """Return a second version, champion after the example's first."""
    with registry.write() as session:
        facts = ModelFacts("flight-delay", "operations", "", ())
        new = NewVersion(
            facts,
            "author@example.org",
            "9" * 64,
            "8" * 64,
            job.bundle.version,
            Step("minor", ("code changed",)),
            (),
            {},
        )
        version, _ = enter_version(session, new)
    review = Decision("review", "approve", "reviewer@example.org", "read")
    with registry.write() as session:
        decide(session, "flight-delay", version.number, review, factory_policy(home))
    with registry.write() as session:
        passed = Verification(
            passed=True, summary="", report_digest="7" * 64, platform="here", isolation="A"
        )
        record_verification(session, version, passed)
    live = Decision("go-live", "approve", "operations@example.org", "read")
    with registry.write() as session:
        decide(session, "flight-delay", version.number, live, factory_policy(home))
        promote(session, "flight-delay", version.number, factory_policy(home), "here")
    return version


def test_a_day_shown_by_another_version_is_to_be_scored_again(
    registry: Registry, job: Job, score: Score, home: Home
) -> None:
    score(DAY)
    promote_second(registry, home, job)
    (day,) = plan(registry, DAY, DAY, "champion")
    assert (day.state, day.number, day.reason) == ("other version", "1.1.0", "replaces 1.0.0")
    (fixed,) = plan(registry, DAY, DAY, "1.0.0")
    assert fixed.state == "done"


def test_what_the_champion_made_is_replaced_by_an_earlier_one_only_with_a_reason(
    registry: Registry, job: Job, score: Score, home: Home
) -> None:
    (first,) = score(DAY)
    second = promote_second(registry, home, job)
    with registry.write() as session:
        digest = get_partition(session, "flights", DAY).partition_digest
        claim = Claim("production", "flights", DAY, digest, 3, "c" * 64, "A", "score")
        run = claim_partition(session, second, claim)
        end_run(session, run, Ending("succeeded", first.rows, table_version=2))
    (blocked,) = plan(registry, DAY, DAY, "1.0.0")
    assert (blocked.state, blocked.number) == ("blocked", "")
    assert blocked.reason == "shows 1.1.0, and 1.0.0 is not champion now (--reason TEXT)"
    (refused,) = score(DAY)
    assert (refused.state, refused.run_id) == ("failed", "")
    assert "they are by 1.1.0, and 1.0.0 is not the champion now" in refused.reason
    why = "1.1.0 read a wrong calendar"
    args = (registry, "flight-delay", "flights", DAY, DAY, "1.0.0", False, why)
    assert [day.state for day in plan_backfill(*args)] == ["other version"]
    (done,) = score(DAY, job=replace(job, reason=why))
    assert done.state == "succeeded"
    with registry.read() as session:
        outcome = outcome_of(session, get_run(session, done.run_id))
    assert outcome is not None
    assert outcome.reason == why


def test_as_of_takes_each_day_s_own_champion(registry: Registry) -> None:
    """The version became champion when the test ran: after 2013 and before 2099."""
    later = date(2099, 1, 1)
    with registry.write() as session:
        ingest = Ingest(
            dataset="flights",
            date=later,
            token="t",
            partition_digest="d" * 64,
            table_version=1,
            accepted=1,
            quarantined=0,
        )
        record_ingest(session, ingest)
    (before,) = plan(registry, DAY, DAY, "as-of")
    assert (before.state, before.number) == ("blocked", "")
    assert before.reason == "no version was champion at the end of that day (UTC)"
    (after,) = plan(registry, later, later, "as-of")
    assert (after.state, after.number) == ("missing", "1.0.0")


def test_a_run_whose_process_died_leaves_its_day_to_be_done_again(
    registry: Registry, job: Job
) -> None:
    claim = Claim("production", "flights", DAY, "d" * 64, 1, "c" * 64, "A", "score")
    with registry.write() as session:
        run = claim_partition(session, job.bundle.version, claim)
    (day,) = plan(registry, DAY, DAY, "champion")
    assert (day.state, day.reason) == ("failed", "its last run left no outcome")
    with registry.write() as session:
        end_run(session, run, Ending("failed", reason=""))
    (day,) = plan(registry, DAY, DAY, "champion")
    assert (day.state, day.reason) == ("failed", "")


def test_an_empty_range_is_refused(registry: Registry) -> None:
    with pytest.raises(
        NothingToDoError,
        match=r"^Backfill of 'flight-delay': 2013-01-13 is before 2013-01-14\. Swap --start and",
    ):
        plan(registry, DAY, DAY - timedelta(days=1), "champion")


def test_what_may_not_be_resolved_is_refused(registry: Registry) -> None:
    with pytest.raises(UnknownVersionError):
        plan(registry, DAY, DAY, "7.0.0")
    with pytest.raises(UnknownModelError):
        plan_backfill(registry, "churn", "flights", DAY, DAY, "champion")


def test_a_version_never_promoted_may_not_write_production(registry: Registry, job: Job) -> None:

    with registry.write() as session:
        facts = ModelFacts("flight-delay", "operations", "", ())
        enter_version(
            session,
            NewVersion(facts, "author@example.org", "9" * 64, "8" * 64, None, None, (), {}),
        )
    with pytest.raises(VersionUnfitError, match="was never champion"):
        plan(registry, DAY, DAY, "2.0.0")


def test_days_the_version_was_trained_on_are_blocked_unless_asked_for(
    registry: Registry, job: Job
) -> None:
    learned, held_out = date(2013, 1, 10), date(2013, 1, 11)  # ten days, then three held out
    (blocked, missing) = plan(registry, learned, held_out, "champion")
    assert (blocked.state, blocked.reason) == (
        "blocked",
        "1.0.0 was trained on this day (--include-training-days)",
    )
    assert missing.state == "missing"
    asked = plan_backfill(registry, "flight-delay", "flights", learned, learned, "champion", True)
    assert [day.state for day in asked] == ["missing"]


def test_a_day_that_two_versions_shared_is_to_be_scored_again_by_the_champion(
    home: Home, registry: Registry, job: Job, score: Score
) -> None:
    (done,) = score(DAY)
    version = job.bundle.version
    new = NewVersion(
        facts=ModelFacts("flight-delay", "operations", "Late?", ("example",)),
        author="author@example.org",
        digest="b" * 64,
        training_key="c" * 64,
        parent=version,
        step=Step("patch", ("data changed",)),
        learned=(),
        metrics={},
    )
    with registry.write() as session:
        second, _ = enter_version(session, new)
        alone = get_run(session, done.run_id)
        claim = Claim(
            variant="production",
            dataset=alone.dataset,
            date=DAY,
            partition_digest=alone.partition_digest,
            table_version=alone.table_version,
            lock_digest=alone.lock_digest,
            isolation=alone.isolation,
            trigger="score",
            challenger_id=second.id,
            share="0.25",
        )
        end_run(session, claim_partition(session, version, claim), Ending("succeeded", done.rows))
    (planned,) = plan(registry, DAY, DAY, "champion")
    assert (planned.state, planned.number) == ("other version", "1.0.0")
    assert planned.reason == "replaces 1.0.0 and 1.0.1"


def test_the_reason_of_a_day_that_failed_excuses_no_other_day(
    registry: Registry,
    job: Job,
    score: Score,
    home: Home,
    change_model: Callable[[str], Job],
) -> None:
    """1.0.0 failed on the first day; the second one shows what the present champion made."""
    first, second = DAY, DAY + timedelta(days=1)
    score(first, job=change_model("def load(folder): return 1\ndef predict(m, d): raise OSError\n"))
    (shown,) = score(second)
    champion = promote_second(registry, home, job)
    with registry.write() as session:
        digest = get_partition(session, "flights", second).partition_digest
        claim = Claim("production", "flights", second, digest, 3, "c" * 64, "A", "score")
        run = claim_partition(session, champion, claim)
        end_run(session, run, Ending("succeeded", shown.rows, table_version=2))
    states = [day.state for day in plan(registry, first, second, "1.0.0")]
    assert states == ["failed", "blocked"]


def test_as_of_takes_the_champion_of_each_time_between_promotions(
    registry: Registry, home: Home, job: Job
) -> None:
    today = datetime.now(UTC).date()
    second = promote_second(registry, home, job)
    days = [DAY, today, today + timedelta(days=1)]
    with registry.write() as session:
        for day in days[1:]:
            ingest = Ingest(
                dataset="flights",
                date=day,
                token="t",
                partition_digest="d" * 64,
                table_version=1,
                accepted=1,
                quarantined=0,
            )
            record_ingest(session, ingest)
    found = {day.date: day.number for day in plan(registry, DAY, days[-1], "as-of")}
    assert [found[day] for day in days] == ["", second.number, second.number]
