"""Aliases move by compare-and-swap, beside an event."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from pilotline.registry.form.errors import AliasError, ConflictError
from pilotline.registry.record.aliases import (
    aliased_version,
    aliases_of,
    drop_alias,
    get_alias,
    move_alias,
    remove_alias,
    set_alias,
    set_challenger,
)
from pilotline.registry.record.events import append_event, list_events
from pilotline.registry.record.versions import set_status
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World


def test_an_alias_that_was_never_set_is_none(session: Session, world: World) -> None:
    version = world.enter(session)
    assert get_alias(session, version.model_id, "challenger") is None
    assert aliased_version(session, version.model_id, "challenger") is None
    assert aliases_of(session, version) == []


def test_an_alias_points_where_it_was_moved_last(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    event = append_event(session, first.model_id, "noted", {})
    move_alias(session, event, "canary", first, None)
    move_alias(session, event, "canary", second, first.id)
    session.expire_all()
    assert (aliases_of(session, first), aliases_of(session, second)) == ([], ["canary"])
    assert aliased_version(session, first.model_id, "canary") is second


def test_an_alias_that_moved_meanwhile_is_a_conflict(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    event = append_event(session, first.model_id, "noted", {})
    move_alias(session, event, "canary", second, None)
    with pytest.raises(ConflictError, match="Alias 'canary' changed meanwhile: expected version"):
        move_alias(session, event, "canary", first, first.id)
    assert aliases_of(session, second) == ["canary"]


def test_an_alias_that_was_set_meanwhile_is_a_conflict(session: Session, world: World) -> None:
    version = world.enter(session)
    event = append_event(session, version.model_id, "noted", {})
    move_alias(session, event, "canary", version, None)
    with pytest.raises(ConflictError, match="expected none yet, found one set meanwhile"):
        move_alias(session, event, "canary", version, None)


def test_setting_the_same_challenger_again_changes_nothing(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    for version in (first, first, second):
        set_challenger(session, version, "retrained")
    events = list_events(session, first.model_id, "challenger set")
    assert [event.facts()["version"] for event in events] == ["1.0.0", "2.0.0"]
    assert aliases_of(session, second) == ["challenger"]


def test_an_alias_of_ones_own_is_set_moved_and_removed_beside_events(
    session: Session, world: World
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    for version in (first, second, second):
        set_alias(session, "canary", version)
    session.expire_all()
    assert (aliases_of(session, first), aliases_of(session, second)) == ([], ["canary"])
    remove_alias(session, first.model_id, "canary")
    assert get_alias(session, first.model_id, "canary") is None
    events = list_events(session, first.model_id, "alias set", "alias removed")
    assert [event.facts() for event in events] == [
        {"alias": "canary", "version": "1.0.0", "digest": first.digest},
        {"alias": "canary", "version": "2.0.0", "digest": second.digest},
        {"alias": "canary"},
    ]


@on_sqlite
@pytest.mark.parametrize("act", ["set", "remove"])
def test_champion_is_protected(session: Session, world: World, act: str) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    world.release(session, first)
    acts: dict[str, Callable[[], None]] = {
        "set": lambda: set_alias(session, "champion", second),
        "remove": lambda: remove_alias(session, first.model_id, "champion"),
    }
    with pytest.raises(AliasError) as refused:
        acts[act]()
    assert str(refused.value) == (
        "Alias 'champion': it is protected. "
        "It moves by 'pilotline release' and 'pilotline rollback'."
    )
    assert aliases_of(session, first) == ["champion"]


def test_an_alias_that_is_none_cannot_be_removed(session: Session, world: World) -> None:
    version = world.enter(session)
    with pytest.raises(AliasError, match="Alias 'canary': the model has no such alias"):
        remove_alias(session, version.model_id, "canary")


@on_sqlite
@pytest.mark.parametrize("name", ["", "Canary", "-canary", "a b", "x" * 64, "1.0.0", "\x1b[2J"])
def test_an_odd_alias_is_refused(session: Session, world: World, name: str) -> None:
    version = world.enter(session)
    with pytest.raises(AliasError, match="expected 1 to 63 of a-z, 0-9 and '-'"):
        set_alias(session, name, version)


@pytest.mark.parametrize("status", ["revoked", "archived"])
def test_an_alias_does_not_point_at_what_is_out_of_use(
    session: Session, world: World, status: str
) -> None:
    version = world.enter(session)
    set_status(session, version, status, {})
    with pytest.raises(AliasError, match=f"version 1.0.0 is {status}. Point at another one."):
        set_alias(session, "canary", version)


def test_an_alias_is_dropped_only_from_the_version_it_points_at(
    session: Session, world: World
) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    set_alias(session, "canary", first)
    drop_alias(session, "canary", second)
    assert aliases_of(session, first) == ["canary"]
    drop_alias(session, "canary", first)
    assert aliases_of(session, first) == []
