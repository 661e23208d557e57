"""Both gates decided by a mouse and a keyboard: the real UI of a running factory.

The tests of this file share one factory and one browser. PILOTLINE_SCREENSHOTS names the folder
that the pictures go to.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.flows.conftest import Demo, copy_home, query_sqlite
from tests.support.flows.approvals import KEY, NO_SERVER, OPERATOR, REVIEWER, Desk, OwnServer
from tests.support.flows.browser import SHOTS, Person, at_browser
from tests.support.flows.factory import CHALLENGER, MODEL
from tests.support.flows.running import ENDS, running, wait_for
from tests.support.servers.ports import next_port
from tests.support.waiting import wait_until

CODE_LIMIT_S = 45  # a code holds 30 s
REJECTED = "July ends too early"


@dataclass(frozen=True)
class Release:
    """A release whose gates are decided in the UI."""

    desk: Desk
    person: Person
    phones: dict[str, pyotp.TOTP]
    steps: dict[str, int]  # of time, those of the last code that was read off each phone

    def begin(self, version: str) -> str:
        """Start a run of the deployment, as its page's Run button does."""
        deployment = self.desk.api.get("/deployments/name/release/release")["id"]
        wish = {"parameters": {"model": MODEL, "version": version}}
        run = self.desk.api.post(f"/deployments/{deployment}/create_flow_run", wish)
        return str(run["id"])

    def code(self, person: str) -> str:
        """Return a code of a later step of time than the last one: each counts once.

        One step ahead is accepted too.
        """
        phone = self.phones[person]

        def step() -> int:
            return phone.timecode(datetime.now(UTC))

        wanted = max(self.steps[person] + 1, step())
        assert wait_until(lambda: wanted <= step() + 1, CODE_LIMIT_S)
        self.steps[person] = wanted
        return phone.generate_otp(wanted)

    def reader(self, person: str) -> Callable[[], str]:
        """Return a look at a phone, for when a code is asked for."""
        return lambda: self.code(person)

    def wait_for(self, run: str, key: str) -> None:
        """Wait until the run asks the question whose key begins with ``key``."""

        def asks() -> bool:
            state = self.desk.state(run)
            assert state["type"] not in ENDS, state
            return str(state["state_details"]["pause_key"]).startswith(key)

        wait_for(asks, lambda: self.desk.state(run))

    def wait_for_end(self, run: str) -> tuple[str, str]:
        """Return the type of the state that the run ends in, and its message."""

        def ended() -> Any:
            state = self.desk.state(run)
            return state if state["type"] in ENDS else None

        state = wait_for(ended, lambda: self.desk.state(run))
        return state["type"], state["message"]


@pytest.fixture(scope="module")
def release(
    demo: Demo,
    shared: Path,
    prefect_tables: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    """Return somebody at the browser, and a factory where two versions wait at review."""
    folder = tmp_path_factory.mktemp("browser")
    home = copy_home(demo.home, folder / "home")
    policy = home / "policy.toml"
    both = f'go-live = ["{OPERATOR}", "{REVIEWER}"]'
    text = policy.read_text("utf-8").replace(f'go-live = ["{OPERATOR}"]', both)
    policy.write_text(text, "utf-8")
    phones = Desk(home, NO_SERVER).ask_for_codes()
    shots = Path(os.environ.get(SHOTS) or folder / "shots")
    port = next_port(shared)
    with (
        at_browser(f"http://127.0.0.1:{port}", shots) as person,
        running(home, port, {"PILOTLINE_APPROVAL_KEY": KEY}, tables=prefect_tables) as factory,
    ):
        now = datetime.now(UTC)  # the codes of before were typed by then
        steps = {name: phone.timecode(now) for name, phone in phones.items()}
        yield Release(Desk(home, OwnServer(factory.api)), person, phones, steps)


def test_a_version_is_decided_at_both_gates_by_two_people(release: Release) -> None:
    run = release.begin(CHALLENGER)
    release.wait_for(run, "review-1-")
    wrong = f"{(int(release.phones[REVIEWER].now()) + 500_000) % 1_000_000:06}"
    said = release.person.decide(
        run, "review", "approve", REVIEWER, lambda: wrong, "better on July"
    )
    assert "champion 1.0.0" in said
    assert "Head of the audit chain" in said

    release.wait_for(run, "review-2-")
    said = release.person.decide(
        run, "review-again", "approve", REVIEWER, release.reader(REVIEWER), "better on July, seen"
    )
    assert f"Not counted. One-time code of '{REVIEWER}': it is wrong" in said

    release.wait_for(run, "go-live-1-")
    said = release.person.decide(
        run, "go-live", "approve", REVIEWER, release.reader(REVIEWER), "me again"
    )
    assert "Verification on" in said

    release.wait_for(run, "go-live-2-")
    said = release.person.decide(
        run, "go-live-again", "approve", OPERATOR, release.reader(OPERATOR), "go"
    )
    assert f"'{REVIEWER}' approved at gate 'review' already" in said
    assert release.wait_for_end(run) == (
        "COMPLETED",
        f"now champion, approved by {REVIEWER} and {OPERATOR}",
    )
    release.person.look(run, "Completed", "champion")
    query = "select gate, approver, identity, comment from approval where comment <> ? order by id"
    assert query_sqlite(release.desk.home / "registry.db", query, REJECTED)[-2:] == [
        ("review", REVIEWER, "totp", "better on July, seen"),
        ("go-live", OPERATOR, "totp", "go"),
    ]


def test_a_rejection_cancels_the_run_with_its_comment(release: Release) -> None:
    trained = release.desk.command("train", MODEL, "--until", "2013-07-20", "--json")
    assert trained.status == 0, trained.err
    run = release.begin(trained.json["number"])
    release.wait_for(run, "review-1-")
    release.person.decide(run, "reject", "reject", REVIEWER, release.reader(REVIEWER), REJECTED)
    assert release.wait_for_end(run) == (
        "CANCELLED",
        f"rejected at review by {REVIEWER}: {REJECTED}",
    )
    release.person.look(run, REJECTED, "rejected")
