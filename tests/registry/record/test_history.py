"""Who was champion when, by business time and by what was known."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from pilotline.registry.form.errors import NoChampionError, UnknownModelError
from pilotline.registry.gates.promotions import rollback
from pilotline.registry.gates.resolution import champion_at
from pilotline.registry.record.events import append_event
from pilotline.registry.record.history import reign_at, reigns
from tests.support.registry.world import World


def test_history_tells_the_champion_of_any_moment(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    one, two = world.release(session, first), world.release(session, second)
    tick = timedelta(microseconds=1)
    assert champion_at(session, "flight-delay", one.effective_from).number == "1.0.0"
    assert champion_at(session, "flight-delay", two.effective_from - tick).number == "1.0.0"
    assert champion_at(session, "flight-delay", two.effective_from).number == "2.0.0"
    with pytest.raises(NoChampionError, match="had no champion on 2013-01-01T00:00:00\\+00:00"):
        champion_at(session, "flight-delay", datetime(2013, 1, 1, tzinfo=UTC))


def test_history_tells_what_was_known_at_a_moment(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    one, two = world.release(session, first), world.release(session, second)
    later = two.recorded_at + timedelta(days=1)
    assert reign_at(session, "flight-delay", later).number == "2.0.0"
    assert reign_at(session, "flight-delay", later, known_at=one.recorded_at).number == "1.0.0"
    known_at = one.recorded_at - timedelta(microseconds=1)
    with pytest.raises(NoChampionError):
        reign_at(session, "flight-delay", later, known_at=known_at)


def test_a_promotion_that_counts_from_earlier_rules_the_days_since(
    session: Session, world: World
) -> None:
    # Recorded in the order 1, 2, 3; by business time 2 counts from before 1.
    model_id = world.enter(session).model_id
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


def test_a_rollback_is_a_reign_of_its_own(session: Session, world: World) -> None:
    first, second = world.enter(session, "first"), world.enter(session, "second")
    one, two = world.release(session, first), world.release(session, second)
    back = rollback(session, "flight-delay", "wrong", "operations@example.org", "claimed")
    assert [reign.kind for reign in (one, two, back)] == ["promoted", "promoted", "rolled back"]
    assert reigns(session, "flight-delay") == [one, two, back]
    tick = timedelta(microseconds=1)
    assert reign_at(session, "flight-delay", back.effective_from - tick) == two
    assert reign_at(session, "flight-delay", back.effective_from) == back


def test_a_promotion_of_this_moment_is_not_backdated(session: Session, world: World) -> None:
    assert not world.release(session, world.enter(session)).backdated


def test_the_reigns_of_an_unknown_model_name_it(session: Session) -> None:
    with pytest.raises(UnknownModelError, match="No model 'flight-delay' is registered"):
        reigns(session, "flight-delay")


def _reign_from(session: Session, model_id: int, number: str, start: datetime) -> None:
    facts: dict[str, object] = {
        "version": number,
        "digest": "",
        "previous": None,
        "policy": "",
        "approvals": [],
    }
    append_event(session, model_id, "promoted", facts, effective_from=start)


def test_the_champion_now_is_the_last_promoted_even_from_before_the_one_before(
    session: Session, world: World
) -> None:
    model_id = world.enter(session).model_id
    for number, day in (("1.0.0", 10), ("2.0.0", 5)):
        _reign_from(session, model_id, number, datetime(2013, 1, day, tzinfo=UTC))
    assert reign_at(session, "flight-delay", datetime.now(UTC)).number == "2.0.0"
    assert reign_at(session, "flight-delay", datetime(2013, 1, 10, tzinfo=UTC)).number == "2.0.0"


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_was_wrong_leaves_the_last_promoted_champion(
    session: Session, world: World, hours: int
) -> None:
    model_id = world.enter(session).model_id
    present = datetime.now(UTC)
    _reign_from(session, model_id, "1.0.0", present)
    _reign_from(session, model_id, "2.0.0", present + timedelta(hours=hours))
    found = reign_at(session, "flight-delay", datetime.now(UTC) + timedelta(seconds=1))
    assert found.number == "2.0.0"


def test_what_counts_from_earlier_is_not_known_before_it_was_recorded(
    session: Session, world: World
) -> None:
    model_id = world.enter(session).model_id
    for number, day in (("1.0.0", 5), ("2.0.0", 10)):
        _reign_from(session, model_id, number, datetime(2013, 1, day, tzinfo=UTC))
    first, second = reigns(session, "flight-delay")
    at = datetime(2013, 1, 20, tzinfo=UTC)
    assert reign_at(session, "flight-delay", at, known_at=second.recorded_at) == second
    before = second.recorded_at - timedelta(microseconds=1)
    assert reign_at(session, "flight-delay", at, known_at=before) == first
