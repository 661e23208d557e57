"""The whole life of a challenger on PostgreSQL and S3, from its approval to its end."""

import json

import pytest

from tests.flows.conftest import DEMO_LIMIT_S
from tests.support.flows.listener import Listener
from tests.support.flows.shared_homes import Shared
from tests.support.waiting import stretched

# Whoever comes first runs the demo there, the others wait for it.
pytestmark = pytest.mark.timeout(stretched(2 * DEMO_LIMIT_S))

MODEL = "flight-delay"
REVIEWER, OPERATIONS = "reviewer@example.org", "operations@example.org"


def test_a_challenger_lives_its_whole_life(there: Shared, server: str) -> None:
    def run(*words: str) -> str:
        ran = there.run(*words, settings={"PREFECT_API_URL": server})
        assert ran.status == 0, f"{words}: {ran.out}{ran.err}"
        return ran.out

    def decide(verb: str, gate: str, by: str, version: str = "1.0.1") -> str:
        words = (verb, MODEL, version, "--gate", gate, "--by", by, "--comment", "read it")
        return run(*words)

    with Listener() as listener:
        contact = f"json://127.0.0.1:{listener.port}/told"
        run("consumers", "add", MODEL, "pricing", "--contact", contact, "--needs", "~=1.0")
        run("consumers", "add", MODEL, "planning", "--contact", "env:NOT_SET_ANYWHERE")
        names = [c["consumer"] for c in there.ask("consumers", "list", MODEL)]
        assert names == ["planning", "pricing"]

        assert "approved at review" in decide("approve", "review", REVIEWER)
        assert "waiting for go-live" in run("release", MODEL, "1.0.1")
        assert "approved at go-live" in decide("approve", "go-live", OPERATIONS)
        assert "now champion" in run("release", MODEL, "1.0.1")
        assert "1.0.0 is champion again, no longer 1.0.1" in run(
            "rollback", MODEL, "--reason", "July was an exception"
        )
        first = there.run("rollback", MODEL, "--reason", "once more")
        assert (first.status, "1.0.0" in first.err) == (1, True)  # nobody was champion before it
        reigns = [r["version"] for r in there.ask("history", MODEL)]
        assert reigns == ["1.0.0", "1.0.1", "1.0.0"]
        assert "1.0.1 is deprecated" in run("deprecate", MODEL, "1.0.1", "--reason", "moved on")
        told = run("revoke", MODEL, "1.0.1", "--reason", "trained on a wrong calendar")
        assert "1.0.1 is revoked" in told
        assert "Told: pricing\nTo be told: planning" in told
    titles = [message["title"] for message in listener.heard]
    assert titles == [
        *("flight-delay 1.0.1 is champion", "flight-delay is rolled back to 1.0.0"),
        *("flight-delay 1.0.1 is deprecated", "flight-delay 1.0.1 is revoked"),
    ]
    late = there.run("notify", "--now")
    assert (late.status, "NOT_SET_ANYWHERE is not set here" in late.err) == (1, True)
    assert "planning is no consumer" in run("consumers", "remove", MODEL, "planning")

    words = ("approve", MODEL, "1.0.1", "--gate", "review", "--by", REVIEWER)
    refused = there.run(*words, "--comment", "again")
    assert (refused.status, "revoked" in refused.err) == (1, True)
    run("alias", MODEL, "kept", "1.0.0")
    assert there.ask("show", f"{MODEL}@kept")["version"] == "1.0.0"
    run("alias", MODEL, "kept", "--remove")

    trained = json.loads(
        run("train", MODEL, "--until", "2013-02-14", "--notes", "\x1b[2JMore days.", "--json")
    )
    third = trained["number"]
    assert "\\x1b[2JMore days." in run("show", f"{MODEL}@{third}")
    assert "rejected at review" in decide("reject", "review", REVIEWER, third)
    assert f"{third} is archived" in run("archive", MODEL, third, "--reason", "not needed")
    removed = there.ask("gc")
    assert removed["removed"] == []  # all that is stored is named, or younger than a day
    assert there.ask("audit", "verify")["sound"] is True
    assert there.find_secrets() == []
