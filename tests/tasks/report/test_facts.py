"""A report's facts are what was done: each is counted outside of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import UnknownModelError
from pilotline.registry.record.events import append_event, list_events
from pilotline.registry.record.metrics import Metric, record_metric
from pilotline.registry.runs.ingests import get_partition
from pilotline.registry.runs.runs import Claim, Ending, claim_partition, end_run
from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.datasets import load_dataset
from pilotline.tasks.monitor.monitoring import Watch, monitor_model
from pilotline.tasks.monitor.versus import COMPARED
from pilotline.tasks.report.facts import gather_report
from pilotline.tasks.score.job import Job
from tests.tasks.conftest import DAYS, MODEL

FIRST, LAST = DAYS[13], DAYS[21]  # 14 and 22 January, the days that were scored


@pytest.fixture
def scored_registry(scored_home: Home) -> Iterator[Registry]:
    """Return the open registry of the scored home."""
    with scored_home.open_registry() as opened:
        yield opened


@pytest.fixture
def registry(scored_registry: Registry) -> Registry:
    """Return the same one to the fixtures that ask for it by this name."""
    return scored_registry


@pytest.fixture
def watch(scored_home: Home, registry: Registry, job: Job) -> Watch:
    """Return what monitoring found up to the last day."""
    actuals, inputs = (load_dataset(scored_home.lab, n) for n in ("arrivals", "flights"))
    return monitor_model(registry, scored_home, job, actuals, inputs, LAST)


def test_rows_are_those_of_the_source_and_of_the_table(
    scored_home: Home, registry: Registry
) -> None:
    report = gather_report(registry, scored_home, MODEL)
    assert (report.start, report.end) == (FIRST, LAST)
    with closing(sqlite3.connect(scored_home.root / "online.db")) as source:
        query = "select flight_date, count(*) from flights group by 1 having flight_date >= ?"
        counts = source.execute(query, (FIRST.isoformat(),)).fetchall()
    volume = report.operations.volume
    held = [(day.date.isoformat(), day.accepted + day.quarantined) for day in volume]
    assert held == counts
    assert [day.predicted for day in volume] == [day.accepted for day in volume]
    assert not any(day.stale for day in volume)


def test_runs_are_all_that_were_begun_with_what_they_used(
    scored_home: Home, registry: Registry
) -> None:
    facts = gather_report(registry, scored_home, MODEL).operations
    assert [(r.date, r.variant) for r in facts.runs] == [
        *((day, "production") for day in DAYS[13:]),
        (FIRST, "shadow/1.0.0"),
    ]
    # One child served production's nine days, another one the shadow's.
    assert sum(run.seconds["start"] > 0 for run in facts.runs) == 2
    assert all(run.seconds["predict"] > 0 for run in facts.runs)
    assert all(run.child_mib > 0 for run in facts.runs)
    assert facts.failures == []
    assert (
        facts.schedule == "0 2 * * * America/New_York, the data of the day before, wanted by 06:00"
    )


def test_performance_is_what_monitoring_recorded(
    scored_home: Home, registry: Registry, watch: Watch
) -> None:
    report = gather_report(registry, scored_home, MODEL)
    shown = {
        (series.metric, series.number, series.variant, day.date): (day.value, day.low, day.high)
        for series in report.series
        for day in series.days
    }
    for day in watch.realized:
        for name, value in day.metrics.items():
            low, high = day.intervals.get(name) or (None, None)
            assert shown[name, day.number, day.variant, day.date] == (value, low, high)
        assert shown["coverage", day.number, day.variant, day.date][0] == day.coverage
    assert report.series[0].metric == "roc_auc"  # the first one of model.toml


def test_drift_is_judged_as_monitoring_judges_it(
    scored_home: Home, registry: Registry, watch: Watch
) -> None:
    drift = gather_report(registry, scored_home, MODEL).drift
    assert drift.fired
    assert watch.fired
    for ours, theirs in zip(drift.windows[-2:], watch.windows, strict=True):
        assert (ours.start, ours.end, ours.days) == (theirs.start, theirs.end, theirs.days)
        assert ours.judgements == [*theirs.judgements, *theirs.others]
    assert [d.column for d in drift.distributions][:3] == ["probability", "dest", "distance"]


def test_drift_that_persists_is_an_alert_with_owner_and_command(
    scored_home: Home, registry: Registry
) -> None:
    questions = gather_report(registry, scored_home, MODEL).questions
    (found,) = [question for question in questions if question.title == "Drift persists"]
    assert (found.level, found.owner) == ("alert", "operations@example.org")
    assert found.command == f"pilotline train {MODEL} --until {LAST}"


def test_a_failed_last_run_and_a_stale_day_are_alerts(
    scored_home: Home, registry: Registry, job: Job
) -> None:
    with registry.write() as session:
        partition = get_partition(session, "flights", FIRST)
        claim = Claim("production", "flights", FIRST, "0" * 64, 1, "0" * 64, "A", "score")
        run = claim_partition(session, job.bundle.version, claim)
        end_run(session, run, Ending("succeeded", rows=100, table_version=1))
        assert partition.partition_digest != run.partition_digest
        claim = Claim("production", "flights", LAST, "0" * 64, 1, "0" * 64, "A", "score")
        run = claim_partition(session, job.bundle.version, claim)
        reason = "The disk is full.\nmore of the log"
        end_run(session, run, Ending("failed", reason=reason, resources={"build_s": 0.5}))
    report = gather_report(registry, scored_home, MODEL)
    found = {question.title: question for question in report.questions}
    failed = found["1 day's last run did not succeed"]
    assert failed.said.endswith("2013-01-22 production, failed: The disk is full.")
    assert failed.command.endswith("--start 2013-01-22 --end 2013-01-22 --using champion")
    assert found["1 day with stale predictions"].said.startswith("2013-01-14")
    (failure,) = report.operations.failures
    assert (failure.step, failure.state, failure.reason, failure.runs) == (
        "start",
        "failed",
        "The disk is full.",
        1,
    )


def test_what_is_too_old_is_an_alert_and_asking_records_nothing(
    scored_home: Home, registry: Registry
) -> None:
    def events() -> int:
        with registry.read() as session:
            return len(list_events(session, 1))

    before = events()
    report = gather_report(registry, scored_home, MODEL, end=LAST + timedelta(days=30))
    titles = [question.title for question in report.questions]
    assert {"No score", "Data late", "No actuals"} <= set(titles)
    assert events() == before


def test_a_range_is_kept_to(scored_home: Home, registry: Registry) -> None:
    report = gather_report(registry, scored_home, MODEL, DAYS[15], DAYS[16])
    assert {run.date for run in report.operations.runs} == {DAYS[15], DAYS[16]}
    assert [day.date for day in report.operations.volume] == [DAYS[15], DAYS[16]]
    assert [(w.start, w.end) for w in report.drift.windows] == [(DAYS[15], DAYS[16])]


def test_a_model_of_which_nothing_was_scored_has_a_report(home: Home) -> None:
    with home.open_registry() as unscored:
        report = gather_report(unscored, home, MODEL)
    assert report.operations.runs == []
    assert report.drift.windows == []
    assert report.end == LAST  # of what is ingested


def test_a_challenger_s_verdict_is_told_from_the_record(
    scored_home: Home, registry: Registry, job: Job
) -> None:
    record = {"better": ("roc_auc", 0.05, 0.01, 0.09), "worse": ("brier", 0.05, 0.01, 0.09)}
    # The standard error is 0.05: by Lachin 900 * (1.96 + 0.8416)**2 = 7,064.4 rows would tell.
    record["not yet known"] = ("brier_skill", 0.05, 0.05 - 1.96 * 0.05, 0.05 + 1.96 * 0.05)
    version = job.bundle.version
    with registry.write() as session:
        for number, (name, gap, low, high) in enumerate(record.values()):
            facts = {"start": FIRST, "end": LAST, "rows": 900, "basis": "0" * 64}
            ends = {"value": gap, "low": low, "high": high}
            variant = f"shadow/{number}"
            about = {"version_id": version.id, "kind": "versus", "name": name, "variant": variant}
            record_metric(session, Metric(**facts, **ends, **about))
            body = {"champion": "0.9.0", "challenger": "1.0.0", "variant": variant}
            append_event(session, version.model_id, COMPARED, body)
    found = gather_report(registry, scored_home, MODEL).versus
    assert [(v.verdict, v.gaps[0].verdict) for v in found] == [(v, v) for v in record]
    beside = "1.0.0 against champion 0.9.0 on the same 900 rows: "
    assert found[0].sentence == f"{beside}better by roc_auc, +0.0500 (+0.0100 to +0.0900)"
    assert "about 6,165 more rows would tell" in found[2].sentence


def test_a_report_needs_no_prices(scored_home: Home, registry: Registry) -> None:
    (scored_home.root / "costs.toml").write_text("not toml", "utf-8")
    assert gather_report(registry, scored_home, MODEL).operations.currency == ""


def test_costs_are_those_of_the_prices(scored_home: Home, registry: Registry) -> None:
    prices = 'currency = "EUR"\n[[price]]\ncpu_hour = 3600\ngib_hour = 0\n'
    (scored_home.root / "costs.toml").write_text(prices, "utf-8")
    facts = gather_report(registry, scored_home, MODEL).operations
    assert (facts.currency, facts.total.runs) == ("EUR", 10)
    assert facts.total.cost == pytest.approx(facts.total.cpu_s)


def test_an_unknown_model_is_named(scored_home: Home, registry: Registry) -> None:
    with pytest.raises(UnknownModelError, match="churn"):
        gather_report(registry, scored_home, "churn")


def test_a_range_of_nothing_is_refused(scored_home: Home, registry: Registry) -> None:
    with pytest.raises(NothingToDoError, match="is after its last"):
        gather_report(registry, scored_home, MODEL, LAST, FIRST)
    with pytest.raises(NothingToDoError, match="at most 3,660"):
        gather_report(registry, scored_home, MODEL, date(1900, 1, 1), LAST)
