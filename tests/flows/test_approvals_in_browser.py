"""Both gates decided by a mouse and a keyboard: the real UI of a running factory.

The tests of this file share one factory and one browser and run in the order in which they are
written. PILOTLINE_SCREENSHOTS names the folder that the pictures go to.
"""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest

from tests.flows.approvals import KEY, OPERATOR, REVIEWER, RUN_LIMIT_S, Desk
from tests.flows.browser import SHOTS, Person, at_browser
from tests.flows.conftest import Demo, copy_home, query_sqlite
from tests.flows.factory import CHALLENGER, MODEL
from tests.flows.test_up import END_LIMIT_S, start
from tests.support.ports import next_port
from tests.support.waiting import wait_until

CODE_LIMIT_S = 60  # a code holds 30 s
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Release:
    """A release whose gates are decided in the UI."""

    desk: Desk
    person: Person
    phones: dict[str, pyotp.TOTP]
    shown: dict[str, str]  # the last code that was read off each phone

    def begin(self, version: str) -> str:
        """Start a run of the deployment, as its page's Run button does."""
        deployment = self.desk.api.get("/deployments/name/release/release")["id"]
        wish = {"parameters": {"model": MODEL, "version": version}}
        run = self.desk.api.post(f"/deployments/{deployment}/create_flow_run", wish)
        return str(run["id"])

    def code(self, person: str) -> str:
        """Return the code on a phone once it is another than before: each counts once."""
        phone = self.phones[person]
        assert wait_until(lambda: phone.now() != self.shown.get(person), CODE_LIMIT_S)
        self.shown[person] = phone.now()
        return self.shown[person]

    def wait_for(self, run: str, key: str) -> None:
        """Wait until the run asks the question whose key begins with ``key``."""

        def asks() -> bool:
            state = self.desk.state(run)
            assert state["type"] not in ENDS, state
            return str(state["state_details"]["pause_key"]).startswith(key)

        assert wait_until(asks, RUN_LIMIT_S), self.desk.state(run)

    def wait_for_end(self, run: str) -> tuple[str, str]:
        """Return the type of the state that the run ends in, and its message."""
        assert wait_until(lambda: self.desk.state(run)["type"] in ENDS, RUN_LIMIT_S)
        state = self.desk.state(run)
        return state["type"], state["message"]


@pytest.fixture(scope="module")
def release(
    demo: Demo, server: str, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """Return somebody at the browser, and a factory where two versions wait at review."""
    folder = tmp_path_factory.mktemp("browser")
    home = copy_home(demo.home, folder / "home")
    policy = home / "policy.toml"
    both = f'go-live = ["{OPERATOR}", "{REVIEWER}"]'
    text = policy.read_text("utf-8").replace(f'go-live = ["{OPERATOR}"]', both)
    policy.write_text(text, "utf-8")
    phones = Desk(home, server).ask_for_codes()
    shots = Path(os.environ.get(SHOTS) or folder / "shots")
    port = next_port(shared)
    with at_browser(f"http://127.0.0.1:{port}", shots) as person:
        factory = start(home, port, PILOTLINE_APPROVAL_KEY=KEY)
        try:
            yield Release(Desk(home, factory.api), person, phones, {})
        finally:
            factory.process.send_signal(signal.SIGTERM)
            factory.process.communicate(timeout=END_LIMIT_S)


@pytest.fixture(scope="module")
def run(release: Release) -> str:
    """Return the run that these tests take from review to champion."""
    return release.begin(CHALLENGER)


def test_a_wrong_code_is_asked_for_again(release: Release, run: str) -> None:
    release.wait_for(run, "review-1-")
    wrong = f"{(int(release.phones[REVIEWER].now()) + 500_000) % 1_000_000:06}"
    said = release.person.decide(run, "review", "approve", REVIEWER, wrong, "better on July")
    assert "champion 1.0.0" in said
    assert "Head of the audit chain" in said
    release.wait_for(run, "review-2-")


def test_review_is_approved(release: Release, run: str) -> None:
    code = release.code(REVIEWER)
    said = release.person.decide(
        run, "review-again", "approve", REVIEWER, code, "better on July, seen"
    )
    assert f"Not counted. One-time code of '{REVIEWER}': it is wrong" in said
    release.wait_for(run, "go-live-1-")


def test_the_same_person_cannot_decide_twice(release: Release, run: str) -> None:
    code = release.code(REVIEWER)
    said = release.person.decide(run, "go-live", "approve", REVIEWER, code, "me again")
    assert "Verification on" in said
    release.wait_for(run, "go-live-2-")


def test_go_live_is_approved_and_the_version_is_champion(release: Release, run: str) -> None:
    code = release.code(OPERATOR)
    said = release.person.decide(run, "go-live-again", "approve", OPERATOR, code, "go")
    assert f"'{REVIEWER}' approved at gate 'review' already" in said
    assert release.wait_for_end(run) == (
        "COMPLETED",
        f"now champion, approved by {REVIEWER} and {OPERATOR}",
    )
    release.person.look(run, "Completed", "champion")
    query = "select gate, approver, identity, comment from approval order by id desc limit 2"
    assert query_sqlite(release.desk.home / "registry.db", query) == [
        ("go-live", OPERATOR, "totp", "go"),
        ("review", REVIEWER, "totp", "better on July, seen"),
    ]


def test_a_rejection_cancels_the_run_with_its_comment(release: Release) -> None:
    trained = release.desk.command("train", MODEL, "--until", "2013-07-20", "--json")
    assert trained.status == 0, trained.err
    run = release.begin(trained.json["number"])
    release.wait_for(run, "review-1-")
    code = release.code(REVIEWER)
    release.person.decide(run, "reject", "reject", REVIEWER, code, "July ends too early")
    assert release.wait_for_end(run) == (
        "CANCELLED",
        f"rejected at review by {REVIEWER}: July ends too early",
    )
    release.person.look(run, "July ends too early", "rejected")
