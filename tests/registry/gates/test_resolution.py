"""Resolving the champion: what it refuses, and every way of tampering it names."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Executable, delete, select, text, update
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit
from pilotline.registry.form.errors import (
    AuditError,
    NoChampionError,
    UnknownModelError,
    VersionUnfitError,
)
from pilotline.registry.gates.approvals import Approval, ApprovalUse, live_approval
from pilotline.registry.gates.promotions import rollback
from pilotline.registry.gates.resolution import (
    champion,
    champion_at,
    promoted_version,
    resolve_champion,
    serving_champion,
)
from pilotline.registry.gates.statuses import retire
from pilotline.registry.record.aliases import Alias, move_alias
from pilotline.registry.record.events import Event, append_event, list_events
from pilotline.registry.record.versions import ModelVersion, VersionStatus, set_status
from tests.support.registry.databases import on_sqlite
from tests.support.registry.meddling import unguarded
from tests.support.registry.world import World


def test_the_champion_is_resolved_on_a_plain_connection(registry: Registry, world: World) -> None:
    with registry.write() as session:
        version = world.enter(session)
        reign = world.release(session, version)
    with registry.look() as connection:
        found = resolve_champion(connection, "flight-delay")
    assert (found.model_id, found.version_id) == (version.model_id, version.id)
    assert (found.number, found.digest, found.status) == ("1.0.0", version.digest, "approved")
    assert (found.effective_from, found.event) == (reign.effective_from, reign.event)


def test_an_unknown_model_is_named_beside_those_that_are_known(
    session: Session, world: World
) -> None:
    world.enter(session)
    with pytest.raises(UnknownModelError, match=r"No model 'seat-demand' .* known: flight-delay"):
        champion(session, "seat-demand")


def test_a_model_without_promotions_has_no_champion(session: Session, world: World) -> None:
    world.enter(session)
    with pytest.raises(NoChampionError) as missing:
        champion(session, "flight-delay")
    assert str(missing.value) == (
        "Model 'flight-delay' has no champion: no version was promoted. "
        "Release one with 'pilotline release flight-delay VERSION'."
    )


@pytest.mark.parametrize("status", ["revoked", "rejected", "archived"])
def test_a_champion_out_of_use_is_not_handed_out(
    session: Session, world: World, status: str
) -> None:
    version = world.enter(session)
    world.release(session, version)
    set_status(session, version, status, {})
    with pytest.raises(VersionUnfitError, match=f"is {status}. Promote another version first."):
        champion(session, "flight-delay")
    with pytest.raises(VersionUnfitError, match=f"is {status}"):
        champion_at(session, "flight-delay", datetime.now(UTC))


def test_a_deprecated_champion_still_serves(session: Session, world: World) -> None:
    version = world.enter(session)
    world.release(session, version)
    set_status(session, version, "deprecated", {})
    assert champion(session, "flight-delay") is version


def test_a_champion_stands_on_approvals_that_no_promotion_may_use_again(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    world.release(session, version)
    assert live_approval(session, version, "review", world.policy) is None
    assert champion(session, "flight-delay") is version


def test_an_alias_moved_by_hand_is_not_trusted(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.tamper(session, update(Alias).values(version_id=second.id))
    with pytest.raises(VersionUnfitError) as refused:
        champion(session, "flight-delay")
    assert str(refused.value) == (
        "Version 2.0.0 of 'flight-delay' was promoted without two approvals over its digest. "
        "Somebody changed the registry; 'pilotline audit verify' says what, a backup what it was."
    )


def test_an_alias_that_names_another_event_is_not_trusted(session: Session, world: World) -> None:
    version = world.enter(session)
    world.release(session, version)
    verified = list_events(session, version.model_id, "verified")[0]
    world.tamper(session, update(Alias).values(event_id=verified.id))
    with pytest.raises(VersionUnfitError):
        champion(session, "flight-delay")


def test_a_promotion_event_edited_to_fit_another_version_is_not_trusted(
    session: Session, world: World
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    promoted = list_events(session, first.model_id, "promoted")[0]
    forged = promoted.body.replace(first.digest, second.digest).replace('"1.0.0"', '"2.0.0"')
    world.tamper(session, update(Alias).values(version_id=second.id))
    world.tamper(session, update(Event).where(Event.id == promoted.id).values(body=forged))
    with pytest.raises(VersionUnfitError, match="Somebody changed the registry"):
        champion(session, "flight-delay")
    with pytest.raises(VersionUnfitError, match="Somebody changed the registry"):
        champion_at(session, "flight-delay", datetime.now(UTC))


def test_a_version_that_was_champion_once_may_run_again(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.release(session, second)
    assert promoted_version(session, "flight-delay", "1.0.0") is first
    set_status(session, first, "revoked", {})
    with pytest.raises(VersionUnfitError, match="is revoked"):
        promoted_version(session, "flight-delay", "1.0.0")


def test_a_version_that_was_never_champion_may_not_write_production(
    session: Session, world: World
) -> None:
    world.approve(session, world.enter(session))
    with pytest.raises(VersionUnfitError) as refused:
        promoted_version(session, "flight-delay", "1.0.0")
    assert str(refused.value) == (
        "Version 1.0.0 of 'flight-delay' was never champion, so it may not write production's "
        "predictions. Score it beside production: "
        "'pilotline score flight-delay --date D --shadow 1.0.0'."
    )


def test_a_rolled_back_champion_is_resolved_on_its_first_evidence(
    session: Session, world: World
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.release(session, second)
    back = rollback(session, "flight-delay", "wrong", "operations@example.org", "claimed")
    assert resolve_champion(session.connection(), "flight-delay").event == back.event


TWO = "was promoted without two approvals over its digest"
MISSING = "has not the approvals any more that its promotion counted"
LOG = "is not what the last promotion on record says"


@on_sqlite
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (update(Event).where(Event.kind == "promoted").values(hash="f" * 64), TWO),
        (update(Event).where(Event.kind == "promoted").values(body='{"version":"1.0.0"}'), TWO),
        (update(Event).where(Event.kind == "promoted").values(seq=99), TWO),
        (
            update(Event)
            .where(Event.kind == "promoted")
            .values(effective_from=datetime(2013, 1, 1, tzinfo=UTC)),
            TWO,
        ),
        (update(Event).where(Event.kind == "promoted").values(kind="noted"), LOG),
        (update(ModelVersion).where(ModelVersion.major == 1).values(digest="f" * 64), TWO),
        (update(ModelVersion).where(ModelVersion.major == 1).values(major=7), TWO),
        (update(Approval).values(comment="never said"), MISSING),
        (update(Approval).where(Approval.gate == "review").values(approver="x"), MISSING),
        (update(Approval).where(Approval.gate == "review").values(decision="reject"), MISSING),
        (update(Approval).values(manifest_digest="f" * 64), MISSING),
        (update(Approval).values(policy_digest="f" * 64), MISSING),
        (update(Approval).values(identity="totp"), MISSING),
    ],
    ids=[
        "hash",
        "body",
        "number in the chain",
        "business time",
        "kind",
        "digest of the version",
        "number of the version",
        "comment",
        "approver",
        "decision",
        "digest approved",
        "policy",
        "identity",
    ],
)
def test_an_edited_record_is_not_trusted(
    session: Session, world: World, statement: Executable, problem: str
) -> None:
    world.release(session, world.enter(session))
    world.tamper(session, statement)
    with pytest.raises(VersionUnfitError, match=f"{problem}. Somebody changed the registry"):
        champion(session, "flight-delay")


def test_approvals_moved_from_another_version_are_not_trusted(
    session: Session, world: World
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.tamper(session, update(Approval).values(version_id=second.id))
    with pytest.raises(VersionUnfitError, match=MISSING):
        champion(session, "flight-delay")


def test_a_deleted_approval_is_missed(session: Session, world: World) -> None:
    world.release(session, world.enter(session))
    world.tamper(session, delete(ApprovalUse))
    world.tamper(session, delete(Approval).where(Approval.gate == "go-live"))
    with pytest.raises(VersionUnfitError, match=MISSING):
        champion(session, "flight-delay")


def test_an_alias_moved_back_to_an_earlier_promotion_is_not_trusted(
    session: Session, world: World
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.release(session, second)
    promoted = list_events(session, first.model_id, "promoted")[0]
    world.tamper(session, update(Alias).values(version_id=first.id, event_id=promoted.id))
    with pytest.raises(VersionUnfitError, match=f"^Version 1.0.0 of 'flight-delay' {LOG}"):
        champion(session, "flight-delay")


def test_a_deleted_promotion_is_missed(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.release(session, second)
    one, two = list_events(session, first.model_id, "promoted")
    # As one would hide it: the alias stays, and what referred to the event goes with it.
    world.tamper(session, update(Alias).values(event_id=one.id))
    world.tamper(session, delete(ApprovalUse).where(ApprovalUse.event_id == two.id))
    world.tamper(session, delete(Event).where(Event.id == two.id))
    with pytest.raises(VersionUnfitError, match=f"^Version 2.0.0 of 'flight-delay' {TWO}"):
        champion(session, "flight-delay")


def test_a_deleted_alias_is_missed(session: Session, world: World) -> None:
    world.release(session, world.enter(session))
    world.tamper(session, delete(Alias))
    with pytest.raises(
        VersionUnfitError, match=r"Version 1\.0\.0 .* was champion, but no alias says so"
    ):
        champion(session, "flight-delay")


def test_a_revoked_champion_stays_out_when_its_status_is_changed_back(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    world.release(session, version)
    retire(session, "flight-delay", "1.0.0", "revoked", "leaks", "reviewer@example.org", "claimed")
    world.tamper(session, update(VersionStatus).values(status="approved"))
    with pytest.raises(VersionUnfitError, match="is revoked"):
        champion(session, "flight-delay")
    with pytest.raises(VersionUnfitError, match="is revoked"):
        promoted_version(session, "flight-delay", "1.0.0")
    with pytest.raises(VersionUnfitError, match="is revoked"):
        champion_at(session, "flight-delay", datetime.now(UTC))


def test_a_champion_without_its_status_is_refused_in_words(
    registry: Registry, world: World
) -> None:
    with registry.write() as session:
        world.release(session, world.enter(session))
        world.tamper(session, delete(VersionStatus))
    told = r"1\.0\.0 .* has no status any more"
    with registry.read() as session:
        with pytest.raises(VersionUnfitError, match=told):
            champion(session, "flight-delay")
        with pytest.raises(VersionUnfitError, match=told):
            champion_at(session, "flight-delay", datetime.now(UTC))
        with pytest.raises(VersionUnfitError, match=told):
            promoted_version(session, "flight-delay", "1.0.0")


def test_an_alias_that_points_nowhere_is_refused_in_words(registry: Registry, world: World) -> None:
    with registry.write() as session:
        world.release(session, world.enter(session))
    with unguarded(registry) as connection:
        connection.execute(update(Alias).values(version_id=99))
    with registry.read() as session, pytest.raises(VersionUnfitError, match="no alias says so"):
        champion(session, "flight-delay")


def test_the_wrong_event_beside_the_alias_is_refused_in_words(
    registry: Registry, world: World
) -> None:
    with registry.write() as session:
        world.release(session, world.enter(session))
        first = session.scalars(select(Event.id).order_by(Event.id).limit(1)).one()
        world.tamper(session, update(Alias).values(event_id=first))
    with registry.read() as session, pytest.raises(VersionUnfitError, match="last promotion"):
        champion(session, "flight-delay")


@pytest.mark.parametrize("table", ["event", "model_version", "approval"])
def test_a_moment_that_is_none_is_refused_in_words(
    tmp_path: Path, empty_database: Path, world: World, table: str
) -> None:
    # Only SQLite lets a text stand where a moment belongs.
    shutil.copy(empty_database, tmp_path / "registry.db")
    with Registry(f"sqlite:///{tmp_path / 'registry.db'}", tmp_path / "blobs") as registry:
        with registry.write() as session:
            world.release(session, world.enter(session))
        with unguarded(registry) as connection:
            connection.execute(text(f"UPDATE {table} SET recorded_at = 'garbage'"))
        with (
            registry.read() as session,
            pytest.raises(VersionUnfitError, match="expected a date and time, found 'garbage'"),
        ):
            champion(session, "flight-delay")
        with pytest.raises(AuditError, match="expected a date and time, found 'garbage'"):
            audit(registry)


@pytest.mark.parametrize("status", ["revoked", "rejected", "archived"])
def test_a_champion_out_of_use_serves_nobody(session: Session, world: World, status: str) -> None:
    version = world.enter(session)
    world.release(session, version)
    assert serving_champion(session, "flight-delay") is version
    set_status(session, version, "deprecated", {})
    assert serving_champion(session, "flight-delay") is version
    set_status(session, version, status, {})
    assert serving_champion(session, "flight-delay") is None


def test_where_nobody_is_champion_nobody_serves(session: Session, world: World) -> None:
    world.enter(session)
    assert serving_champion(session, "flight-delay") is None
    with pytest.raises(UnknownModelError):
        serving_champion(session, "seat-demand")


def test_a_champion_whose_record_was_edited_is_told_and_not_passed_over(
    session: Session, world: World
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.tamper(session, update(Alias).values(version_id=second.id))
    with pytest.raises(VersionUnfitError, match="Somebody changed the registry"):
        serving_champion(session, "flight-delay")


@pytest.mark.parametrize("missing", ["review", "go-live"])
def test_a_promotion_on_one_approval_makes_no_champion(
    session: Session, world: World, missing: str
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    world.release(session, second)
    promoted = list_events(session, first.model_id, "promoted")[0].facts()
    counted = [entry for entry in promoted["approvals"] if entry["gate"] != missing]
    forged = promoted | {"approvals": counted}  # as it would be by a program that forgot one
    event = append_event(session, first.model_id, "promoted", forged)
    move_alias(session, event, "champion", first, second.id)
    with pytest.raises(VersionUnfitError, match="was promoted without two approvals over its dig"):
        champion(session, "flight-delay")


def test_another_version_s_promotion_does_not_let_one_write_production(
    session: Session, world: World
) -> None:
    world.release(session, world.enter(session, "first"))
    world.enter(session, "second")
    with pytest.raises(VersionUnfitError, match=r"^Version 2\.0\.0 .* was never champion"):
        promoted_version(session, "flight-delay", "2.0.0")
