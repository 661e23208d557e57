"""The steps as tasks: each does one thing and closes the registry again."""

from datetime import date, timedelta

import pytest

from registry import Registry
from registry.aliases import aliases_of
from registry.promotions import Wish
from registry.versions import get_version
from tasks import steps
from tasks.bundle import load_manifest
from tasks.errors import NothingToDoError
from tasks.gates import retire_version
from tasks.home import Home
from tasks.job import Job

DAY, LAST = date(2013, 1, 14), date(2013, 1, 22)


def test_a_range_is_ingested_day_by_day_and_again_without_change(home: Home) -> None:
    done = steps.ingest_range.fn(home, "flights", DAY, DAY + timedelta(days=1))
    assert [(day.accepted, day.changed) for day in done] == [(100, False), (100, False)]
    with pytest.raises(NothingToDoError, match=r"2013-01-13 is before 2013-01-14\. Swap"):
        steps.ingest_range.fn(home, "flights", DAY, DAY - timedelta(days=1))


def test_a_backfill_does_what_is_left_and_then_nothing(home: Home) -> None:
    (night,) = steps.score_production.fn(home, "flight-delay", [DAY], "score")
    plan = steps.make_plan.fn(home, "flight-delay", DAY, DAY + timedelta(days=2), "champion")
    assert [day.state for day in plan] == ["done", "missing", "missing"]
    done = steps.run_plan.fn(home, "flight-delay", plan)
    assert [day.date.day for day in done] == [15, 16]
    after = steps.make_plan.fn(home, "flight-delay", DAY, DAY + timedelta(days=2), "champion")
    assert {day.state for day in after} == {"done"}
    (shadow,) = steps.score_shadow.fn(home, "flight-delay", DAY, "1.0.0")
    assert (night.state, shadow.state) == ("succeeded", "succeeded")


def test_gates_and_verification_are_read_from_the_record(home: Home) -> None:
    gate = steps.read_gate.fn(home, "flight-delay", "1.0.0", "review")
    assert (gate.state, gate.by) == ("waiting", "")  # its approval was used up by the promotion
    verified = steps.verify.fn(home, "flight-delay", "1.0.0")
    assert (verified.passed, verified.checks) == (True, [])
    assert steps.is_champion.fn(home, "flight-delay", "1.0.0")
    assert steps.check_evaluation.fn(home, "flight-delay", "1.0.0") == []
    assert steps.promote_version.fn(home, "flight-delay", "1.0.0", Wish()).number == "1.0.0"


def test_a_retraining_takes_the_champion_s_own_files_and_not_the_lab_s(
    home: Home, registry: Registry, job: Job
) -> None:
    script = home.lab / "models" / "flight-delay" / "model.py"
    script.write_text(script.read_text() + "\n# changed since\n")
    trained = steps.train_from_champion.fn(home, "flight-delay", LAST)
    assert (trained.number, trained.new) == ("1.0.1", True)
    with registry.read() as session:
        version = get_version(session, "flight-delay", "1.0.1")
        assert aliases_of(session, version) == ["challenger"]
    before, after = job.bundle.manifest, load_manifest(registry, version)
    for role in ("script", "config", "lock", "card"):
        assert after.digests(role) == before.digests(role)
    assert trained.champion is not None
    assert trained.champion["version"] == "1.0.0"
    again = steps.train_from_champion.fn(home, "flight-delay", LAST)
    assert (again.number, again.new) == ("1.0.1", False)


def test_a_deprecated_champion_scores_and_warns(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    retire_version(home, "flight-delay", "1.0.0", "deprecated", "move off it", "operations")
    (done,) = steps.score_production.fn(home, "flight-delay", [DAY], "score")
    assert done.state == "succeeded"
    assert "flight-delay 1.0.0 is deprecated; move off it." in caplog.messages
