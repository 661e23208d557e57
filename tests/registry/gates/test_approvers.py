"""Approvers: enrolled by one another, present by a code that counts once, guessed by nobody."""

import base64
import hashlib
import hmac
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
from sqlalchemy import inspect, select, text, update
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.form.errors import ApprovalError, ApproverError, WrongCodeError
from pilotline.registry.gates.approvals import Approval, Decision, decide, live_approval
from pilotline.registry.gates.approvers import (
    Approver,
    CodeAttempt,
    Presence,
    act_present,
    enrol,
    enrolled_since,
    list_approvers,
    remove_approver,
)
from pilotline.registry.gates.vault import Vault, make_key
from pilotline.registry.record.events import list_events
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World

REVIEWER = "reviewer@example.org"
OPERATIONS = "operations@example.org"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)  # a time step begins here: 30 s divide an hour


@pytest.fixture
def vault() -> Vault:
    """Return a vault with a key of its own."""
    return Vault(make_key())


@pytest.fixture
def secret(registry: Registry, vault: Vault) -> str:
    """Return the secret of the reviewer, who is the first to be enrolled."""
    return pyotp.parse_uri(enrol(registry, vault, REVIEWER, None)).secret


def code(secret: str, at: datetime) -> str:
    """Return the code of ``at`` as RFC 6238 (4.2) and RFC 4226 (5.3) have it, by hand."""
    counter = struct.pack(">Q", int(at.timestamp()) // 30)
    mac = hmac.digest(base64.b32decode(secret), counter, hashlib.sha1)
    start = mac[-1] & 0xF
    number = struct.unpack(">I", mac[start : start + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def wrong(secret: str, at: datetime) -> str:
    """Return a code that is right at no time step near ``at``."""
    near = {code(secret, at + timedelta(seconds=30 * step)) for step in range(-3, 4)}
    return next(
        guess for guess in ("000000", *map(str, range(111111, 111120))) if guess not in near
    )


def show(registry: Registry, vault: Vault, text: str, at: datetime = NOON) -> None:
    act_present(registry, vault, Presence(REVIEWER, text, at), lambda session: None)


def attempts(registry: Registry) -> int:
    with registry.read() as session:
        return len(session.scalars(select(CodeAttempt)).all())


def test_the_first_approver_needs_nobody(registry: Registry, vault: Vault) -> None:
    uri = enrol(registry, vault, REVIEWER, None)
    assert uri.startswith("otpauth://totp/pilotline:reviewer%40example.org?secret=")
    with registry.read() as session:
        assert [approver.name for approver, _ in list_approvers(session)] == [REVIEWER]
        event = list_events(session, None)[-1]
        assert (event.chain, event.kind) == ("@factory", "approver added")
        assert event.facts() == {"approver": REVIEWER, "by": None}
        assert enrolled_since(session, REVIEWER) == event.recorded_at


def test_the_second_approver_needs_one_who_vouches(
    registry: Registry, vault: Vault, secret: str
) -> None:
    with pytest.raises(ApproverError) as refused:
        enrol(registry, vault, OPERATIONS, None)
    assert str(refused.value) == (
        f"Approver {OPERATIONS!r}: it is not the first, so an enrolled approver must vouch. "
        "Give --by NAME --code CODE of one who is enrolled."
    )
    enrol(registry, vault, OPERATIONS, Presence(REVIEWER, code(secret, NOON), NOON))
    with registry.read() as session:
        assert list_events(session, None)[-1].facts() == {"approver": OPERATIONS, "by": REVIEWER}


def test_a_wrong_code_vouches_for_nobody(registry: Registry, vault: Vault, secret: str) -> None:
    with pytest.raises(WrongCodeError):
        enrol(registry, vault, OPERATIONS, Presence(REVIEWER, wrong(secret, NOON), NOON))
    with registry.read() as session:
        assert enrolled_since(session, OPERATIONS) is None


def test_the_last_one_stays_so_that_somebody_can_vouch_for_the_next(
    registry: Registry, vault: Vault, secret: str
) -> None:
    by = Presence(REVIEWER, code(secret, NOON), NOON)
    with pytest.raises(ApproverError, match="the last one enrolled"):
        remove_approver(registry, vault, REVIEWER, by)
    with registry.read() as session:
        assert enrolled_since(session, REVIEWER) is not None


@pytest.mark.parametrize("name", [REVIEWER, "Reviewer@Example.org"])
def test_one_person_is_enrolled_once(
    registry: Registry, vault: Vault, secret: str, name: str
) -> None:
    with pytest.raises(ApproverError, match="enrolled already"):
        enrol(registry, vault, name, Presence(REVIEWER, code(secret, NOON), NOON))


@on_sqlite
@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\x1b[31mb", "a\nb"])
def test_an_odd_name_is_refused(registry: Registry, vault: Vault, name: str) -> None:
    with pytest.raises(ApproverError, match=r"no name\. Expected 1 to 200 printable characters\."):
        enrol(registry, vault, name, None)


@on_sqlite
@pytest.mark.parametrize("seconds", [-30, -1, 0, 29, 59])
def test_a_code_counts_one_time_step_early_or_late(
    registry: Registry, vault: Vault, secret: str, seconds: int
) -> None:
    show(registry, vault, code(secret, NOON + timedelta(seconds=seconds)))


@on_sqlite
@pytest.mark.parametrize("seconds", [-31, 60, 86400])
def test_a_code_of_another_time_is_wrong(
    registry: Registry, vault: Vault, secret: str, seconds: int
) -> None:
    with pytest.raises(WrongCodeError) as refused:
        show(registry, vault, code(secret, NOON + timedelta(seconds=seconds)))
    assert str(refused.value) == (
        f"One-time code of {REVIEWER!r}: it is wrong; 4 tries left. "
        "Type the six digits that the device shows now."
    )


@on_sqlite
def test_the_codes_are_those_that_pyotp_shows(
    registry: Registry, vault: Vault, secret: str
) -> None:
    show(registry, vault, pyotp.TOTP(secret).at(NOON))


def test_without_a_time_the_code_of_this_moment_counts(
    registry: Registry, vault: Vault, secret: str
) -> None:
    act_present(registry, vault, Presence(REVIEWER, pyotp.TOTP(secret).now()), lambda _: None)


@on_sqlite
def test_a_code_may_be_typed_with_a_space(registry: Registry, vault: Vault, secret: str) -> None:
    digits = code(secret, NOON)
    show(registry, vault, f"{digits[:3]} {digits[3:]}")


@on_sqlite
@pytest.mark.parametrize("typed", ["", "12345", "½²³٤٥٦", "x" * 1000])
def test_what_is_no_code_is_wrong(
    registry: Registry, vault: Vault, secret: str, typed: str
) -> None:
    with pytest.raises(WrongCodeError, match="it is wrong"):
        show(registry, vault, typed)


@pytest.mark.parametrize("seconds", [0, -30])
def test_a_code_counts_once_and_none_before_it_afterwards(
    registry: Registry, vault: Vault, secret: str, seconds: int
) -> None:
    show(registry, vault, code(secret, NOON))
    with pytest.raises(WrongCodeError, match=r"it was used before\. Wait for the next one"):
        show(registry, vault, code(secret, NOON + timedelta(seconds=seconds)))
    show(registry, vault, code(secret, NOON + timedelta(seconds=30)))


def test_one_code_in_two_processes_at_once_counts_once(
    registry: Registry, database: str, tmp_path: Path, vault: Vault, secret: str
) -> None:
    def shown(_: int) -> bool:
        with Registry(database, tmp_path) as mine:
            try:
                show(mine, vault, code(secret, NOON))
            except WrongCodeError:
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(shown, range(4))) == [False, False, False, True]


def test_five_wrong_codes_lock_for_fifteen_minutes(
    registry: Registry, vault: Vault, secret: str
) -> None:
    for _ in range(5):
        with pytest.raises(WrongCodeError, match="it is wrong"):
            show(registry, vault, wrong(secret, NOON))
    with pytest.raises(
        WrongCodeError, match=r"5 were wrong lately\. Wait until \d\d:\d\d:\d\d UTC"
    ):
        show(registry, vault, code(secret, NOON))
    _age_attempts(registry, timedelta(minutes=14))
    with pytest.raises(WrongCodeError, match="5 were wrong lately"):
        show(registry, vault, code(secret, NOON))
    _age_attempts(registry, timedelta(minutes=1))
    show(registry, vault, code(secret, NOON))


def _age_attempts(registry: Registry, by: timedelta) -> None:
    """Let time pass: the registry takes no clock from outside."""
    with registry.write() as session:
        for attempt in session.scalars(select(CodeAttempt)):
            attempt.at -= by


def test_guessing_in_many_processes_at_once_is_locked_too(
    registry: Registry, database: str, tmp_path: Path, vault: Vault, secret: str
) -> None:
    guess = wrong(secret, NOON)

    def refusal(_: int) -> str:
        with Registry(database, tmp_path) as mine, pytest.raises(WrongCodeError) as refused:
            show(mine, vault, guess)
        return "locked" if "were wrong lately" in str(refused.value) else "wrong"

    with ThreadPoolExecutor(8) as pool:
        refusals = list(pool.map(refusal, range(16)))
    assert (refusals.count("wrong"), refusals.count("locked")) == (5, 11)
    with pytest.raises(WrongCodeError, match="5 were wrong lately"):
        show(registry, vault, code(secret, NOON))


def test_a_right_code_forgets_the_wrong_ones(registry: Registry, vault: Vault, secret: str) -> None:
    for _ in range(4):
        with pytest.raises(WrongCodeError):
            show(registry, vault, wrong(secret, NOON))
    show(registry, vault, code(secret, NOON))
    assert attempts(registry) == 0


def test_one_who_guesses_does_not_lock_the_others(
    registry: Registry, vault: Vault, secret: str
) -> None:
    by = Presence(REVIEWER, code(secret, NOON), NOON)
    other = pyotp.parse_uri(enrol(registry, vault, OPERATIONS, by)).secret
    for _ in range(5):
        with pytest.raises(WrongCodeError):
            show(registry, vault, wrong(secret, NOON))
    mine = Presence(OPERATIONS, code(other, NOON), NOON)
    assert act_present(registry, vault, mine, lambda session: "done") == "done"


def test_a_refused_decision_does_not_use_up_the_code(
    registry: Registry, vault: Vault, secret: str, world: World
) -> None:
    with registry.write() as session:
        world.enter(session)
    strict = replace(world.policy, identity="totp")

    def decided(gate: str) -> Approval:
        said = Decision(gate, "approve", REVIEWER, "read the evidence", "totp")
        by = Presence(REVIEWER, code(secret, NOON), NOON)
        return act_present(
            registry,
            vault,
            by,
            lambda session: decide(session, "flight-delay", "1.0.0", said, strict)[0],
        )

    with pytest.raises(ApprovalError, match="the review has not approved it"):
        decided("go-live")
    assert attempts(registry) == 0
    assert decided("review").identity == "totp"
    with pytest.raises(WrongCodeError, match="it was used before"):
        decided("review")


def test_a_claimed_name_is_less_than_a_policy_with_codes_asks(
    session: Session, world: World
) -> None:
    world.enter(session)
    said = Decision("review", "approve", REVIEWER, "")
    with pytest.raises(ApprovalError) as refused:
        decide(session, "flight-delay", "1.0.0", said, replace(world.policy, identity="totp"))
    assert str(refused.value).endswith(
        "identity 'claimed' is less than the policy's 'totp'. "
        "Give the one-time code with --code; 'pilotline approvers add' enrols a device."
    )


def test_a_removed_approver_stops_what_is_not_promoted_even_when_enrolled_again(
    registry: Registry, vault: Vault, secret: str, world: World
) -> None:
    with registry.write() as session:
        version = world.enter(session)
        said = Decision("review", "approve", REVIEWER, "", "totp")
        decide(session, "flight-delay", "1.0.0", said, world.policy)
        assert live_approval(session, version, "review", world.policy) is not None
    by = Presence(REVIEWER, code(secret, NOON), NOON)
    other = pyotp.parse_uri(enrol(registry, vault, OPERATIONS, by)).secret
    remove_approver(registry, vault, REVIEWER, Presence(OPERATIONS, code(other, NOON), NOON))
    with registry.read() as session:
        assert enrolled_since(session, REVIEWER) is None
        assert live_approval(session, version, "review", world.policy) is None
        assert list_events(session, None)[-1].facts() == {"approver": REVIEWER, "by": OPERATIONS}
    later = NOON + timedelta(minutes=1)
    enrol(registry, vault, REVIEWER, Presence(OPERATIONS, code(other, later), later))
    with registry.read() as session:
        assert enrolled_since(session, REVIEWER) is not None
        assert live_approval(session, version, "review", world.policy) is None


def test_nobody_can_act_as_somebody_who_is_not_enrolled(
    registry: Registry, vault: Vault, secret: str
) -> None:
    with pytest.raises(ApproverError) as refused:
        act_present(registry, vault, Presence(OPERATIONS, "123456"), lambda session: None)
    assert str(refused.value) == (
        f"Approver {OPERATIONS!r}: not enrolled; enrolled: {REVIEWER}. "
        f"Add it with 'pilotline approvers add {OPERATIONS}'."
    )


def test_somebody_who_is_not_enrolled_cannot_be_removed(
    registry: Registry, vault: Vault, secret: str
) -> None:
    by = Presence(REVIEWER, code(secret, NOON), NOON)
    with pytest.raises(ApproverError, match=r"not enrolled; .*'pilotline approvers list' says"):
        remove_approver(registry, vault, OPERATIONS, by)
    show(registry, vault, by.code)  # it is not used up


def test_the_database_holds_no_secret_in_clear(
    registry: Registry, vault: Vault, secret: str
) -> None:
    with registry.read() as session:
        tables = inspect(session.connection()).get_table_names()
        rows = [session.execute(text(f'SELECT * FROM "{table}"')).all() for table in tables]
    assert REVIEWER in str(rows)
    assert secret not in str(rows)


def test_another_key_checks_no_code_and_counts_none(
    registry: Registry, vault: Vault, secret: str
) -> None:
    with pytest.raises(ApproverError, match="does not open the secret"):
        show(registry, Vault(make_key()), code(secret, NOON))
    assert attempts(registry) == 0


def test_a_secret_moved_to_another_approver_is_refused(
    registry: Registry, vault: Vault, secret: str
) -> None:
    enrol(registry, vault, OPERATIONS, Presence(REVIEWER, code(secret, NOON), NOON))
    with registry.write() as session:  # behind the registry's back
        mine = select(Approver.secret).where(Approver.name == REVIEWER).scalar_subquery()
        session.execute(update(Approver).where(Approver.name == OPERATIONS).values(secret=mine))
    later = NOON + timedelta(minutes=1)
    by = Presence(OPERATIONS, code(secret, later), later)
    with pytest.raises(ApproverError, match=f"the secret was sealed for '{REVIEWER}'"):
        act_present(registry, vault, by, lambda session: None)


@pytest.mark.parametrize("twin", ["Reviewer@Example.org ", "\uff52eviewer@example.org"])
def test_one_person_has_one_enrolment_and_is_found_however_typed(
    registry: Registry, vault: Vault, secret: str, twin: str
) -> None:
    by = Presence(REVIEWER, code(secret, NOON), NOON)
    with pytest.raises(ApproverError, match="enrolled already"):
        enrol(registry, vault, twin, by)
    act_present(registry, vault, Presence(twin, by.code, NOON), lambda session: None)
    with registry.read() as session:
        assert enrolled_since(session, twin) == enrolled_since(session, REVIEWER) is not None


@on_sqlite
@pytest.mark.parametrize("odd", ["\ud800", "\0", "\uff11" * 6])
def test_a_code_of_odd_characters_is_a_wrong_one(
    registry: Registry, vault: Vault, secret: str, odd: str
) -> None:
    with pytest.raises(WrongCodeError, match="it is wrong"):
        show(registry, vault, odd)
    assert attempts(registry) == 1
