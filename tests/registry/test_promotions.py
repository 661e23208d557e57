"""Promotion, what guards it, and which version was champion when."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from registry import Registry
from registry.aliases import Alias, aliases_of, get_alias, move_alias, set_challenger
from registry.approvals import Approval, ApprovalUse, live_approval
from registry.errors import ApprovalError, ConflictError, NoChampionError, VersionUnfitError
from registry.events import Event, append_event, list_events
from registry.policy import Policy
from registry.promotions import (
    Reign,
    champion,
    champion_at,
    promote,
    promoted_version,
    reign_at,
    reigns,
)
from registry.verifications import Verification
from registry.versions import ModelVersion, set_status

LINUX = "linux x86_64"
REVIEWER = "reviewer@example.org"
OPERATIONS = "operations@example.org"

Add = Callable[..., ModelVersion]
Approve = Callable[..., None]
Release = Callable[..., Reign]
Say = Callable[..., tuple[Approval, bool]]
Verify = Callable[..., Verification]


def test_a_promotion_moves_the_alias_and_names_its_approvals(
    session: Session, add_version: Add, release: Release, policy: Policy
) -> None:
    version = add_version(session)
    reign = release(session, version)
    assert aliases_of(session, version) == ["champion"]
    assert champion(session, "flight-delay") is version
    assert (reign.number, reign.digest, reign.previous) == ("1.0.0", version.digest, None)
    assert reign.policy == policy.digest()
    assert [(entry["gate"], entry["by"]) for entry in reign.approvals] == [
        ("review", REVIEWER),
        ("go-live", OPERATIONS),
    ]
    given = session.scalars(select(Approval).order_by(Approval.id)).all()
    assert [entry["approval"] for entry in reign.approvals] == [row.digest() for row in given]


def test_a_promotion_consumes_both_approvals(
    session: Session, add_version: Add, release: Release, policy: Policy
) -> None:
    version = add_version(session)
    release(session, version)
    assert live_approval(session, version, "review", policy) is None
    assert live_approval(session, version, "go-live", policy) is None
    assert len(session.scalars(select(ApprovalUse)).all()) == 2


def test_promoting_the_champion_again_changes_nothing(
    session: Session, add_version: Add, release: Release, policy: Policy
) -> None:
    version = add_version(session)
    reign = release(session, version)
    assert promote(session, "flight-delay", "1.0.0", policy, LINUX) == reign
    assert len(reigns(session, "flight-delay")) == 1


def test_coming_back_needs_new_approvals(
    session: Session, add_version: Add, release: Release, policy: Policy
) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    release(session, first)
    release(session, second)
    with pytest.raises(ApprovalError) as refused:
        promote(session, "flight-delay", "1.0.0", policy, LINUX)
    assert str(refused.value) == (
        "Decision at gate 'review' of 'flight-delay' 1.0.0 refused: no live approval. "
        "Run 'pilotline release flight-delay 1.0.0'; it says what is missing."
    )
    release(session, first)
    history = [(reign.number, reign.previous) for reign in reigns(session, "flight-delay")]
    assert history == [("1.0.0", None), ("2.0.0", "1.0.0"), ("1.0.0", "2.0.0")]


def test_a_version_without_review_is_not_promoted(
    session: Session, add_version: Add, verify: Verify, policy: Policy
) -> None:
    version = add_version(session)
    verify(session, version)
    with pytest.raises(VersionUnfitError) as refused:
        promote(session, "flight-delay", "1.0.0", policy, LINUX)
    assert str(refused.value) == (
        "Version 1.0.0 of 'flight-delay' is registered, not approved. "
        "Run 'pilotline release flight-delay 1.0.0'; it says what is missing."
    )
    assert get_alias(session, version.model_id, "champion") is None


def test_a_version_without_go_live_is_not_promoted(
    session: Session, add_version: Add, say: Say, verify: Verify, policy: Policy
) -> None:
    version = add_version(session)
    say(session, version, "review", REVIEWER)
    verify(session, version)
    with pytest.raises(ApprovalError, match=r"gate 'go-live' .* no live approval"):
        promote(session, "flight-delay", "1.0.0", policy, LINUX)


def test_verification_on_another_platform_does_not_count(
    session: Session, add_version: Add, approve: Approve, verify: Verify, policy: Policy
) -> None:
    version = add_version(session)
    approve(session, version)
    with pytest.raises(VersionUnfitError, match="has not passed verification on linux aarch64"):
        promote(session, "flight-delay", "1.0.0", policy, "linux aarch64")
    verify(session, version, platform="linux aarch64")
    assert promote(session, "flight-delay", "1.0.0", policy, "linux aarch64").number == "1.0.0"


def test_a_verification_that_failed_after_go_live_stops_promotion(
    session: Session, add_version: Add, approve: Approve, verify: Verify, policy: Policy
) -> None:
    version = add_version(session)
    approve(session, version)
    verify(session, version, passed=False)
    with pytest.raises(VersionUnfitError, match="has not passed verification"):
        promote(session, "flight-delay", "1.0.0", policy, LINUX)


def test_an_expired_approval_stops_promotion(
    session: Session, add_version: Add, approve: Approve, policy: Policy
) -> None:
    approve(session, add_version(session))
    old = datetime.now(UTC) - timedelta(days=15)
    session.execute(update(Approval).where(Approval.gate == "review").values(recorded_at=old))
    session.expire_all()
    with pytest.raises(ApprovalError, match=r"gate 'review' .* no live approval"):
        promote(session, "flight-delay", "1.0.0", policy, LINUX)


def test_a_champion_outlives_the_expiry_of_its_approvals(
    session: Session, add_version: Add, release: Release
) -> None:
    version = add_version(session)
    release(session, version)
    session.execute(update(Approval).values(recorded_at=datetime(2013, 1, 1, tzinfo=UTC)))
    session.expire_all()
    assert champion(session, "flight-delay") is version


def test_a_changed_policy_stops_promotion(
    session: Session, add_version: Add, approve: Approve, policy: Policy
) -> None:
    approve(session, add_version(session))
    with pytest.raises(ApprovalError, match="no live approval"):
        promote(session, "flight-delay", "1.0.0", replace(policy, expires_days=13), LINUX)


def test_an_approval_over_other_bytes_stops_promotion(
    session: Session, add_version: Add, approve: Approve, policy: Policy
) -> None:
    approve(session, add_version(session))
    session.execute(update(Approval).values(manifest_digest="f" * 64))
    session.expire_all()
    with pytest.raises(ApprovalError, match="no live approval"):
        promote(session, "flight-delay", "1.0.0", policy, LINUX)


def test_one_person_at_both_gates_stops_promotion(
    session: Session, add_version: Add, approve: Approve, policy: Policy
) -> None:
    approve(session, add_version(session))
    session.execute(update(Approval).values(approver=REVIEWER))
    session.expire_all()
    with pytest.raises(ApprovalError, match="one person approved both gates"):
        promote(session, "flight-delay", "1.0.0", policy, LINUX)


def test_a_refused_promotion_leaves_the_champion_where_it_was(
    registry: Registry, add_version: Add, release: Release, approve: Approve, policy: Policy
) -> None:
    with registry.write() as session:
        first, second = add_version(session, "first"), add_version(session, "second")
        release(session, first)
        approve(session, second)
    with pytest.raises(VersionUnfitError), registry.write() as session:
        promote(session, "flight-delay", "2.0.0", policy, "linux aarch64")
    with registry.read() as session:
        assert champion(session, "flight-delay").number == "1.0.0"
        assert len(session.scalars(select(ApprovalUse)).all()) == 2


def test_two_promotions_from_one_champion_do_not_both_happen(
    session: Session, add_version: Add, release: Release
) -> None:
    first, second, third = (add_version(session, key) for key in ("first", "second", "third"))
    release(session, first)
    seen = first.id  # what a slower process read
    release(session, second)
    event = append_event(session, third.model_id, "noted", {})
    with pytest.raises(ConflictError, match="Alias 'champion' changed meanwhile"):
        move_alias(session, event, "champion", third, seen)
    assert champion(session, "flight-delay") is second


def test_a_model_without_promotions_has_no_champion(session: Session, add_version: Add) -> None:
    add_version(session)
    with pytest.raises(NoChampionError) as missing:
        champion(session, "flight-delay")
    assert str(missing.value) == (
        "Model 'flight-delay' has no champion: no version was promoted. "
        "Release one with 'pilotline release flight-delay VERSION'."
    )


@pytest.mark.parametrize("status", ["revoked", "rejected", "archived"])
def test_a_champion_out_of_use_is_not_handed_out(
    session: Session, add_version: Add, release: Release, status: str
) -> None:
    version = add_version(session)
    release(session, version)
    set_status(session, version, status, {})
    with pytest.raises(VersionUnfitError, match=f"is {status}. Promote another version first."):
        champion(session, "flight-delay")
    with pytest.raises(VersionUnfitError, match=f"is {status}"):
        champion_at(session, "flight-delay", datetime.now(UTC))


def test_a_deprecated_champion_still_serves(
    session: Session, add_version: Add, release: Release
) -> None:
    version = add_version(session)
    release(session, version)
    set_status(session, version, "deprecated", {})
    assert champion(session, "flight-delay") is version


def test_an_alias_moved_by_hand_is_not_trusted(
    session: Session, add_version: Add, release: Release
) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    release(session, first)
    session.execute(update(Alias).values(version_id=second.id))
    session.expire_all()
    with pytest.raises(VersionUnfitError) as refused:
        champion(session, "flight-delay")
    assert str(refused.value) == (
        "Version 2.0.0 of 'flight-delay' was promoted without two approvals over its digest. "
        "Somebody changed the registry; compare it with a backup."
    )


def test_an_alias_that_names_another_event_is_not_trusted(
    session: Session, add_version: Add, release: Release
) -> None:
    version = add_version(session)
    release(session, version)
    verified = list_events(session, version.model_id, "verified")[0]
    session.execute(update(Alias).values(event_id=verified.id))
    session.expire_all()
    with pytest.raises(VersionUnfitError):
        champion(session, "flight-delay")


def test_a_promotion_event_edited_to_fit_another_version_is_not_trusted(
    session: Session, add_version: Add, release: Release
) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    release(session, first)
    promoted = list_events(session, first.model_id, "promoted")[0]
    forged = promoted.body.replace(first.digest, second.digest).replace('"1.0.0"', '"2.0.0"')
    session.execute(update(Alias).values(version_id=second.id))
    session.execute(update(Event).where(Event.id == promoted.id).values(body=forged))
    session.expire_all()
    with pytest.raises(VersionUnfitError, match="Somebody changed the registry"):
        champion(session, "flight-delay")
    with pytest.raises(VersionUnfitError, match="Somebody changed the registry"):
        champion_at(session, "flight-delay", datetime.now(UTC))


def test_history_tells_the_champion_of_any_moment(
    session: Session, add_version: Add, release: Release
) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    one, two = release(session, first), release(session, second)
    tick = timedelta(microseconds=1)
    assert champion_at(session, "flight-delay", one.effective_from).number == "1.0.0"
    assert champion_at(session, "flight-delay", two.effective_from - tick).number == "1.0.0"
    assert champion_at(session, "flight-delay", two.effective_from).number == "2.0.0"
    with pytest.raises(NoChampionError, match="had no champion on 2013-01-01T00:00\\+00:00"):
        champion_at(session, "flight-delay", datetime(2013, 1, 1, tzinfo=UTC))


def test_history_tells_what_was_known_at_a_moment(
    session: Session, add_version: Add, release: Release
) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    one, two = release(session, first), release(session, second)
    later = two.recorded_at + timedelta(days=1)
    assert reign_at(session, "flight-delay", later).number == "2.0.0"
    assert reign_at(session, "flight-delay", later, known_at=one.recorded_at).number == "1.0.0"
    known_at = one.recorded_at - timedelta(microseconds=1)
    with pytest.raises(NoChampionError):
        reign_at(session, "flight-delay", later, known_at=known_at)


def test_a_promotion_that_counts_from_earlier_rules_the_days_since(
    session: Session, add_version: Add
) -> None:
    # Recorded in the order 1, 2, 3; by business time 2 counts from before 1.
    model_id = add_version(session).model_id
    for number, day in (("1.0.0", 10), ("2.0.0", 5), ("3.0.0", 10)):
        facts: dict[str, object] = {
            "version": number,
            "digest": "",
            "previous": None,
            "policy": "",
            "approvals": [],
        }
        start = datetime(2013, 1, day, tzinfo=UTC)
        append_event(session, model_id, "promoted", facts, effective_from=start)

    def ruled(day: int) -> str:
        return reign_at(session, "flight-delay", datetime(2013, 1, day, tzinfo=UTC)).number

    # 2 on day 7; from day 10 on, of the two that count from then, the one recorded later.
    assert (ruled(7), ruled(11)) == ("2.0.0", "3.0.0")
    with pytest.raises(NoChampionError):
        ruled(4)


def test_a_version_that_was_champion_once_may_run_again(
    session: Session, add_version: Add, release: Release
) -> None:
    first, second = add_version(session, "first"), add_version(session, "second")
    release(session, first)
    release(session, second)
    assert promoted_version(session, "flight-delay", "1.0.0") is first
    set_status(session, first, "revoked", {})
    with pytest.raises(VersionUnfitError, match="is revoked"):
        promoted_version(session, "flight-delay", "1.0.0")


def test_a_version_that_was_never_champion_may_not_write_production(
    session: Session, add_version: Add, approve: Approve
) -> None:
    approve(session, add_version(session))
    with pytest.raises(VersionUnfitError) as refused:
        promoted_version(session, "flight-delay", "1.0.0")
    assert str(refused.value) == (
        "Version 1.0.0 of 'flight-delay' was never champion, so it may not write production's "
        "predictions. Score it beside production: "
        "'pilotline score flight-delay --date D --shadow 1.0.0'."
    )


def test_a_promoted_challenger_challenges_nobody_any_more(
    session: Session, add_version: Add, release: Release
) -> None:
    version = add_version(session)
    set_challenger(session, version, "retrained")
    assert aliases_of(session, version) == ["challenger"]
    release(session, version)
    assert aliases_of(session, version) == ["champion"]
