"""Decisions at the gates, and taking versions out of use, under the policy that holds."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import (
    ApprovalError,
    ApproverError,
    PolicyError,
    UnknownVersionError,
    VersionUnfitError,
    WrongCodeError,
)
from pilotline.registry.gates.approvals import Decision
from pilotline.registry.gates.approvers import Presence, enrol
from pilotline.registry.gates.resolution import champion
from pilotline.registry.gates.vault import Vault, make_key
from pilotline.registry.record.registration import Judged, Registration, register
from pilotline.registry.record.versions import Learned, get_version, learned_from, status_of
from pilotline.tasks.decide.decisions import record_decision, retire_version, roll_back
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import Bundle, load_bundle, load_champion
from pilotline.tasks.lab.policy import policy_of

MODEL = "flight-delay"
SAID = Decision("review", "approve", "reviewer@example.org", "read the evidence")
DAY = date(2013, 1, 1)


def _learned(registry: Registry, bundle: Bundle) -> list[Learned]:
    with registry.read() as session:
        rows = learned_from(session, bundle.version)
    return [
        Learned(row.dataset, row.date, row.use, row.partition_digest, row.table_version)
        for row in rows
    ]


def _judged(bundle: Bundle) -> Judged:
    evaluation = bundle.json("evaluation.json")
    days = sorted(bundle.json("data.json")["holdout"]["days"])
    first, last = (date.fromisoformat(day) for day in (days[0], days[-1]))
    return Judged(evaluation["metrics"], first, last, evaluation["rows"])


@pytest.fixture
def add(registry: Registry) -> Callable[[str], str]:
    """Return a function that registers the champion again with more in its settings."""

    def register_with(settings: str) -> str:
        bundle = load_champion(registry, MODEL)
        roles = {file.path: file.role for file in bundle.manifest.files}
        contents = {path: (roles[path], data) for path, data in bundle.files.items()}
        config = bundle.files["model.toml"] + settings.encode()
        contents["model.toml"] = ("config", config)
        new = Registration(
            facts=bundle.spec.facts,
            author=bundle.spec.author,
            contents=contents,
            contract=bundle.json("contract.json"),
            interpreter=bundle.manifest.interpreter,
            platform=bundle.manifest.platform,
            training_key="8" * 64,
            learned=_learned(registry, bundle),
            judged=_judged(bundle),
            notes=bundle.files["notes.md"].decode(),
            parent=None,
        )
        return register(registry, new)[0].number

    return register_with


@pytest.fixture
def number(add: Callable[[str], str]) -> str:
    """Return the number of a second version, waiting for review."""
    return add("\n# again\n")


@pytest.fixture
def guarded(home: Home) -> Home:
    """Return the home under a policy that asks for one-time codes, with the key to check them."""
    text = home.policy_path.read_text("utf-8")
    home.policy_path.write_text(text.replace('"claimed"', '"totp"'), "utf-8")
    return replace(home, approval_key=make_key())


def enrolled(home: Home, registry: Registry, name: str, by: Presence | None = None) -> pyotp.TOTP:
    """Enrol ``name`` and return the device."""
    uri = enrol(registry, Vault(home.approval_key), name, by)
    return pyotp.TOTP(parse_qs(urlsplit(uri).query)["secret"][0])


def test_a_decision_is_recorded_once_under_the_home_s_policy(
    home: Home, registry: Registry, number: str
) -> None:
    first = record_decision(home, MODEL, number, SAID)
    assert (first.gate, first.by, first.identity) == ("review", SAID.approver, "claimed")
    again = record_decision(home, MODEL, number, SAID)
    assert (first.new, again.new) == (True, False)
    assert again.approval == first.approval
    with registry.read() as session:
        assert status_of(session, get_version(session, MODEL, number)) == "approved"


def test_somebody_the_policy_does_not_name_is_refused(home: Home, number: str) -> None:
    said = Decision("review", "approve", "visitor@example.org", "why not")
    with pytest.raises(ApprovalError, match=r"'visitor@example\.org' is no approver here"):
        record_decision(home, MODEL, number, said)


def test_a_decision_on_no_version_is_refused(home: Home) -> None:
    with pytest.raises(UnknownVersionError):
        record_decision(home, MODEL, "9.9.9", SAID)


def test_without_a_code_a_guarded_gate_stays_shut(guarded: Home, number: str) -> None:
    with pytest.raises(ApprovalError, match="identity 'claimed' is less than the policy's 'totp'"):
        record_decision(guarded, MODEL, number, SAID)


def test_a_right_code_opens_a_guarded_gate_once(
    guarded: Home, registry: Registry, number: str
) -> None:
    device = enrolled(guarded, registry, SAID.approver)
    presence = Presence(SAID.approver, device.now())
    decided = record_decision(guarded, MODEL, number, SAID, presence)
    assert (decided.identity, decided.new) == ("totp", True)
    with pytest.raises(WrongCodeError, match="used before"):
        record_decision(guarded, MODEL, number, replace(SAID, decision="reject"), presence)


def test_where_the_key_is_not_no_code_is_checked(
    guarded: Home, registry: Registry, number: str
) -> None:
    device = enrolled(guarded, registry, SAID.approver)
    without = replace(guarded, approval_key=None)
    with pytest.raises(ApproverError, match="PILOTLINE_APPROVAL_KEY is not set"):
        record_decision(without, MODEL, number, SAID, Presence(SAID.approver, device.now()))


def test_a_model_may_ask_for_more_than_the_factory(
    home: Home, registry: Registry, add: Callable[[str], str]
) -> None:
    number = add('\n[approvals]\nidentity = "totp"\nexpires_days = 3\n')
    with registry.read() as session:
        policy = policy_of(home, registry, get_version(session, MODEL, number))
    assert (policy.identity, policy.expires_days) == ("totp", 3)
    with pytest.raises(ApprovalError, match="identity 'claimed'"):
        record_decision(home, MODEL, number, SAID)


def test_a_model_may_not_ask_for_less(home: Home, add: Callable[[str], str]) -> None:
    number = add("\n[approvals]\nexpires_days = 400\n")
    with pytest.raises(PolicyError, match="expires_days 400 is looser than the factory's 14"):
        record_decision(home, MODEL, number, SAID)


def test_a_guarded_factory_rolls_back_with_a_code_only(guarded: Home, registry: Registry) -> None:
    with pytest.raises(ApproverError, match="asks for a one-time code"):
        roll_back(guarded, MODEL, "wrong", "somebody")
    device = enrolled(guarded, registry, SAID.approver)
    presence = Presence(SAID.approver, device.now())
    with pytest.raises(VersionUnfitError, match="there is none to go back to"):
        roll_back(guarded, MODEL, "wrong", SAID.approver, presence)


def test_a_revoked_champion_scores_no_more(home: Home, registry: Registry) -> None:
    number = load_champion(registry, MODEL).version.number
    retired = retire_version(home, MODEL, number, "revoked", "wrong by a factor", "operations")
    assert retired.was_champion
    with registry.read() as session, pytest.raises(VersionUnfitError, match="is revoked"):
        champion(session, MODEL)
    with registry.read() as session:
        bundle = load_bundle(registry, get_version(session, MODEL, number))
    assert bundle.version.number == number  # what it was can still be looked at
