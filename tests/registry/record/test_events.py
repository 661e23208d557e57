"""The event log: consecutive, chained, and damaged nowhere unseen but at its end."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Executable, delete, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from pilotline.registry.record.events import (
    GENESIS,
    Event,
    append_event,
    first_broken_event,
    first_misfit,
    hash_event,
    latest_event,
    list_events,
)
from pilotline.registry.record.models import ModelFacts, put_model
from tests.support.registry.world import World


@pytest.fixture
def model_id(session: Session) -> int:
    """Return a model with five events."""
    model = put_model(session, ModelFacts("flight-delay", "operations", ""))
    for number in range(1, 6):
        append_event(session, model.id, "noted", {"number": number})
    session.expire_all()
    return model.id


def test_events_are_numbered_from_one_without_gaps(session: Session, model_id: int) -> None:
    assert [event.seq for event in list_events(session, model_id)] == [1, 2, 3, 4, 5]
    assert [event.facts()["number"] for event in list_events(session, model_id)] == [1, 2, 3, 4, 5]


def test_each_model_has_a_chain_of_its_own(session: Session, model_id: int) -> None:
    other = put_model(session, ModelFacts("seat-demand", "operations", ""))
    event = append_event(session, other.id, "noted", {})
    assert (event.seq, event.previous) == (1, "0" * 64)
    assert first_broken_event(session, model_id) is None


def test_a_whole_chain_verifies(session: Session, model_id: int) -> None:
    assert first_broken_event(session, model_id) is None


def test_an_empty_chain_verifies(session: Session) -> None:
    model = put_model(session, ModelFacts("seat-demand", "operations", ""))
    assert first_broken_event(session, model.id) is None
    assert latest_event(session, model.id) is None


def test_an_event_names_the_hash_of_the_one_before(session: Session, model_id: int) -> None:
    events = list_events(session, model_id)
    assert [event.previous for event in events] == [GENESIS, *(e.hash for e in events[:-1])]
    assert latest_event(session, model_id) is events[-1]


def test_the_hash_is_the_sha_256_of_all_facts(session: Session, model_id: int) -> None:
    event = list_events(session, model_id)[0]
    facts = {
        "chain": "flight-delay",
        "seq": 1,
        "kind": "noted",
        "body": '{"number":1}',
        "recorded_at": event.recorded_at.isoformat(),
        "effective_from": event.recorded_at.isoformat(),
        "previous": "0" * 64,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert event.hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "edit",
    [
        {"body": '{"number":7}'},
        {"kind": "promoted"},
        {"recorded_at": datetime(2013, 1, 1, tzinfo=UTC)},
        {"effective_from": datetime(2013, 1, 1, tzinfo=UTC)},
        {"hash": "f" * 64},
        {"previous": "f" * 64},
        {"seq": 9},
        {"chain": "seat-demand"},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_an_edited_event_is_found(
    session: Session, model_id: int, edit: dict[str, object], world: World
) -> None:
    world.tamper(session, update(Event).where(Event.seq == 3).values(**edit))
    assert first_broken_event(session, model_id) == 3


def test_a_deleted_event_is_found(session: Session, model_id: int, world: World) -> None:
    world.tamper(session, delete(Event).where(Event.seq == 2))
    assert first_broken_event(session, model_id) == 2


def test_two_swapped_events_are_found(session: Session, model_id: int, world: World) -> None:
    for before, after in ((2, 20), (3, 2), (20, 3)):
        world.tamper(session, update(Event).where(Event.seq == before).values(seq=after))
    assert first_broken_event(session, model_id) == 2


def test_events_are_listed_by_kind(session: Session, model_id: int) -> None:
    append_event(session, model_id, "promoted", {})
    append_event(session, model_id, "verified", {})
    kinds = [event.kind for event in list_events(session, model_id, "verified", "promoted")]
    assert kinds == ["promoted", "verified"]


def test_business_time_is_the_wall_clock_by_default(session: Session, model_id: int) -> None:
    before = datetime.now(UTC)
    event = append_event(session, model_id, "noted", {})
    assert event.effective_from == event.recorded_at
    assert before <= event.recorded_at <= datetime.now(UTC)


def test_business_time_in_another_zone_verifies_when_read_back(
    session: Session, model_id: int
) -> None:
    there = datetime(2013, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    event = append_event(session, model_id, "noted", {}, effective_from=there)
    session.expire_all()
    assert event.effective_from == datetime(2013, 1, 1, tzinfo=UTC)
    assert first_broken_event(session, model_id) is None


def test_the_factory_has_a_chain_that_belongs_to_no_model(session: Session, model_id: int) -> None:
    event = append_event(session, None, "approver added", {})
    assert (event.chain, event.seq, event.previous) == ("@factory", 1, GENESIS)
    assert latest_event(session, None) is event
    assert first_broken_event(session, None) is None
    assert len(list_events(session, model_id)) == 5


@pytest.mark.parametrize("statement", [update(Event).values(kind="promoted"), delete(Event)])
def test_the_database_itself_refuses_that_events_are_edited(
    session: Session, model_id: int, statement: Executable
) -> None:
    refused = pytest.raises(DBAPIError, match="event: facts are added, never edited")
    with refused, session.begin_nested():
        session.execute(statement)
    assert first_broken_event(session, model_id) is None


def test_a_gap_in_the_numbers_is_found_though_every_hash_fits(
    session: Session, model_id: int
) -> None:
    first, _, third = list_events(session, model_id)[:3]
    facts = {name: getattr(third, name) for name in ("chain", "seq", "kind", "body")}
    times = {name: getattr(third, name) for name in ("recorded_at", "effective_from")}
    forged = Event(**facts, **times, previous=first.hash)
    forged.hash = hash_event(forged)
    assert first_misfit([first, forged]) == 2
    assert first_misfit([first]) is None
