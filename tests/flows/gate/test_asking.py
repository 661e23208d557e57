"""A release of a deployment at its gates: runs of a real server, answered as the UI does it."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.flows.conftest import query_sqlite
from tests.support.commands import Ran, run_flow, run_process
from tests.support.flows.approvals import AUTHOR, NO_SERVER, OPERATOR, REVIEWER, Desk, OwnServer
from tests.support.flows.factory import CHALLENGER, MODEL
from tests.support.waiting import wait_until

DECISIONS = "select gate, decision, approver, identity, comment from approval order by id desc"
SOON_H = 3 / 3600


@pytest.fixture(scope="module")
def server(own_server: OwnServer) -> OwnServer:
    """Return a server of this file's own: a decision wakes every release that waits."""
    return own_server


@pytest.fixture
def desk(record: Path, server: OwnServer) -> Desk:
    """Return a home whose challenger waits at review, at a running server."""
    return Desk(record, server)


def decisions(desk: Desk) -> list[tuple[str, ...]]:
    """Return what was decided, the last first, without what the demo decided about its champion."""
    found: list[tuple[str, ...]] = query_sqlite(desk.home / "registry.db", DECISIONS)
    return found[:-2]


def test_the_form_has_four_fields_and_shows_the_evidence(desk: Desk) -> None:
    run = desk.start()
    found = desk.state(run)
    assert (found["type"], found["name"]) == ("PAUSED", "Suspended")
    keys = found["state_details"]["run_input_keyset"]
    schema = json.loads(desk.inputs(run)[keys["schema"]])
    assert list(schema["properties"]) == ["decision", "approver", "code", "comment"]
    assert schema["required"] == ["decision", "approver", "comment"]
    assert "default" not in schema["properties"]["decision"]
    head = desk.command("audit", "head").out
    (last,) = query_sqlite(
        desk.home / "registry.db",
        f"select hash from event where chain = '{MODEL}' order by seq desc limit 1",
    )
    assert last[0] in head
    asked = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    (artifact,) = desk.api.post("/artifacts/filter", asked)
    for page in (desk.question(run), artifact["data"]):
        assert f"{MODEL} {CHALLENGER} at review" in page
        assert "champion 1.0.0" in page
        assert "Release notes, by the author" in page
        assert last[0] in page


def test_a_run_resumed_without_the_form_asks_again(desk: Desk) -> None:
    run = desk.start()
    assert desk.api.post(f"/flow_runs/{run}/resume", {})["status"] == "REJECT"
    desk.force(run)
    assert desk.execute(run)["name"] == "Suspended"
    assert "resumed without this form" in desk.question(run)
    assert decisions(desk) == []


def test_an_input_that_is_no_answer_approves_nothing(desk: Desk) -> None:
    run = desk.start()
    key = desk.state(run)["state_details"]["run_input_keyset"]["response"]
    forged = {"decision": "approve", "approver": REVIEWER, "comment": "x", "identity": "totp"}
    desk.api.post(f"/flow_runs/{run}/input", {"key": key, "value": json.dumps(forged)})
    desk.force(run)
    assert desk.execute(run)["name"] == "Suspended"
    assert "no answer to this form" in desk.question(run)
    assert decisions(desk) == []


def test_the_author_is_asked_again_with_the_reason(desk: Desk) -> None:
    run = desk.start()
    assert desk.answer(run, approver=AUTHOR) == "ACCEPT"
    assert desk.execute(run)["name"] == "Suspended"
    assert f"'{AUTHOR}' is the author of this version" in desk.question(run)
    assert decisions(desk) == []


def test_a_code_counts_once_and_is_gone_afterwards(desk: Desk) -> None:
    phone = desk.ask_for_codes()[REVIEWER]
    run = desk.start()
    desk.answer(run, code="000000", decision="reject")
    desk.execute(run)
    assert f"One-time code of '{REVIEWER}': it is wrong" in desk.question(run)
    code = phone.at(datetime.now(UTC) + timedelta(seconds=30))  # the present one vouched
    desk.answer(run, code=code, decision="reject", comment="not yet")
    ended = desk.execute(run)
    assert (ended["type"], ended["message"]) == (
        "CANCELLED",
        f"rejected at review by {REVIEWER}: not yet",
    )
    assert decisions(desk) == [("review", "reject", REVIEWER, "totp", "not yet")]
    assert not [key for key in desk.inputs(run) if key.endswith("-response")]
    logs = desk.api.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
    assert code not in "".join(line["message"] for line in logs)


def test_a_code_that_was_used_is_refused_when_it_comes_again(desk: Desk) -> None:
    phone = desk.ask_for_codes()[REVIEWER]
    run = desk.start()
    code = phone.at(datetime.now(UTC) + timedelta(seconds=30))  # the present one vouched
    vouching = ("--by", REVIEWER, "--code", code)
    assert desk.command("approvers", "add", "third@example.org", *vouching).status == 0
    desk.answer(run, code=code)
    assert desk.execute(run)["name"] == "Suspended"
    assert "it was used before" in desk.question(run)
    assert decisions(desk) == []


def test_a_decision_by_command_wakes_the_run(desk: Desk) -> None:
    run = desk.start()
    ran = desk.decide("reject", REVIEWER)
    assert (ran.status, "waited for it in the Prefect UI goes on" in ran.out) == (0, True), ran.err
    assert desk.state(run)["name"] == "Resuming"
    ended = desk.execute(run)
    assert ended["message"] == f"rejected at review by {REVIEWER}: said by command"
    assert ended["type"] == "CANCELLED"


def test_a_command_without_a_server_decides_too(desk: Desk) -> None:
    nobody = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    words = ("approve", MODEL, CHALLENGER, "--gate", "review", "--by", REVIEWER)
    said = ("--comment", "said by command")
    # A process: here pytest takes the warning that Python would print.
    ran = run_process(desk.home, *words, *said, settings=nobody)
    assert ran.status == 0
    assert "no release that waits there was told" in ran.err
    assert decisions(desk) == [("review", "approve", REVIEWER, "claimed", "said by command")]


def test_of_two_answers_at_once_one_counts(desk: Desk) -> None:
    run = desk.start()
    comments = ["the one", "the other"]
    with ThreadPoolExecutor() as pool:
        sent = list(
            pool.map(lambda word: desk.answer(run, decision="reject", comment=word), comments)
        )
    assert sorted(sent) in (["ABORT", "ACCEPT"], ["ACCEPT", "REJECT"])
    desk.execute(run)
    ((*_, comment),) = decisions(desk)
    assert comment == comments[sent.index("ACCEPT")]


def test_evidence_that_changed_is_shown_again(desk: Desk) -> None:
    run = desk.start()
    revoked = desk.command("revoke", MODEL, "1.0.0", "--reason", "wrong rows", "--by", OPERATOR)
    assert revoked.status == 0, revoked.err
    desk.answer(run)
    assert desk.execute(run)["name"] == "Suspended"
    assert "The evidence changed while it waited" in desk.question(run)
    assert "there is no champion to compare with" in desk.question(run)
    assert decisions(desk) == []


def test_a_champion_that_changed_while_it_waited_is_compared_before_it_is_asked_again(
    home: Path, server: OwnServer
) -> None:
    desk = Desk(home, server)
    alone = Desk(home, NO_SERVER)  # at that server releases of other homes wait on other evidence
    for gate, person in (("review", REVIEWER), ("go-live", OPERATOR)):
        assert alone.decide("approve", person, gate).status == 0
        assert desk.command("release", MODEL, CHALLENGER).status == 0
    trained = desk.command("train", MODEL, "--until", "2013-07-20", "--json").json
    number = trained["number"]
    assert trained["champion"]["version"] == CHALLENGER
    run = desk.start(version=number)
    until = desk.question(run).split(" until ")[1].split(". ")[0]
    said = ("--reason", "worse", "--by", OPERATOR)
    assert desk.command("rollback", MODEL, *said).status == 0
    desk.answer(run)
    assert desk.execute(run)["name"] == "Suspended"
    page = desk.question(run)
    assert "The evidence changed while it waited" in page
    assert "| metric | this version | champion 1.0.0 |" in page
    assert f"It was trained against {CHALLENGER}, which is not champion now" in page
    assert f"until {until}." in page  # asking again gives no more time
    waiting = desk.command("status", "--json").json["approvals"]
    assert {w["version"]: w["gate"] for w in waiting} == {CHALLENGER: "review", number: "review"}
    refused = alone.decide("approve", OPERATOR, "go-live")
    assert "an earlier promotion used up its approval at review" in refused.err


def test_an_answer_that_a_run_ends_without_looking_at_is_deleted_too(
    home: Path, server: OwnServer
) -> None:
    desk, alone = Desk(home, server), Desk(home, NO_SERVER)
    run = desk.start()
    assert desk.answer(run) == "ACCEPT"
    assert [key for key in desk.inputs(run) if key.endswith("-response")]
    for gate, person in (("review", REVIEWER), ("go-live", OPERATOR)):
        assert alone.decide("approve", person, gate).status == 0
        assert desk.command("release", MODEL, CHALLENGER).status == 0
    assert desk.execute(run)["message"] == "champion already"
    assert not [key for key in desk.inputs(run) if key.endswith("-response")]


def test_a_version_revoked_while_it_waited_ends_the_run(desk: Desk) -> None:
    run = desk.start()
    revoked = desk.command("revoke", MODEL, CHALLENGER, "--reason", "leaks", "--by", OPERATOR)
    assert revoked.status == 0, revoked.err
    assert "The release that waited for a decision on it ends with that reason." in revoked.out
    assert desk.state(run)["name"] == "Resuming"
    assert desk.answer(run) == "ABORT"
    ended = desk.execute(run)
    assert (ended["type"], ended["name"]) == ("COMPLETED", "Refused")
    assert ended["message"] == f"refused at review, the version is revoked by {OPERATOR}: leaks"
    assert decisions(desk) == []


def test_an_approval_by_command_on_evidence_that_changed_is_refused_until_it_is_shown(
    desk: Desk,
) -> None:
    run = desk.start()
    revoked = desk.command("revoke", MODEL, "1.0.0", "--reason", "wrong rows", "--by", OPERATOR)
    assert revoked.status == 0, revoked.err
    refused = desk.decide("approve", REVIEWER)
    assert refused.status == 1
    assert "the evidence changed while its release waited (champion now: none)" in refused.err
    assert f"pilotline show {MODEL}@{CHALLENGER}" in refused.err
    assert decisions(desk) == []
    assert desk.execute(run)["name"] == "Suspended"
    assert "The evidence changed while it waited" in desk.question(run)
    assert desk.decide("approve", REVIEWER).status == 0
    assert decisions(desk) == [("review", "approve", REVIEWER, "claimed", "said by command")]


def test_of_two_approvers_at_the_same_second_one_counts_and_the_other_is_told(desk: Desk) -> None:
    people = [REVIEWER, "second@example.org"]
    policy = desk.home / "policy.toml"
    both = f'review = ["{people[0]}", "{people[1]}"]'
    text = policy.read_text("utf-8")
    policy.write_text(text.replace(f'review = ["{REVIEWER}"]', both), "utf-8")

    def approve(person: str) -> Ran:
        words = ("approve", MODEL, CHALLENGER, "--gate", "review", "--by", person)
        return run_flow(desk.home, *words, "--comment", "seen", settings=desk.settings)

    with ThreadPoolExecutor() as pool:
        ran = list(pool.map(approve, people))
    assert [one.status for one in ran] == [0, 0], ran
    ((_, _, counted, *_),) = decisions(desk)
    late = people[1 - people.index(counted)]
    assert f"approved at review by {counted}" in ran[people.index(counted)].out
    said = f"review was approved by {counted} already: nothing was recorded of {late}."
    assert said in ran[people.index(late)].out


def test_an_answer_after_the_deadline_is_refused_and_a_command_says_what_comes_next(
    desk: Desk,
) -> None:
    run = desk.start(decide_within_h=SOON_H)
    until = datetime.fromisoformat(desk.state(run)["state_details"]["pause_timeout"])
    assert wait_until(lambda: datetime.now(UTC) > until, SOON_H * 3600 + 1)
    assert desk.answer(run) != "ACCEPT"
    assert desk.state(run)["type"] == "FAILED"
    assert decisions(desk) == []
    ran = desk.decide("approve", REVIEWER)
    assert ran.status == 0, ran.err
    assert "The release that waited for it ended at its deadline" in ran.out
    assert f"Next: pilotline release {MODEL} {CHALLENGER}" in ran.out


def test_a_decision_whose_deadline_is_no_time_is_refused(desk: Desk) -> None:
    with pytest.raises(AssertionError, match="greater than 0"):
        desk.start(decide_within_h=0)
