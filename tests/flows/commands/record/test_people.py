"""Approvers and consumers by command: codes from a phone, contacts, what is told and what is not.

The phone is pyotp, which knows only the URI that was shown.
"""

import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from tests.flows.conftest import Demo, approve_challenger, copy_home, copy_record, query_sqlite
from tests.support.commands import Ran, run_command, run_flow, run_here
from tests.support.flows.listener import Listener

MODEL = "flight-delay"
REVIEWER, OPERATIONS = "reviewer@example.org", "operations@example.org"
STEP_S = 30  # what an authenticator shows changes this often


class Phone:
    """An authenticator that scanned a URI; each code it gives is of a later time step."""

    def __init__(self, uri: str) -> None:
        scanned = pyotp.parse_uri(uri)
        assert isinstance(scanned, pyotp.TOTP)
        self._totp = scanned
        self._given = 0  # time step of the last code

    def code(self) -> str:
        """Return a code that is accepted now and was not given before.

        One step ahead is accepted too, so that two codes need no waiting.
        """
        step = max(self._given + 1, self._now())
        while step > self._now() + 1:
            time.sleep(0.1)
        self._given = step
        return str(self._totp.at(step * STEP_S))

    def wrong_codes(self, count: int) -> list[str]:
        """Return codes that no time step near now has."""
        near = {self._totp.at((self._now() + n) * STEP_S) for n in range(-20, 20)}
        return [str(n) for n in range(731_650, 732_650) if str(n) not in near][:count]

    def _now(self) -> int:
        return int(time.time()) // STEP_S


class Office:
    """A small home whose policy asks for codes, and what its people do there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        policy = home / "policy.toml"
        text = policy.read_text("utf-8")
        policy.write_text(text.replace('"claimed"', '"totp"'), "utf-8")
        self.key = run_here(home, "approvers", "key").out.strip()
        self.codes: list[str] = []  # all that was typed
        self.said = ""

    def run(self, *words: str, **settings: str) -> Ran:
        """Run a command where the key is."""
        settings = {"PILOTLINE_APPROVAL_KEY": self.key} | settings
        ran = run_command(self.home, *words, settings=settings)
        self.codes += [after for word, after in pairwise(words) if word == "--code"]
        self.said += ran.out + ran.err
        return ran

    def enrol(self, name: str, *vouching: str) -> Phone:
        """Enrol somebody and let them scan what is shown."""
        ran = self.run("approvers", "add", name, *vouching)
        assert ran.status == 0, ran.err
        (uri,) = re.findall(r"^otpauth://\S+$", ran.out, re.MULTILINE)
        return Phone(uri)

    def decide(self, verb: str, gate: str, by: str, *code: str, key: str | None = None) -> Ran:
        """Say yes or no about the challenger, where another key may be."""
        words = (verb, MODEL, "1.0.1", "--gate", gate, "--by", by, "--comment", "read it")
        settings = {} if key is None else {"PILOTLINE_APPROVAL_KEY": key}
        return self.run(*words, *code, **settings)


@pytest.fixture
def office(record: Path) -> Office:
    """Return an office in which nobody is enrolled yet."""
    return Office(record)


def refused(ran: Ran, *needed: str) -> None:
    """Check that a command refused in words."""
    assert ran.status == 1, ran.out
    assert ran.err.splitlines()[-1].startswith("Error: ")
    for part in needed:
        assert part in ran.err
    assert ran.out == ""


def test_nobody_is_enrolled_under_what_is_not_a_key(record: Path) -> None:
    odd = run_here(
        record, "approvers", "add", REVIEWER, settings={"PILOTLINE_APPROVAL_KEY": "my-key"}
    )
    refused(odd, "PILOTLINE_APPROVAL_KEY is no key", "pilotline approvers key")
    assert "my-key" not in odd.err


def test_each_key_is_another(tmp_path: Path) -> None:
    keys = {run_here(tmp_path, "approvers", "key").out for _ in range(2)}
    assert len(keys) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_first_enrols_alone_and_vouches_for_the_next(office: Office) -> None:
    shown = office.run("approvers", "add", REVIEWER)
    assert shown.status == 0, shown.err
    assert sum(character in "█▀▄" for character in shown.out) > 200  # to scan
    (uri,) = re.findall(r"^otpauth://\S+$", shown.out, re.MULTILINE)
    assert urlsplit(uri).netloc == "totp"
    (secret,) = parse_qs(urlsplit(uri).query)["secret"]
    assert len(secret) == 32  # 160 bits in base32: RFC 4226 section 4 asks for no less
    assert "shown only now; the registry keeps it encrypted" in shown.out

    refused(office.run("approvers", "add", OPERATIONS), "must vouch", "--by NAME --code CODE")
    half = office.run("approvers", "add", OPERATIONS, "--by", REVIEWER)
    assert (half.status, "Give --by and --code together" in half.err) == (2, True)
    phone = Phone(uri)
    wrong = phone.wrong_codes(1)[0]
    vouching = ("--by", REVIEWER, "--code")
    refused(office.run("approvers", "add", OPERATIONS, *vouching, wrong), "it is wrong")
    office.enrol(OPERATIONS, *vouching, phone.code())
    again = office.run("approvers", "add", REVIEWER.upper(), *vouching, phone.code())
    refused(again, "enrolled already", "Remove it first")

    listed = office.run("approvers", "list", "--json").json
    found = {person["approver"]: person["gates"] for person in listed if person["enrolled_since"]}
    assert found == {REVIEWER: ["review"], OPERATIONS: ["go-live"]}
    ((sealed,),) = query_sqlite(
        office.home / "registry.db", "select secret from approver where name = ?", REVIEWER
    )
    assert secret not in sealed


def test_somebody_whom_the_policy_does_not_name_is_told_so(office: Office) -> None:
    done = office.run("approvers", "add", "guest@example.org")
    assert done.status == 0
    assert "opens no gate to guest@example.org" in done.err
    assert "policy.toml" in done.err


def test_a_decision_needs_a_right_code_that_counts_once(office: Office) -> None:
    phone = office.enrol(REVIEWER)
    before = contents_of_record(office.home)
    refused(office.decide("approve", "review", REVIEWER), "'claimed'", "--code", "approvers add")
    wrong = phone.wrong_codes(1)[0]
    refused(
        office.decide("approve", "review", REVIEWER, "--code", wrong),
        *(REVIEWER, "it is wrong", "six digits"),
    )
    stranger = office.decide("approve", "review", OPERATIONS, "--code", wrong)
    refused(stranger, "not enrolled", REVIEWER, "pilotline approvers add")
    assert contents_of_record(office.home) == before

    code = phone.code()
    keyless = office.decide("approve", "review", REVIEWER, "--code", code, key="")
    refused(keyless, "PILOTLINE_APPROVAL_KEY is not set")
    done = office.decide("approve", "review", REVIEWER, "--code", f"{code[:3]} {code[3:]}")
    assert done.status == 0, done.err
    assert f"approved at review by {REVIEWER} (totp)" in done.out
    again = office.decide("reject", "review", REVIEWER, "--code", code)
    refused(again, "it was used before", "Wait for the next one")
    shown = office.run("show", f"{MODEL}@1.0.1", "--json").json
    assert [(a["gate"], a["decision"], a["identity"]) for a in shown["approvals"]] == [
        ("review", "approve", "totp")
    ]
    done = office.decide("reject", "review", REVIEWER, "--code", phone.code())
    assert done.status == 0, done.err
    assert f"rejected at review by {REVIEWER} (totp)" in done.out
    kept_no_code(office)


def test_a_second_approval_by_one_person_says_that_the_first_stays(record: Path) -> None:
    words = ("approve", MODEL, "1.0.1", "--gate", "review", "--by", REVIEWER, "--comment")
    assert "stays" not in run_here(record, *words, "read it").out
    again = run_here(record, *words, "read it twice")
    assert "The first decision stays, and its comment: read it\n" in again.out
    asked = run_here(record, *words, "read it twice", "--json").json
    assert (asked["new"], asked["comment"]) == (False, "read it")


def test_a_code_is_not_used_up_where_the_decision_itself_is_refused(office: Office) -> None:
    phone = office.enrol(OPERATIONS)
    code = ("--code", phone.code())
    early = office.decide("approve", "go-live", OPERATIONS, *code)
    refused(early, "the review has not approved it", "pilotline release")
    done = office.run("deprecate", MODEL, "1.0.1", "--reason", "old", "--by", OPERATIONS, *code)
    assert done.status == 0, done.err


def test_five_wrong_codes_lock_for_a_quarter_of_an_hour(office: Office) -> None:
    phone = office.enrol(REVIEWER)
    lefts = ("4 tries", "3 tries", "2 tries", "1 try", "no tries")
    for left, wrong in zip(lefts, phone.wrong_codes(5), strict=True):
        done = office.decide("approve", "review", REVIEWER, "--code", wrong)
        refused(done, f"it is wrong; {left} left")
    right = phone.code()
    locked = office.decide("approve", "review", REVIEWER, "--code", right)
    refused(locked, "5 were wrong lately", "Wait until")
    words = ("revoke", MODEL, "1.0.1", "--reason", "x", "--by", REVIEWER, "--code", right)
    refused(office.run(*words), "5 were wrong lately")
    let_minutes_pass(office.home, 16)
    done = office.decide("approve", "review", REVIEWER, "--code", phone.code())
    assert done.status == 0, done.err
    kept_no_code(office)


def test_what_a_removed_approver_said_stops_a_release(
    demo: Demo, tmp_path: Path, server: str
) -> None:
    office = Office(copy_home(demo.home, tmp_path / "whole"))
    at = {"PREFECT_API_URL": server}
    reviewer = office.enrol(REVIEWER)
    operations = office.enrol(OPERATIONS, "--by", REVIEWER, "--code", reviewer.code())
    done = office.decide("approve", "review", REVIEWER, "--code", reviewer.code())
    assert done.status == 0, done.err
    waiting = office.run("release", MODEL, "1.0.1", **at)
    assert "waiting for go-live" in waiting.out
    assert f"--by {OPERATIONS} --code CODE --comment TEXT" in waiting.out
    done = office.decide("approve", "go-live", OPERATIONS, "--code", operations.code())
    assert done.status == 0, done.err

    words = ("approvers", "remove", OPERATIONS, "--by", OPERATIONS, "--code")
    removed = office.run(*words, operations.code())
    assert (removed.status, "is no approver any more" in removed.out) == (0, True)
    stopped = office.run("release", MODEL, "1.0.1", "--json", **at)
    assert (stopped.status, stopped.json["state"]) == (0, "waiting")
    assert "waiting for go-live" in stopped.json["reason"]
    shown = office.run("show", f"{MODEL}@champion", "--json").json
    assert shown["version"] == "1.0.0"
    refused(office.run(*words, *operations.wrong_codes(1)), "not enrolled", REVIEWER)
    kept_no_code(office)


def test_going_back_and_revoking_need_a_code_where_the_factory_asks_for_one(
    demo: Demo, tmp_path: Path, server: str
) -> None:
    home = copy_home(demo.home, tmp_path / "whole")
    promote_by_name(home, server)
    released = run_flow(home, "release", MODEL, "1.0.0", settings={"PREFECT_API_URL": server})
    assert f"before: pilotline rollback {MODEL} --reason TEXT goes back" in released.out
    what_to_score_again_is_named(copy_record(home, tmp_path / "record"))
    office = Office(home)
    phone = office.enrol(REVIEWER)
    back = ("rollback", MODEL, "--reason", "July was an exception")
    before = contents_of_record(home)
    refused(office.run(*back), "the policy asks for a one-time code", "--by NAME and --code CODE")
    refused(office.run(*back, "--by", REVIEWER), "the policy asks for a one-time code")
    mine = ("--by", REVIEWER, "--code")
    refused(office.run(*back, *mine, phone.wrong_codes(1)[0]), "it is wrong")
    assert contents_of_record(home) == before
    done = office.run(*back, *mine, phone.code(), "--json")
    assert done.status == 0, done.err
    assert (done.json["number"], done.json["previous"]) == ("1.0.0", "1.0.1")
    revoked = office.run("revoke", MODEL, "1.0.1", "--reason", "calendar", *mine, phone.code())
    assert (revoked.status, "1.0.1 is revoked" in revoked.out) == (0, True), revoked.err
    assert office.run("audit", "verify").status == 0
    bodies = query_sqlite(
        home / "registry.db", "select body from event where kind in ('rolled back', 'revoked')"
    )
    assert len(bodies) == 2
    for (body,) in bodies:
        assert f'"by":"{REVIEWER}"' in body
        assert '"identity":"totp"' in body
    kept_no_code(office)


def what_to_score_again_is_named(home: Path) -> None:
    """Roll back a champion that production shows on four days."""
    with closing(sqlite3.connect(home / "registry.db")) as database, database:
        database.execute("drop trigger run_no_update")
        database.execute(
            "update run set version_id = (select max(id) from model_version) "
            "where date between '2013-02-02' and '2013-02-05'"
        )
    back = run_here(home, "rollback", MODEL, "--reason", "July was an exception")
    assert f"backfill {MODEL} --start 2013-02-02 --end 2013-02-05 --using champion" in back.out


def promote_by_name(home: Path, server: str) -> None:
    """Take the challenger to champion while the policy asks for names only."""
    approve_challenger(home)
    promoted = run_flow(home, "release", MODEL, "1.0.1", settings={"PREFECT_API_URL": server})
    assert "now champion" in promoted.out, promoted.err


def contents_of_record(home: Path) -> Sequence[tuple[int]]:
    """Return how many events and decisions there are."""
    sql = "select count(*) from event union all select count(*) from approval"
    return query_sqlite(home / "registry.db", sql)


def let_minutes_pass(home: Path, minutes: int) -> None:
    """Move the wrong tries back in time; the registry takes no clock from outside."""
    with closing(sqlite3.connect(home / "registry.db")) as database, database:
        database.execute(f"update code_attempt set at = datetime(at, '-{minutes} minutes')")


def kept_no_code(office: Office) -> None:
    """Check that no code that was typed stands in any output or file, as a word of its own."""
    texts = {"output": office.said.encode()}
    for path in office.home.rglob("*"):
        if path.is_file() and path.name != "online.db":
            texts[str(path)] = path.read_bytes()
    assert office.codes
    for code in map(str.encode, office.codes):
        word = re.compile(rb"(?<![\w.])" + code + rb"(?!\w)")
        holding = {where: text for where, text in texts.items() if code in text}  # 200 times faster
        assert [where for where, text in holding.items() if word.search(text)] == []


def test_a_consumer_is_added_once_changed_listed_and_removed(record: Path) -> None:
    def run(*words: str) -> Ran:
        ran = run_here(record, "consumers", *words)
        assert ran.status == 0, ran.err
        return ran

    assert "No consumer" in run("list", MODEL).out
    assert run("list", MODEL, "--json").json == []
    words = ("add", MODEL, "pricing", "--contact", "pricing@example.org", "--needs", "~=1.0")
    run(*words)
    before = contents_of_record(record)
    assert "is told already" in run(*words).out
    assert contents_of_record(record) == before
    warned = run(*words[:-1], "~=2.0")
    assert "The champion 1.0.0 does not fit ~=2.0" in warned.err
    known = "pricing@example.org"
    assert f"It was {known}, ~=1.0; is now {known}, ~=2.0." in warned.out
    facts = {"consumer": "pricing", "contact": "pricing@example.org", "needs": "~=2.0"}
    assert run("list", MODEL, "--json").json == [facts]
    assert "pricing@example.org" in run("list", MODEL).out
    run("remove", MODEL, "pricing")
    assert run("list", MODEL, "--json").json == []


def test_what_cannot_be_sent_stays_and_what_can_is_sent_once(record: Path) -> None:
    def run(*words: str) -> Ran:
        return run_here(record, *words)

    assert "Nothing is due." in run("notify").out
    with Listener() as listener:
        contact = f"json://127.0.0.1:{listener.port}/hook"
        run("consumers", "add", MODEL, "crew", "--contact", contact)
        run("consumers", "add", MODEL, "desk", "--contact", "desk@example.org")
        done = run("deprecate", MODEL, "1.0.1", "--reason", "moved on")
        assert done.status == 0
        assert "crew: told: flight-delay 1.0.1 is deprecated" in done.err
        assert "desk: not told yet (PILOTLINE_MAIL is not set here)" in done.err
        assert ("Told: crew" in done.out, "To be told: desk" in done.out) == (True, True)
        again = run("deprecate", MODEL, "1.0.1", "--reason", "moved on")
        assert "Told before: crew\nTo be told: desk" in again.out
        later = run("notify")
        assert (later.status, "1 wait for a later try" in later.out) == (0, True)
        tried = run("notify", "--now", "--json")
        assert tried.status == 1
        assert [(d["consumer"], d["sent"], d["attempts"]) for d in tried.json] == [
            ("desk", False, 2)
        ]
    assert [message["title"] for message in listener.heard] == ["flight-delay 1.0.1 is deprecated"]
    assert "moved on" in listener.heard[0]["message"]
