"""Versions: entered once, numbered for good, with a status that moves beside its event."""

import hashlib
from datetime import date

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pilotline.registry.form.errors import ConflictError, UnknownModelError, UnknownVersionError
from pilotline.registry.record.events import list_events
from pilotline.registry.record.models import list_models
from pilotline.registry.record.versions import (
    ModelVersion,
    VersionStatus,
    enter_version,
    find_trained,
    get_version,
    learned_from,
    list_versions,
    model_of,
    set_status,
    status_of,
)
from tests.support.registry.world import World


def test_the_first_version_is_1_0_0_and_registered(session: Session, world: World) -> None:
    version = world.enter(session)
    assert (version.number, version.reason) == ("1.0.0", "first version")
    assert status_of(session, version) == "registered"
    assert model_of(session, version).name == "flight-delay"


def test_registering_writes_one_event_with_the_facts(session: Session, world: World) -> None:
    version = world.enter(session)
    (event,) = list_events(session, version.model_id)
    assert event.kind == "registered"
    assert event.facts() == {
        "version": "1.0.0",
        "digest": version.digest,
        "parent": None,
        "author": "author@example.org",
        "reason": "first version",
        "metrics": {"roc_auc": 0.75},
        "training_key": version.training_key,
        "dataset": "",
        "features": [],
        "notes": hashlib.sha256(b"").hexdigest(),
        # RFC 8785 of one row a day: date, dataset, use, partition digest, table version.
        "learned": hashlib.sha256(
            f'[["2013-01-01","flights","train","{"d" * 64}",3]]'.encode()
        ).hexdigest(),
    }


def test_the_same_training_key_gives_the_version_that_is_there(
    session: Session, world: World
) -> None:
    first, is_new = enter_version(session, world.new_version("first"))
    again, is_new_again = enter_version(session, world.new_version("first", digest="f" * 64))
    assert (is_new, is_new_again) == (True, False)
    assert again.id == first.id
    assert len(list_events(session, first.model_id)) == 1
    assert find_trained(session, first.model_id, first.training_key) is first


def test_the_same_digest_gives_the_version_that_is_there(session: Session, world: World) -> None:
    first = world.enter(session, "first", digest="f" * 64)
    assert world.enter(session, "second", digest="f" * 64).id == first.id


def test_the_same_bytes_may_belong_to_two_models(session: Session, world: World) -> None:
    world.enter(session, "first")
    other = world.enter(session, "first", name="seat-demand")
    assert other.number == "1.0.0"
    assert [model.name for model in list_models(session)] == ["flight-delay", "seat-demand"]


@pytest.mark.parametrize(("part", "number"), [("major", "2.0.0"), ("minor", "1.1.0")])
def test_a_version_is_numbered_from_its_parent(
    session: Session, world: World, part: str, number: str
) -> None:
    first = world.enter(session, "first")
    second = world.enter(session, "second", parent=first, part=part)
    assert (second.number, second.parent_id) == (number, first.id)
    assert second.reason == f"{part} over 1.0.0: code changed"


def test_a_version_without_a_parent_opens_a_new_major(session: Session, world: World) -> None:
    world.enter(session, "first")
    second = world.enter(session, "second")
    assert (second.number, second.reason) == ("2.0.0", "no parent version")


def test_numbers_are_never_reused_after_a_rejection(session: Session, world: World) -> None:
    first = world.enter(session, "first")
    second = world.enter(session, "second", parent=first, part="patch")
    set_status(session, second, "rejected", {})
    third = world.enter(session, "third", parent=first, part="patch")
    assert (second.number, third.number) == ("1.0.1", "1.0.2")


def test_versions_are_listed_by_number_not_as_text(session: Session, world: World) -> None:
    first = world.enter(session, "0")
    for key in range(1, 11):
        world.enter(session, str(key), parent=first, part="patch")
    numbers = [version.number for version in list_versions(session, first.model_id)]
    assert numbers == [f"1.0.{patch}" for patch in range(11)]


def test_the_days_it_learned_from_are_kept(session: Session, world: World) -> None:
    (day,) = learned_from(session, world.enter(session))
    assert (day.dataset, day.date, day.use) == ("flights", date(2013, 1, 1), "train")
    assert (day.partition_digest, day.table_version) == ("d" * 64, 3)


def test_an_unknown_version_is_told_the_known_ones(session: Session, world: World) -> None:
    first = world.enter(session, "first")
    world.enter(session, "second", parent=first, part="minor")
    assert get_version(session, "flight-delay", "1.1.0").number == "1.1.0"
    with pytest.raises(UnknownVersionError) as unknown:
        get_version(session, "flight-delay", "3.0.0")
    assert str(unknown.value) == (
        "No version '3.0.0' of model 'flight-delay'; its versions: 1.0.0, 1.1.0. "
        "See 'pilotline show flight-delay'."
    )


def test_a_version_of_an_unknown_model_names_the_model(session: Session) -> None:
    with pytest.raises(UnknownModelError, match="No model 'flight-delay'"):
        get_version(session, "flight-delay", "1.0.0")


def test_a_status_moves_beside_an_event_of_its_name(session: Session, world: World) -> None:
    version = world.enter(session)
    set_status(session, version, "deprecated", {"reason": "a better one exists"})
    session.expire_all()
    assert status_of(session, version) == "deprecated"
    event = list_events(session, version.model_id)[-1]
    assert event.kind == "deprecated"
    assert event.facts() == {"version": "1.0.0", "reason": "a better one exists"}


def test_a_status_that_moved_meanwhile_is_a_conflict(session: Session, world: World) -> None:
    version = world.enter(session)
    believed = session.get_one(VersionStatus, version.id)  # held, or it would be read anew
    session.execute(
        update(VersionStatus).values(status="rejected").execution_options(synchronize_session=False)
    )
    with pytest.raises(ConflictError) as conflict:
        set_status(session, version, "approved", {})
    session.refresh(believed)
    assert believed.status == "rejected"
    assert str(conflict.value) == (
        "Status of 1.0.0 changed meanwhile: expected registered, found another status. "
        "Look at it again and repeat the command."
    )
    assert [event.kind for event in list_events(session, version.model_id)] == ["registered"]


def test_the_database_itself_refuses_a_number_twice(session: Session, world: World) -> None:
    first = world.enter(session)
    twin = ModelVersion(
        model_id=first.model_id,
        major=1,
        minor=0,
        patch=0,
        digest="f" * 64,
        training_key="f" * 64,
        reason="",
        author="author@example.org",
    )
    with pytest.raises(IntegrityError), session.begin_nested():
        session.add(twin)
