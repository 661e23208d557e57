"""The steps as tasks: each does one thing and closes the registry again."""

from datetime import date, timedelta

import pytest
from sqlalchemy import update

from pilotline.registry import Registry
from pilotline.registry.form.errors import AliasError, VersionUnfitError
from pilotline.registry.gates.approvals import Decision
from pilotline.registry.gates.promotions import Wish
from pilotline.registry.record.aliases import aliases_of, set_alias
from pilotline.registry.record.verifications import (
    Verification,
    passed_verification,
    record_verification,
)
from pilotline.registry.record.versions import VersionStatus, get_version
from pilotline.tasks.decide.decisions import record_decision, retire_version
from pilotline.tasks.decide.steps import check_evaluation, is_champion, promote_version, read_gate
from pilotline.tasks.errors import IsolationError, NothingToDoError
from pilotline.tasks.explain.catalogue import describe_models
from pilotline.tasks.explain.steps import replay
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.days import DayIngested
from pilotline.tasks.ingest.steps import ingest_range
from pilotline.tasks.lab.bundle import load_manifest
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.steps import make_plan, run_plan, score_production, score_shadow
from pilotline.tasks.train.steps import train_from_champion, train_from_lab
from pilotline.tasks.verify.steps import verify
from pilotline.tasks.verify.verification import platform

DAY, LAST = date(2013, 1, 14), date(2013, 1, 22)


def test_a_range_is_ingested_day_by_day_and_again_without_change(home: Home) -> None:
    told: list[DayIngested] = []
    last = DAY + timedelta(days=1)
    done = ingest_range.fn(home, "flights", DAY, last, told.append)
    assert told == done
    assert [(day.accepted, day.changed) for day in done] == [(100, False), (100, False)]
    with pytest.raises(NothingToDoError, match=r"2013-01-13 is before 2013-01-14\. Swap"):
        ingest_range.fn(home, "flights", DAY, DAY - timedelta(days=1), told.append)


def test_a_backfill_does_what_is_left_and_then_nothing(home: Home) -> None:
    (night,) = score_production.fn(home, "flight-delay", [DAY], "score")
    plan = make_plan.fn(home, "flight-delay", DAY, DAY + timedelta(days=2), "champion")
    assert [day.state for day in plan] == ["done", "missing", "missing"]
    done = run_plan.fn(home, "flight-delay", plan)
    assert [day.date.day for day in done] == [15, 16]
    after = make_plan.fn(home, "flight-delay", DAY, DAY + timedelta(days=2), "champion")
    assert {day.state for day in after} == {"done"}
    (shadow,) = score_shadow.fn(home, "flight-delay", DAY, "1.0.0")
    assert (night.state, shadow.state) == ("succeeded", "succeeded")


def test_gates_and_verification_are_read_from_the_record(home: Home) -> None:
    gate = read_gate.fn(home, "flight-delay", "1.0.0", "review")
    assert (gate.state, gate.by) == ("waiting", "")  # its approval was used up by the promotion
    verified = verify.fn(home, "flight-delay", "1.0.0")
    assert (verified.passed, verified.checks) == (True, [])
    assert is_champion.fn(home, "flight-delay", "1.0.0")
    assert check_evaluation.fn(home, "flight-delay", "1.0.0") == []
    assert promote_version.fn(home, "flight-delay", "1.0.0", Wish()).number == "1.0.0"


def test_a_retraining_takes_the_champion_s_own_files_and_not_the_lab_s(
    home: Home, registry: Registry, job: Job
) -> None:
    script = home.lab / "models" / "flight-delay" / "model.py"
    script.write_text(script.read_text() + "\n# changed since\n")
    trained = train_from_champion.fn(home, "flight-delay", LAST)
    assert (trained.number, trained.new) == ("1.0.1", True)
    with registry.read() as session:
        version = get_version(session, "flight-delay", "1.0.1")
        assert aliases_of(session, version) == ["challenger"]
    before, after = job.bundle.manifest, load_manifest(registry, version)
    for role in ("script", "config", "lock", "card"):
        assert after.digests(role) == before.digests(role)
    assert trained.champion is not None
    assert trained.champion["version"] == "1.0.0"
    again = train_from_champion.fn(home, "flight-delay", LAST)
    assert (again.number, again.new) == ("1.0.1", False)


def test_a_deprecated_champion_scores_and_warns(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    retire_version(home, "flight-delay", "1.0.0", "deprecated", "move off it", "operations")
    (done,) = score_production.fn(home, "flight-delay", [DAY], "score")
    assert done.state == "succeeded"
    assert "flight-delay 1.0.0 is deprecated; move off it." in caplog.messages


def test_a_model_whose_champion_is_revoked_is_trained_and_released_anew(
    home: Home, registry: Registry
) -> None:
    retire_version(home, "flight-delay", "1.0.0", "revoked", "wrong", "reviewer@example.org")
    assert not is_champion.fn(home, "flight-delay", "1.0.0")
    (listed,) = describe_models(registry)
    assert (listed["champion"], listed["champion_status"]) == ("1.0.0", "revoked")
    script = home.lab / "models" / "flight-delay" / "model.py"
    script.write_text(script.read_text() + "\n# mended\n")
    trained = train_from_lab.fn(home, "flight-delay", LAST, "1.0.0", "")
    assert (trained.new, trained.champion) == (True, None)
    for gate, person in (("review", "reviewer"), ("go-live", "operations")):
        if gate == "go-live":
            assert verify.fn(home, "flight-delay", trained.number).passed
        said = Decision(gate, "approve", f"{person}@example.org", "read the evidence")
        record_decision(home, "flight-delay", trained.number, said)
    promote_version.fn(home, "flight-delay", trained.number, Wish())
    (scored,) = score_production.fn(home, "flight-delay", [DAY], "score")
    assert (scored.state, scored.number) == ("succeeded", trained.number)


def test_a_revoked_version_stays_out_when_its_status_is_edited_back(
    home: Home, registry: Registry, job: Job
) -> None:
    (done,) = score_production.fn(home, "flight-delay", [DAY], "score")
    retire_version(home, "flight-delay", "1.0.0", "revoked", "wrong", "reviewer@example.org")
    with registry.write() as session:
        session.execute(update(VersionStatus).values(status="approved"))
    with pytest.raises(VersionUnfitError, match="is revoked"):
        score_shadow.fn(home, "flight-delay", DAY, "1.0.0")
    with pytest.raises(VersionUnfitError, match="is revoked"):
        replay.fn(home, done.run_id)
    with registry.write() as session, pytest.raises(AliasError, match="is revoked"):
        set_alias(session, "candidate", job.bundle.version)


def test_a_verification_in_weaker_isolation_than_the_policy_asks_for_is_repeated(
    home: Home, registry: Registry, tier: Tier
) -> None:
    with registry.write() as session:
        version = get_version(session, "flight-delay", "1.0.0")
        before = passed_verification(session, version, platform())
        assert before is not None
        weak = Verification(
            passed=True,
            summary="in the weaker one",
            report_digest=before.report_digest,
            platform=platform(),
            isolation="C",
        )
        record_verification(session, version, weak)
    assert verify.fn(home, "flight-delay", "1.0.0").summary == "in the weaker one"
    home.policy_path.write_text(home.policy_path.read_text().replace('"C"', '"A"'))
    if tier.name == "C":
        with pytest.raises(IsolationError):
            verify.fn(home, "flight-delay", "1.0.0")
        return
    verified = verify.fn(home, "flight-delay", "1.0.0")
    assert (verified.passed, verified.isolation) == (True, "A")
    assert verified.summary != "in the weaker one"
