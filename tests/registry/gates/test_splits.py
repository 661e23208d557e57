"""Splits: who may share production's rows, what ends it, and what is kept of it."""

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit
from pilotline.registry.consumers.consumers import NewConsumer, add_consumer
from pilotline.registry.consumers.outbox import Message
from pilotline.registry.form.errors import (
    ApprovalError,
    AuditError,
    ConsumerError,
    NoChampionError,
    SplitError,
    UnknownModelError,
    UnknownVersionError,
    VersionUnfitError,
)
from pilotline.registry.gates.approvals import Approval, ApprovalUse, live_approval
from pilotline.registry.gates.policy import Policy
from pilotline.registry.gates.promotions import promote, rollback
from pilotline.registry.gates.resolution import champion
from pilotline.registry.gates.splits import (
    Said,
    Split,
    challenger_of,
    check_change,
    parse_share,
    require_split,
    set_split,
    split_of,
    stop_split,
)
from pilotline.registry.gates.statuses import retire, shown_partitions
from pilotline.registry.moving.exporting import export_model
from pilotline.registry.moving.importing import import_model
from pilotline.registry.record.events import Event, list_events
from pilotline.registry.record.registration import register
from pilotline.registry.record.versions import ModelVersion, get_version, set_status
from pilotline.registry.runs.listing import list_runs
from pilotline.registry.runs.runs import Ending, Run, RunOutcome, claim_partition, end_run
from tests.support.registry.lived import relive
from tests.support.registry.world import World

NAME = "flight-delay"
LINUX = "linux x86_64"
REVIEWER, OPERATIONS = "reviewer@example.org", "operations@example.org"
SAID = Said(OPERATIONS, "claimed", "a look at the new one")
TENTH = Decimal("0.1")
DAY = date(2013, 1, 1)


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> str:
    """Return the URL of an empty registry in a file; test_runs.py has a split on a server."""
    shutil.copy(empty_database, tmp_path / "registry.db")
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def present(session: Session, world: World) -> ModelVersion:
    """Return the champion."""
    version = world.enter(session, "first")
    world.release(session, version)
    return version


@pytest.fixture
def other(session: Session, world: World, present: ModelVersion) -> ModelVersion:
    """Return a version that both gates approved."""
    version = world.enter(session, "second")
    world.approve(session, version)
    return version


def share(
    session: Session, policy: Policy, number: str = "2.0.0", part: Decimal = TENTH, on: str = LINUX
) -> Split:
    return set_split(session, NAME, number, part, policy, on, SAID)


def kinds(session: Session, version: ModelVersion) -> list[str]:
    return [event.kind for event in list_events(session, version.model_id)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1", "0.1"),
        ("10%", "0.1"),
        (" 12.34 % ", "0.1234"),
        ("0.01%", "0.0001"),
        ("0.9999", "0.9999"),
        ("0.50", "0.5"),
        ("1e-2", "0.01"),
    ],
)
def test_a_share_is_a_number_or_as_many_percent(text: str, expected: str) -> None:
    assert str(parse_share(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("0", "1", "100%", "-0.1", "1.5", "0.00001", "0.001%", "nan", "sNaN", "inf", "-inf"),
        *("ten", "", "%", "10%%", "0,1", "1e-999999", "1e999999"),
    ],
)
def test_any_other_share_is_refused_in_words(text: str) -> None:
    with pytest.raises(SplitError) as refused:
        parse_share(text)
    assert str(refused.value) == (
        f"Share {text!r}: expected a number above 0 and below 1 in steps of 0.0001, "
        "or as many percent. Write 0.1 or 10%."
    )


@settings(deadline=None)
@given(st.integers(1, 9999))
def test_every_ten_thousandth_is_read_back_as_it_is_kept(n: int) -> None:
    kept = str(Decimal(n) / 10_000)
    assert str(parse_share(kept)) == kept == str(parse_share(f"{Decimal(n) / 100}%"))
    assert len(kept) <= 8  # what the column of a run holds


def test_a_split_gives_the_challenger_a_share_and_leaves_the_champion(
    session: Session, present: ModelVersion, other: ModelVersion, world: World
) -> None:
    split = share(session, world.policy)
    event = list_events(session, other.model_id)[-1]
    assert split == split_of(session, NAME) == require_split(session, NAME)
    assert split == Split("1.0.0", "2.0.0", TENTH, event.hash, SAID.reason, OPERATIONS)
    assert champion(session, NAME).id == present.id
    assert challenger_of(session, NAME, split).id == other.id
    facts = event.facts()
    assert event.kind == "split set"
    assert [(entry["gate"], entry["by"]) for entry in facts.pop("approvals")] == [
        ("review", REVIEWER),
        ("go-live", OPERATIONS),
    ]
    assert facts == {
        "version": "2.0.0",
        "digest": other.digest,
        "champion": "1.0.0",
        "share": "0.1",
        "policy": world.policy.digest(),
        "by": OPERATIONS,
        "identity": "claimed",
        "reason": "a look at the new one",
    }


def test_a_split_uses_up_no_approval_so_that_it_can_be_promoted_afterwards(
    session: Session, other: ModelVersion, world: World
) -> None:
    used = select(func.count()).select_from(ApprovalUse)
    before = session.scalar(used)
    share(session, world.policy)
    assert session.scalar(used) == before
    assert live_approval(session, other, "go-live", world.policy) is not None
    promote(session, NAME, "2.0.0", world.policy, LINUX)
    assert champion(session, NAME).id == other.id
    assert split_of(session, NAME) is None


def test_consumers_are_told_of_a_split_and_of_its_end(
    session: Session, other: ModelVersion, world: World
) -> None:
    add_consumer(session, NAME, NewConsumer("pricing", "pricing@example.org", ">=1"))
    share(session, world.policy, part=Decimal("0.25"))
    stop_split(session, NAME, SAID)
    titles = [message.title for message in session.scalars(select(Message).order_by(Message.id))]
    assert [title for title in titles if "scores" in title] == [
        "flight-delay 2.0.0 scores 25% of the rows",
        "flight-delay 1.0.0 scores every row again",
    ]


def test_the_champion_shares_no_rows_with_itself(
    session: Session, present: ModelVersion, world: World
) -> None:
    with pytest.raises(SplitError) as refused:
        share(session, world.policy, "1.0.0")
    assert str(refused.value) == (
        "Split of 'flight-delay': 1.0.0 is the champion, which scores what is left. "
        "Name another version."
    )


def test_without_a_champion_there_is_nothing_to_share(session: Session, world: World) -> None:
    with pytest.raises(UnknownModelError):
        share(session, world.policy)
    world.approve(session, world.enter(session, "first"))
    with pytest.raises(NoChampionError):
        share(session, world.policy, "1.0.0")


def test_an_unknown_version_is_named(session: Session, present: ModelVersion, world: World) -> None:
    with pytest.raises(UnknownVersionError):
        share(session, world.policy, "9.0.0")


@pytest.mark.parametrize("status", ["registered", "rejected", "deprecated", "revoked", "archived"])
def test_a_version_of_another_status_than_approved_shares_nothing(
    session: Session, other: ModelVersion, world: World, status: str
) -> None:
    set_status(session, other, status, {})
    before = kinds(session, other)
    with pytest.raises(VersionUnfitError, match=rf"2\.0\.0 of 'flight-delay' is {status}, not"):
        share(session, world.policy)
    assert (kinds(session, other), split_of(session, NAME)) == (before, None)


def test_a_version_nobody_decided_on_shares_nothing(
    session: Session, present: ModelVersion, world: World
) -> None:
    world.enter(session, "second")
    with pytest.raises(VersionUnfitError, match="is registered, not approved"):
        share(session, world.policy)


def test_a_version_that_was_not_verified_here_shares_nothing(
    session: Session, other: ModelVersion, world: World
) -> None:
    with pytest.raises(VersionUnfitError, match="has not passed verification on darwin arm64"):
        share(session, world.policy, on="darwin arm64")


def test_a_version_whose_last_verification_failed_shares_nothing(
    session: Session, other: ModelVersion, world: World
) -> None:
    world.verify(session, other, passed=False)
    with pytest.raises(VersionUnfitError, match="has not passed verification on linux x86_64"):
        share(session, world.policy)


def test_a_version_without_go_live_shares_nothing(
    session: Session, present: ModelVersion, world: World
) -> None:
    version = world.enter(session, "second")
    world.say(session, version, "review", REVIEWER)
    world.verify(session, version)
    with pytest.raises(ApprovalError, match=r"'go-live'.*no live approval"):
        share(session, world.policy)


@pytest.mark.parametrize("gate", ["review", "go-live"])
def test_an_expired_approval_gives_no_rows(
    session: Session, other: ModelVersion, world: World, gate: str
) -> None:
    old = datetime.now(UTC) - timedelta(days=world.policy.expires_days, seconds=1)
    mine = update(Approval).where(Approval.version_id == other.id, Approval.gate == gate)
    world.tamper(session, mine.values(recorded_at=old))
    with pytest.raises(ApprovalError, match=f"{gate!r}.*no live approval"):
        share(session, world.policy)


def test_approvals_under_another_policy_give_no_rows(
    session: Session, other: ModelVersion, world: World
) -> None:
    with pytest.raises(ApprovalError, match="no live approval"):
        share(session, replace(world.policy, expires_days=13))


def test_a_version_that_breaks_a_consumer_shares_nothing(
    session: Session, other: ModelVersion, world: World
) -> None:
    add_consumer(session, NAME, NewConsumer("pricing", "pricing@example.org", "<2"))
    with pytest.raises(ConsumerError, match="pricing"):
        share(session, world.policy)
    assert split_of(session, NAME) is None


def test_a_share_is_changed_up_and_down_and_the_last_one_counts(
    session: Session, other: ModelVersion, world: World
) -> None:
    for part in ("0.1", "0.25", "0.05"):
        share(session, world.policy, part=Decimal(part))
        assert require_split(session, NAME).share == Decimal(part)
    assert kinds(session, other).count("split set") == 3


def test_the_same_again_changes_nothing(
    session: Session, other: ModelVersion, world: World
) -> None:
    first = share(session, world.policy)
    before = kinds(session, other)
    assert share(session, world.policy) == first
    assert kinds(session, other) == before


def test_a_stopped_split_is_over_and_cannot_be_stopped_twice(
    session: Session, other: ModelVersion, world: World
) -> None:
    split = share(session, world.policy)
    assert stop_split(session, NAME, replace(SAID, reason="enough seen")) == split
    event = list_events(session, other.model_id)[-1]
    assert event.kind == "split stopped"
    assert event.facts() == {
        "version": "2.0.0",
        "champion": "1.0.0",
        "by": OPERATIONS,
        "identity": "claimed",
        "reason": "enough seen",
    }
    assert split_of(session, NAME) is None
    with pytest.raises(SplitError) as refused:
        stop_split(session, NAME, SAID)
    assert str(refused.value) == (
        "Split of 'flight-delay': there is none: the champion scores every row. "
        "Start one with 'pilotline split start flight-delay VERSION --share 0.1'."
    )
    assert share(session, world.policy).share == TENTH  # the approvals live still


def test_an_unknown_model_has_no_split_and_is_named(session: Session) -> None:
    with pytest.raises(UnknownModelError):
        split_of(session, NAME)


def test_a_promotion_of_a_third_version_ends_a_split(
    session: Session, other: ModelVersion, world: World
) -> None:
    share(session, world.policy)
    world.release(session, world.enter(session, "third"))
    assert split_of(session, NAME) is None


def test_a_rollback_ends_a_split(session: Session, other: ModelVersion, world: World) -> None:
    promote(session, NAME, "2.0.0", world.policy, LINUX)
    world.approve(session, world.enter(session, "third"))
    share(session, world.policy, "3.0.0")
    rollback(session, NAME, "wrong by a factor", OPERATIONS, "claimed")
    assert split_of(session, NAME) is None


def test_a_revoked_challenger_scores_no_more_and_is_not_handed_out(
    session: Session, other: ModelVersion, world: World
) -> None:
    split = share(session, world.policy)
    retire(session, NAME, "2.0.0", "revoked", "wrong", OPERATIONS, "claimed")
    assert split_of(session, NAME) is None
    with pytest.raises(VersionUnfitError, match="is revoked"):
        challenger_of(session, NAME, split)
    with pytest.raises(SplitError, match="there is none"):
        stop_split(session, NAME, SAID)


def test_a_deprecated_challenger_goes_on_scoring_as_a_deprecated_champion_does(
    session: Session, other: ModelVersion, world: World
) -> None:
    split = share(session, world.policy)
    retire(session, NAME, "2.0.0", "deprecated", "old", OPERATIONS, "claimed")
    assert split_of(session, NAME) == split
    assert challenger_of(session, NAME, split).id == other.id


def test_a_version_that_shares_rows_is_not_archived_before_the_split_stops(
    session: Session, other: ModelVersion, world: World
) -> None:
    share(session, world.policy)
    with pytest.raises(VersionUnfitError) as refused:
        retire(session, NAME, "2.0.0", "archived", "old", OPERATIONS, "claimed")
    assert str(refused.value) == (
        "Version 2.0.0 of 'flight-delay' scores part of production's rows. "
        "Run 'pilotline split stop flight-delay --reason TEXT' before archiving it."
    )
    stop_split(session, NAME, SAID)
    assert retire(session, NAME, "2.0.0", "archived", "old", OPERATIONS, "claimed").new


def test_what_shared_production_s_rows_cannot_be_rejected_afterwards(
    session: Session, other: ModelVersion, world: World
) -> None:
    share(session, world.policy)
    stop_split(session, NAME, SAID)
    for gate, person in (("review", REVIEWER), ("go-live", OPERATIONS)):
        with pytest.raises(ApprovalError, match=r"shared its rows.*only revoked"):
            world.say(session, other, gate, person, "reject")


def test_a_challenger_stands_on_the_evidence_it_was_set_on(
    session: Session, other: ModelVersion, world: World
) -> None:
    """Neither time nor another policy takes it away; who edits an approval does."""
    split = share(session, world.policy)
    edited = update(Approval).where(Approval.version_id == other.id).values(comment="unread")
    world.tamper(session, edited)
    with pytest.raises(VersionUnfitError, match="Somebody changed the registry"):
        challenger_of(session, NAME, split)


def test_a_challenger_whose_event_was_deleted_is_not_handed_out(
    session: Session, other: ModelVersion, world: World
) -> None:
    split = share(session, world.policy)
    with pytest.raises(VersionUnfitError, match="has no split on record"):
        challenger_of(session, NAME, replace(split, event="0" * 64))


def score_together(registry: Registry) -> None:
    """Let two versions with bytes score a day together."""
    world = World()
    first, second = (register(registry, world.registration(key))[0] for key in ("first", "second"))
    with registry.write() as session:
        registry.blobs.put(b"{}")  # the report that the fixture's verifications name
        world.release(session, first)
        world.approve(session, second)
        share(session, world.policy, second.number)
        alone = claim_partition(session, first, replace(world.claim, date=date(2013, 1, 2)))
        end_run(session, alone, Ending("succeeded", 842, table_version=1))
        run = claim_partition(
            session, first, replace(world.claim, challenger_id=second.id, share="0.1")
        )
        end_run(session, run, Ending("succeeded", 842, table_version=2))


@pytest.fixture
def both(registry: Registry, shared: Path) -> Registry:
    """Return a registry with blobs in which two versions scored a day together."""
    return relive(registry, shared, score_together)


def test_a_run_of_two_versions_is_one_of_each(both: Registry) -> None:
    with both.read() as session:
        first, second = (get_version(session, NAME, number) for number in ("1.0.0", "2.0.0"))
        assert len(list_runs(session, first)) == 2
        ((run, _),) = list_runs(session, second)
        facts = list_events(session, first.model_id, "run succeeded")[-1].facts()
    assert (run.date, run.version_id, run.share) == (DAY, first.id, "0.1")
    assert (facts["version"], facts["challenger"], facts["share"]) == ("1.0.0", "2.0.0", "0.1")


def test_the_audit_finds_a_split_and_its_run_sound(both: Registry) -> None:
    assert audit(both).versions == 2


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"share": "0.2"}, "share"),
        ({"share": None}, "share"),
        ({"challenger_id": None}, "challenger"),
        ({"challenger_id": "first"}, "challenger"),
    ],
)
def test_the_audit_names_an_edited_share_or_challenger(
    both: Registry, world: World, values: dict[str, str | int | None], told: str
) -> None:
    with both.write() as session:
        run = session.scalars(select(Run).where(Run.challenger_id.is_not(None))).one()
        if values.get("challenger_id") == "first":
            values = {"challenger_id": run.version_id}
        world.tamper(session, update(Run).where(Run.id == run.id).values(**values))
        run_id = run.id
    with pytest.raises(AuditError, match=f"^Run {run_id} {told} "):
        audit(both)


def test_the_audit_names_a_challenger_put_beside_a_run_of_one_version(
    both: Registry, world: World
) -> None:
    with both.write() as session:
        second = get_version(session, NAME, "2.0.0")
        run = session.scalars(select(Run).where(Run.challenger_id.is_(None))).one()
        world.tamper(session, update(Run).where(Run.id == run.id).values(challenger_id=second.id))
        run_id = run.id
    with pytest.raises(AuditError, match=f"^Run {run_id} challenger "):
        audit(both)


def test_the_audit_names_an_edited_split(both: Registry, world: World) -> None:
    with both.write() as session:
        event = session.scalars(select(Event).where(Event.kind == "split set")).one()
        forged = event.body.replace('"share":"0.1"', '"share":"0.9"')
        assert forged != event.body
        world.tamper(session, update(Event).where(Event.id == event.id).values(body=forged))
        seq = event.seq
    with pytest.raises(AuditError, match=f"^Event {seq} of 'flight-delay'"):
        audit(both)


def test_revoking_either_version_lists_the_days_they_scored_together(both: Registry) -> None:
    with both.write() as session:
        first, second = (get_version(session, NAME, number) for number in ("1.0.0", "2.0.0"))
        days = [day for _, day, _ in shown_partitions(session, first)]
        assert days == [DAY, date(2013, 1, 2)]
        retire(session, NAME, "2.0.0", "revoked", "wrong", OPERATIONS, "claimed")
        ((variant, day, run_id),) = list_events(session, second.model_id)[-1].facts()["partitions"]
        run = session.get_one(Run, run_id)
    assert (variant, day, run.share) == ("production", "2013-01-01", "0.1")
    audit(both)


def test_a_challenger_revoked_while_it_scored_fails_the_run(both: Registry, world: World) -> None:
    with both.write() as session:
        first, second = (get_version(session, NAME, number) for number in ("1.0.0", "2.0.0"))
        again = replace(world.claim, challenger_id=second.id, share="0.1")
        run = claim_partition(session, first, again)
        retire(session, NAME, "2.0.0", "revoked", "wrong", OPERATIONS, "claimed")
        outcome = end_run(session, run, Ending("succeeded", 842, table_version=3))
        assert (outcome.state, outcome.reason) == ("failed", "2.0.0 was revoked while it scored")
    audit(both)


def test_an_imported_model_keeps_its_split_runs_and_has_no_split(
    both: Registry, tmp_path: Path
) -> None:
    folder = export_model(both, NAME, tmp_path / "out").path
    with Registry(f"sqlite:///{tmp_path / 'there.db'}", tmp_path / "there") as there:
        import_model(there, folder)
        audit(there)
        with there.read() as session:
            assert split_of(session, NAME) is None
            second = get_version(session, NAME, "2.0.0")
            ((run, outcome),) = list_runs(session, second)
            assert isinstance(outcome, RunOutcome)
            assert (run.challenger_id, run.share, outcome.state) == (second.id, "0.1", "succeeded")
            assert session.get_one(ModelVersion, run.version_id).number == "1.0.0"


def test_a_split_is_started_once_and_the_same_start_again_is_no_other(
    session: Session, other: ModelVersion, world: World
) -> None:
    assert check_change(session, NAME, "start", "2.0.0", TENTH) == "2.0.0"
    share(session, world.policy)
    assert check_change(session, NAME, "start", "2.0.0", TENTH) == "2.0.0"


@pytest.mark.parametrize(("number", "part"), [("2.0.0", "0.2"), ("1.0.0", "0.1")])
def test_a_start_with_another_share_or_version_than_there_is_already_is_refused(
    session: Session, other: ModelVersion, world: World, number: str, part: str
) -> None:
    share(session, world.policy)
    with pytest.raises(SplitError) as refused:
        check_change(session, NAME, "start", number, Decimal(part))
    assert str(refused.value) == (
        "Split of 'flight-delay': 2.0.0 scores 10.00% already. Change it with "
        "'pilotline split upgrade flight-delay --share S', or stop it first."
    )


@pytest.mark.parametrize(("change", "part"), [("upgrade", "0.1001"), ("downgrade", "0.0999")])
def test_a_split_is_changed_in_the_direction_that_is_said(
    session: Session, other: ModelVersion, world: World, change: str, part: str
) -> None:
    share(session, world.policy)
    assert check_change(session, NAME, change, "", Decimal(part)) == "2.0.0"


@pytest.mark.parametrize(
    ("change", "part", "instead"),
    [
        ("upgrade", "0.0999", "downgrade"),
        ("upgrade", "0.1", "downgrade"),
        ("downgrade", "0.1001", "upgrade"),
        ("downgrade", "0.1", "upgrade"),
    ],
)
def test_a_share_that_moves_the_other_way_or_not_at_all_is_refused(
    session: Session, other: ModelVersion, world: World, change: str, part: str, instead: str
) -> None:
    share(session, world.policy)
    with pytest.raises(SplitError) as refused:
        check_change(session, NAME, change, "", Decimal(part))
    assert str(refused.value) == (
        f"Split of 'flight-delay': 2.0.0 scores 10.00%, which this would not {change}. "
        f"Give another share, or 'pilotline split {instead}'."
    )


@pytest.mark.parametrize("change", ["upgrade", "downgrade"])
def test_a_split_that_is_not_there_cannot_be_changed(
    session: Session, present: ModelVersion, change: str
) -> None:
    with pytest.raises(SplitError, match="there is none: the champion scores every row"):
        check_change(session, NAME, change, "", TENTH)
