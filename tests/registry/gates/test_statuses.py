"""Taking versions out of use, and what that touches."""

from datetime import date

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from pilotline.registry.consumers.consumers import NewConsumer, add_consumer
from pilotline.registry.consumers.outbox import list_messages
from pilotline.registry.form.errors import ApprovalError, UnknownVersionError, VersionUnfitError
from pilotline.registry.gates.promotions import promote
from pilotline.registry.gates.resolution import champion
from pilotline.registry.gates.statuses import Retired, deprecated_warning, retire, shown_partitions
from pilotline.registry.record.aliases import aliases_of, set_alias, set_challenger
from pilotline.registry.record.events import list_events
from pilotline.registry.record.versions import VersionStatus, set_status, status_of
from pilotline.registry.runs.runs import Ending, claim_partition, end_run
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World

OPERATIONS = "operations@example.org"
ALLOWED = {
    "registered": {"deprecated", "revoked", "archived"},
    "approved": {"deprecated", "revoked", "archived"},
    "rejected": {"revoked", "archived"},
    "deprecated": {"revoked", "archived"},
    "archived": {"revoked"},
    "revoked": set(),
}
MOVES = [(start, to) for start in ALLOWED for to in ("deprecated", "revoked", "archived")]


def out(session: Session, to: str, number: str = "1.0.0") -> Retired:
    return retire(session, "flight-delay", number, to, "wrong since May", OPERATIONS, "claimed")


@pytest.mark.parametrize(("start", "to"), [move for move in MOVES if move[1] in ALLOWED[move[0]]])
def test_a_move_is_made_beside_its_event(
    session: Session, world: World, start: str, to: str
) -> None:
    version = world.enter(session)
    if start != "registered":
        set_status(session, version, start, {})
    retired = out(session, to)
    assert (retired.status, retired.new, retired.was_champion) == (to, True, False)
    assert status_of(session, version) == to
    event = list_events(session, version.model_id)[-1]
    assert event.kind == to
    said = {
        "version": "1.0.0",
        "reason": "wrong since May",
        "by": OPERATIONS,
        "identity": "claimed",
    }
    assert event.facts() == said | ({"partitions": []} if to == "revoked" else {})


@on_sqlite
@pytest.mark.parametrize(
    ("start", "to"), [(a, b) for a, b in MOVES if a != b and b not in ALLOWED[a]]
)
def test_any_other_move_is_refused(session: Session, world: World, start: str, to: str) -> None:
    version = world.enter(session)
    set_status(session, version, start, {})
    with pytest.raises(VersionUnfitError) as refused:
        out(session, to)
    assert str(refused.value) == (
        f"Version 1.0.0 of 'flight-delay' is {start}, which cannot become {to}. It stays as it is."
    )


@pytest.mark.parametrize("to", ["deprecated", "revoked", "archived"])
def test_the_same_again_changes_nothing(session: Session, world: World, to: str) -> None:
    version = world.enter(session)
    out(session, to)
    events = len(list_events(session, version.model_id))
    assert not out(session, to).new
    assert len(list_events(session, version.model_id)) == events


def test_an_unknown_version_is_named(session: Session, world: World) -> None:
    world.enter(session)
    with pytest.raises(UnknownVersionError):
        out(session, "revoked", "9.0.0")


def test_a_champion_cannot_be_archived(session: Session, world: World) -> None:
    world.release(session, world.enter(session))
    with pytest.raises(VersionUnfitError) as refused:
        out(session, "archived")
    assert str(refused.value) == (
        "Version 1.0.0 of 'flight-delay' is champion. "
        "Promote another one, or roll back, before archiving it."
    )


def test_a_revoked_champion_keeps_the_alias_and_is_not_resolved(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    world.release(session, version)
    assert out(session, "revoked").was_champion
    assert aliases_of(session, version) == ["champion"]
    with pytest.raises(VersionUnfitError, match="is revoked"):
        champion(session, "flight-delay")
    world.tamper(session, update(VersionStatus).values(status="approved"))
    with pytest.raises(VersionUnfitError, match="is revoked"):
        champion(session, "flight-delay")


def test_a_deprecated_champion_serves_with_a_warning(session: Session, world: World) -> None:
    version = world.enter(session)
    world.release(session, version)
    assert deprecated_warning(session, version) == ""
    out(session, "deprecated")
    assert champion(session, "flight-delay") is version
    assert deprecated_warning(session, version) == "flight-delay 1.0.0 is deprecated; move off it"


@pytest.mark.parametrize("to", ["deprecated", "revoked", "archived"])
def test_what_is_out_of_use_is_not_promoted(session: Session, world: World, to: str) -> None:
    world.approve(session, world.enter(session))
    out(session, to)
    with pytest.raises(VersionUnfitError, match=f"is {to}, not approved"):
        promote(session, "flight-delay", "1.0.0", world.policy, "linux x86_64")


@pytest.mark.parametrize("to", ["deprecated", "revoked", "archived"])
def test_what_is_out_of_use_is_decided_on_no_more(session: Session, world: World, to: str) -> None:
    version = world.enter(session)
    out(session, to)
    with pytest.raises(ApprovalError, match=f"the version is {to}"):
        world.say(session, version, "review", OPERATIONS)


@pytest.mark.parametrize(("to", "left"), [("revoked", []), ("archived", [])])
def test_aliases_do_not_point_at_what_is_out_of_use(
    session: Session, world: World, to: str, left: list[str]
) -> None:
    version = world.enter(session)
    set_challenger(session, version, "retrained")
    set_alias(session, "canary", version)
    out(session, to)
    assert aliases_of(session, version) == left


def test_a_revocation_names_the_partitions_readers_see(session: Session, world: World) -> None:
    version = world.enter(session)
    world.release(session, version)
    run = claim_partition(session, version, world.claim)
    end_run(session, run, Ending("succeeded", 842))
    seen = [("production", date(2013, 1, 1), run.id)]
    assert shown_partitions(session, version) == seen
    assert out(session, "revoked").partitions == seen
    facts = list_events(session, version.model_id, "revoked")[0].facts()
    assert facts["partitions"] == [["production", "2013-01-01", run.id]]


@pytest.mark.parametrize(("to", "told"), [("deprecated", 1), ("revoked", 1), ("archived", 0)])
def test_consumers_are_told_of_what_concerns_them(
    session: Session, world: World, to: str, told: int
) -> None:
    version = world.enter(session)
    add_consumer(session, "flight-delay", NewConsumer("crew", "crew@example.org"))
    assert out(session, to).consumers == ["crew"][:told]
    event = list_events(session, version.model_id)[-1]
    assert [(m.title, m.event_id) for m in list_messages(session)] == [
        (f"flight-delay 1.0.0 is {to}", event.id)
    ][:told]
