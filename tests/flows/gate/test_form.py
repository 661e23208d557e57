"""What an answer to the form at a gate counts for, without a server."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest

from pilotline.flows.gate.form import LONGEST_DELAY, Answer, judge_answer
from pilotline.flows.gate.page import make_page
from pilotline.registry.gates.approvers import enrol
from pilotline.registry.gates.vault import Vault
from pilotline.tasks.home import Home, find_home
from tests.flows.conftest import query_sqlite
from tests.support.flows.approvals import AUTHOR, KEY, OPERATOR, REVIEWER
from tests.support.flows.factory import CHALLENGER, MODEL
from tests.support.places import ROOT

SEEN, NOW = "as it is", timedelta(0)


@pytest.fixture
def home(record: Path) -> Home:
    """Return a home whose challenger waits at review."""
    places = {"PILOTLINE_HOME": str(record), "PILOTLINE_LAB": str(ROOT / "lab")}
    return find_home(dict(os.environ) | places | {"PILOTLINE_APPROVAL_KEY": KEY}, ROOT)


@pytest.fixture
def phone(home: Home) -> pyotp.TOTP:
    """Return the reviewer's phone in a home whose policy asks for codes."""
    policy = home.root / "policy.toml"
    policy.write_text(policy.read_text("utf-8").replace('"claimed"', '"totp"'), "utf-8")
    with home.open_registry() as registry:
        found = pyotp.parse_uri(enrol(registry, Vault(KEY), REVIEWER, None))
    assert isinstance(found, pyotp.TOTP)
    return found


def judge(home: Home, age: timedelta = NOW, shown: str = SEEN, **fields: str) -> str:
    """Return why the reviewer's approval, sent so long ago, does not count."""
    form = {"decision": "approve", "approver": REVIEWER, "comment": "seen"} | fields
    answer = Answer(shown, form, datetime.now(UTC) - age)
    return judge_answer(home, MODEL, CHALLENGER, "review", answer, SEEN)


def decided(home: Home) -> list[tuple[str, ...]]:
    """Return what was decided, without the two decisions of the demo about its champion."""
    query = "select decision, approver, identity from approval order by id"
    return query_sqlite(home.root / "registry.db", query)[2:]


def test_an_approval_is_recorded(home: Home) -> None:
    assert judge(home) == ""
    assert decided(home) == [("approve", REVIEWER, "claimed")]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"approver": AUTHOR}, "is the author of this version"),
        ({"approver": OPERATOR}, "is no approver here"),
        ({"decision": "reject", "comment": " "}, "a rejection without a reason"),
        ({"decision": "perhaps"}, "no answer to this form"),
        ({"identity": "totp"}, "no answer to this form"),
        ({"comment": "x" * 2001}, "no answer to this form"),
    ],
)
def test_what_does_not_count_says_why(home: Home, fields: dict[str, str], reason: str) -> None:
    assert reason in judge(home, NOW, SEEN, **fields)
    assert decided(home) == []


def test_who_approves_what_another_one_approved_leaves_no_decision_but_a_word(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    second = "second@example.org"
    policy = home.root / "policy.toml"
    both = f'review = ["{REVIEWER}", "{second}"]'
    policy.write_text(policy.read_text().replace(f'review = ["{REVIEWER}"]', both))
    with caplog.at_level("WARNING", "pilotline"):
        assert judge(home) == judge(home, approver=second) == ""
    assert decided(home) == [("approve", REVIEWER, "claimed")]
    said = f"review was approved by {REVIEWER} already: nothing was recorded of {second}"
    assert caplog.messages == [said]


def test_who_is_needed_at_the_other_gate_may_be_relieved_at_this_one(home: Home) -> None:
    policy = home.root / "policy.toml"
    both = f'review = ["{OPERATOR}", "{REVIEWER}"]'
    policy.write_text(policy.read_text().replace(f'review = ["{REVIEWER}"]', both))
    assert judge(home, approver=OPERATOR) == ""
    assert judge(home) == ""  # else nobody could decide at go-live, where only the first one may
    assert [person for _, person, _ in decided(home)] == [OPERATOR, REVIEWER]


def test_nothing_is_no_decision(home: Home) -> None:
    answer = Answer(SEEN, None, datetime.now(UTC))
    reason = judge_answer(home, MODEL, CHALLENGER, "review", answer, SEEN)
    assert reason == "The run was resumed without this form."


def test_other_evidence_approves_nothing_and_may_be_rejected(home: Home) -> None:
    assert "The evidence changed" in judge(home, shown="as it was")
    assert judge(home, shown="as it was", decision="reject") == ""
    assert decided(home) == [("reject", REVIEWER, "claimed")]


def test_a_code_is_judged_by_the_time_it_was_sent(home: Home, phone: pyotp.TOTP) -> None:
    age = timedelta(minutes=5)
    code = phone.at(datetime.now(UTC) - age)
    assert judge(home, age, code=code) == ""
    assert decided(home) == [("approve", REVIEWER, "totp")]


def test_a_code_that_lay_too_long_is_not_looked_at(home: Home, phone: pyotp.TOTP) -> None:
    age = LONGEST_DELAY + timedelta(minutes=1)
    code = phone.at(datetime.now(UTC) - age)
    assert "more than 15 minutes before it was read" in judge(home, age, code=code)
    assert decided(home) == []


def test_a_clock_that_is_ahead_does_not_make_later_codes_good(
    home: Home, phone: pyotp.TOTP
) -> None:
    ahead = timedelta(minutes=5)
    code = phone.at(datetime.now(UTC) + ahead)
    assert "it is wrong" in judge(home, -ahead, code=code)


def test_a_missing_code_is_asked_for(home: Home, phone: pyotp.TOTP) -> None:
    assert "is less than the policy's 'totp'" in judge(home)


def test_no_message_quotes_what_was_typed_as_a_code(home: Home, phone: pyotp.TOTP) -> None:
    code = phone.now()
    for fields in ({"decision": "perhaps"}, {"approver": "nobody@example.org"}):
        assert code not in judge(home, NOW, SEEN, code=code, **fields)


def test_the_fingerprint_of_the_evidence_follows_what_a_decision_rests_on(home: Home) -> None:
    def fingerprint(gate: str = "review", policy: str = "p") -> str:
        return make_page(home, MODEL, CHALLENGER, gate, policy).fingerprint

    assert fingerprint() == fingerprint()
    assert len({fingerprint(), fingerprint("go-live"), fingerprint(policy="q")}) == 3


def test_release_notes_cannot_pass_for_evidence(home: Home) -> None:
    page = make_page(home, MODEL, CHALLENGER, "review", "p").markdown
    notes = page.split("### Release notes, by the author\n\n")[1].split("\n\n### Who uses it")[0]
    assert notes
    assert all(line.startswith("    ") for line in notes.splitlines())
