"""Consumers: who is told, how to reach them, which versions they can take."""

import pytest
from sqlalchemy.orm import Session

from pilotline.registry.consumers.consumers import (
    Consumer,
    NewConsumer,
    add_consumer,
    broken_by,
    list_consumers,
    remove_consumer,
)
from pilotline.registry.form.errors import ConsumerError, UnknownModelError
from pilotline.registry.record.events import latest_event, list_events
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World

DESK = NewConsumer("gate desk", "gate@example.org", "~=1.2")


@pytest.fixture
def model_id(session: Session, world: World) -> int:
    """Return a model without consumers."""
    return world.enter(session).model_id


def test_a_consumer_is_added_beside_its_event(session: Session, model_id: int) -> None:
    added = add_consumer(session, "flight-delay", DESK)
    assert list_consumers(session, model_id) == [added]
    event = latest_event(session, model_id)
    assert event is not None
    assert (event.kind, event.id) == ("consumer added", added.event_id)
    assert event.facts() == {
        "consumer": "gate desk",
        "contact": "gate@example.org",
        "needs": "~=1.2",
    }


def test_the_same_consumer_again_changes_nothing(session: Session, model_id: int) -> None:
    for _ in range(2):
        add_consumer(session, "flight-delay", DESK)
    assert len(list_events(session, model_id, "consumer added")) == 1


def test_a_known_consumer_is_brought_up_to_date(session: Session, model_id: int) -> None:
    add_consumer(session, "flight-delay", DESK)
    add_consumer(session, "flight-delay", NewConsumer("gate desk", "desk@example.org", ">=2"))
    session.expire_all()
    listed = [(c.name, c.contact, c.needs) for c in list_consumers(session, model_id)]
    assert listed == [("gate desk", "desk@example.org", ">=2")]
    assert len(list_events(session, model_id, "consumer added")) == 2


def test_a_removed_consumer_is_gone_and_its_event_stays(session: Session, model_id: int) -> None:
    add_consumer(session, "flight-delay", DESK)
    remove_consumer(session, "flight-delay", "gate desk")
    assert list_consumers(session, model_id) == []
    assert list_events(session, model_id)[-1].facts() == {"consumer": "gate desk"}


def test_a_consumer_that_is_none_cannot_be_removed(session: Session, model_id: int) -> None:
    add_consumer(session, "flight-delay", DESK)
    with pytest.raises(ConsumerError) as refused:
        remove_consumer(session, "flight-delay", "crew")
    assert str(refused.value) == (
        "Consumer 'crew' of 'flight-delay': unknown; consumers: gate desk. Check the name."
    )


def test_an_unknown_model_has_no_consumers(session: Session) -> None:
    with pytest.raises(UnknownModelError):
        add_consumer(session, "flight-delay", DESK)


@pytest.mark.parametrize(
    ("needs", "number", "fits"),
    [
        # PEP 440: ~=1.2 is >=1.2,==1.*
        ("~=1.2", "1.1.9", False),
        ("~=1.2", "1.2.0", True),
        ("~=1.2", "1.9.0", True),
        ("~=1.2", "2.0.0", False),
        (">=1,<3", "2.7.1", True),
        ("!=1.0.0", "1.0.0", False),
        ("", "9.9.9", True),
    ],
)
def test_a_constraint_is_read_as_pep_440_has_it(needs: str, number: str, fits: bool) -> None:
    assert Consumer(needs=needs).takes(number) is fits


def test_those_who_cannot_take_a_version_are_named(session: Session, model_id: int) -> None:
    for name, needs in (("gate desk", "~=1.2"), ("crew", ""), ("app", "<2")):
        add_consumer(session, "flight-delay", NewConsumer(name, f"{name[:3]}@example.org", needs))
    assert [c.name for c in broken_by(session, model_id, "2.0.0")] == ["app", "gate desk"]
    assert broken_by(session, model_id, "1.3.0") == []


@on_sqlite
@pytest.mark.parametrize(
    "contact",
    [
        "gate@example.org",
        "env:GATE_SLACK",
        "json://hooks.example.org/delay",
        "jsons://hooks.example.org:8443/delay/late.json",
        "xml://hooks.b\u00fccher.example/",
        "form://[::1]:8080/in",
        "j\u00f6rg.o'neil+gate@b\u00fccher.example",
        "json://127.0.0.1:8080",
    ],
)
def test_a_contact_is_an_address_that_holds_no_secret(
    session: Session, model_id: int, contact: str
) -> None:
    assert add_consumer(session, "flight-delay", NewConsumer("crew", contact)).contact == contact


@on_sqlite
@pytest.mark.parametrize(
    "contact",
    [
        "",
        "crew",
        "json://",
        "json://[",
        "json://user:secret@hooks.example.org/delay",
        "slack://tokenA/tokenB/tokenC",
        "mailto://user:secret@example.org",
        "https://hooks.example.org/delay",
        "env:",
        "env:1A",
        "env:GATE SLACK",
        "a@example.org\nb@example.org",
        "json://a.example/x,mailto://user:secret@example.org",
        "json://a.example/x mailto://user:secret@example.org",
        "json://a.example/x;mailto://user:secret@example.org",
        "json://hooks.example.org/delay?pass=secret",
        "json://hooks.example.org/?+Authorization=Bearer%20secret",
        "json://hooks.example.org/#secret",
        "json://user:secret%40hooks.example.org/",
        "json://user:secret\uff20hooks.example.org/",
        "json://hooks.example.org/\nx",
        "json://hooks.example.org/\x9b31mred",
        "json://hooks.example.org/\0",
        "json://hooks.example.org/\u202eevil",
        "a@example.org\n",
        "a,b@example.org",
        "a@example.org?to=b",
        "a@example.org\0",
    ],
)
def test_a_contact_that_is_none_or_holds_a_secret_is_refused(
    session: Session, model_id: int, contact: str
) -> None:
    with pytest.raises(ConsumerError) as refused:
        add_consumer(session, "flight-delay", NewConsumer("crew", contact))
    assert str(refused.value).startswith(
        "Consumer 'crew' of 'flight-delay': the contact is no mail address, no web hook and no "
        "variable. Write name@example.org, json://HOST/PATH, or env:NAME"
    )
    assert list_consumers(session, model_id) == []


@on_sqlite
@pytest.mark.parametrize("needs", ["1.2", "about 1", "~=1", "===\ud800", ",".join([">=1.0"] * 34)])
def test_a_constraint_that_is_none_is_refused(session: Session, model_id: int, needs: str) -> None:
    with pytest.raises(ConsumerError) as refused:
        add_consumer(session, "flight-delay", NewConsumer("crew", "crew@example.org", needs))
    assert str(refused.value) == (
        f"Consumer 'crew' of 'flight-delay': {needs!r} is no constraint. "
        "Write such as '~=1.2' or '>=1,<3'."
    )


@on_sqlite
@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\x1b[2Jb"])
def test_an_odd_name_is_refused(session: Session, model_id: int, name: str) -> None:
    with pytest.raises(ConsumerError, match=r"no name\. Expected 1 to 200 printable characters\."):
        add_consumer(session, "flight-delay", NewConsumer(name, "crew@example.org"))
