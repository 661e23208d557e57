"""The outbox: written beside the event, sent at least once, tried again with patience."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.consumers.consumers import NewConsumer, add_consumer
from pilotline.registry.consumers.notify import send_message
from pilotline.registry.consumers.outbox import Message, deliver, list_messages, tell_consumers
from pilotline.registry.record.events import append_event, list_events
from pilotline.registry.record.models import get_model
from tests.support.places import ROOT
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World

DIE_WHILE_SENDING = """
import os, signal, sys
from pilotline.registry import Registry
from pilotline.registry.consumers.outbox import deliver
deliver(Registry(*sys.argv[1:]), {}, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


class Hook(HTTPServer):
    """A real web hook on this machine that keeps what it was sent."""

    status = 200
    received: list[dict[str, str]]


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Return a web hook that listens."""
    with Hook(("127.0.0.1", 0), _Handler) as server:
        server.received = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def tell(registry: Registry, world: World, contact: str, name: str = "gate desk") -> None:
    """Add a consumer at an address and write it one message."""
    with registry.write() as session:
        world.enter(session)
        add_consumer(session, "flight-delay", NewConsumer(name, contact))
        event = append_event(session, get_model(session, "flight-delay").id, "noted", {})
        tell_consumers(session, event, "1.0.0 is champion", "as of noon")


def messages(registry: Registry) -> list[Message]:
    with registry.read() as session:
        return list_messages(session, unsent_only=False)


def refuse(address: str, title: str, body: str) -> str:
    return "the other side is down"


def accept(address: str, title: str, body: str) -> str:
    return ""


def test_a_promotion_writes_each_consumer_a_message(session: Session, world: World) -> None:
    version = world.enter(session)
    for name in ("gate desk", "crew"):
        add_consumer(session, "flight-delay", NewConsumer(name, "desk@example.org", "~=1.0"))
    world.release(session, version)
    promoted = list_events(session, version.model_id, "promoted")[0]
    written = [(m.consumer, m.event_id, m.title) for m in list_messages(session)]
    assert written == [
        (name, promoted.id, "flight-delay 1.0.0 is champion") for name in ("crew", "gate desk")
    ]
    assert promoted.hash in list_messages(session)[0].body


def test_a_message_is_rolled_back_with_its_event(registry: Registry, world: World) -> None:
    with registry.write() as session:
        version = world.enter(session)
        add_consumer(session, "flight-delay", NewConsumer("crew", "crew@example.org"))

    def stop_half_way() -> None:
        with registry.write() as session:
            world.release(session, version)
            assert len(list_messages(session)) == 1
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way()
    assert messages(registry) == []
    with registry.read() as session:
        assert list_events(session, version.model_id, "promoted") == []


def test_a_message_reaches_a_web_hook_once(registry: Registry, world: World, hook: Hook) -> None:
    tell(registry, world, f"json://127.0.0.1:{hook.server_port}/delay")
    (done,) = deliver(registry, {}, send_message)
    assert (done.consumer, done.sent, done.problem, done.attempts) == ("gate desk", True, "", 1)
    # The fields of Apprise's JSON web hook.
    (received,) = hook.received
    assert (received["title"], received["message"]) == ("1.0.0 is champion", "as of noon")
    assert deliver(registry, {}, send_message, every=True) == []
    assert len(hook.received) == 1


def test_a_web_hook_that_fails_is_tried_again(registry: Registry, world: World, hook: Hook) -> None:
    tell(registry, world, f"json://127.0.0.1:{hook.server_port}/delay")
    hook.status = 503
    (failed,) = deliver(registry, {}, send_message)
    assert (failed.sent, failed.problem) == (False, "the other side did not take it")
    assert deliver(registry, {}, send_message) == []  # put off until later
    hook.status = 200
    (done,) = deliver(registry, {}, send_message, every=True)
    assert (done.sent, done.attempts) == (True, 2)
    (kept,) = messages(registry)
    assert kept.sent_at is not None
    assert kept.problem == ""


@on_sqlite
@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [(0, 1), (1, 2), (2, 4), (8, 256), (9, 360), (4000, 360)],  # doubled up to six hours
)
def test_each_failure_doubles_the_wait(
    registry: Registry, world: World, attempts: int, minutes: int
) -> None:
    tell(registry, world, "crew@example.org")
    with registry.write() as session:
        session.execute(update(Message).values(attempts=attempts))
    before = datetime.now(UTC)
    deliver(registry, {"PILOTLINE_MAIL": "mailtos://mail.example.org"}, refuse)
    (kept,) = messages(registry)
    wait = timedelta(minutes=minutes)
    assert before + wait <= kept.due_at <= datetime.now(UTC) + wait
    assert (kept.attempts, kept.problem) == (attempts + 1, "the other side is down")


def test_what_is_due_again_is_tried_again(registry: Registry, world: World) -> None:
    tell(registry, world, "json://hooks.example.org")
    deliver(registry, {}, refuse)
    with registry.write() as session:  # let the wait pass
        session.execute(update(Message).values(due_at=datetime(2026, 1, 1, tzinfo=UTC)))
    assert [done.sent for done in deliver(registry, {}, accept)] == [True]


def test_a_process_killed_while_sending_leaves_the_message_to_the_next(
    registry: Registry, database: str, tmp_path: Path, world: World, hook: Hook
) -> None:
    tell(registry, world, f"json://127.0.0.1:{hook.server_port}/delay")
    killed = subprocess.run(
        [sys.executable, "-c", DIE_WHILE_SENDING, database, str(tmp_path)], cwd=ROOT
    )
    assert killed.returncode == -9
    (kept,) = messages(registry)
    assert (kept.sent_at, kept.attempts) == (None, 1)
    (done,) = deliver(registry, {}, send_message, every=True)
    assert done.sent
    assert len(hook.received) == 1


def test_what_one_process_is_sending_another_does_not(registry: Registry, world: World) -> None:
    tell(registry, world, "json://hooks.example.org")
    others = []

    def send(address: str, title: str, body: str) -> str:
        others.append(deliver(registry, {}, accept))
        return ""

    assert len(deliver(registry, {}, send)) == 1
    assert others == [[]]


def test_one_that_fails_does_not_stop_the_others(registry: Registry, world: World) -> None:
    tell(registry, world, "json://down.example.org", "app")
    tell(registry, world, "json://up.example.org", "crew")

    def send(address: str, title: str, body: str) -> str:
        return "down" if "down" in address else ""

    # The second event is told to both.
    done = deliver(registry, {}, send)
    assert [(d.consumer, d.sent) for d in done] == [("app", False), ("app", False), ("crew", True)]
    with registry.read() as session:
        assert [message.consumer for message in list_messages(session)] == ["app", "app"]


@on_sqlite
@pytest.mark.parametrize(
    ("contact", "environment", "address"),
    [
        ("env:DESK", {"DESK": "slack://a/b/c"}, "slack://a/b/c"),
        (
            "desk@example.org",
            {"PILOTLINE_MAIL": "mailtos://user:pw@example.org"},
            "mailtos://user:pw@example.org?to=desk%40example.org",
        ),
        (
            "desk@example.org",
            {"PILOTLINE_MAIL": "mailtos://example.org?smtp=mail.example.org"},
            "mailtos://example.org?smtp=mail.example.org&to=desk%40example.org",
        ),
        ("json://hooks.example.org/x", {}, "json://hooks.example.org/x"),
    ],
)
def test_secrets_come_from_the_environment(
    registry: Registry,
    world: World,
    contact: str,
    environment: dict[str, str],
    address: str,
) -> None:
    tell(registry, world, contact)
    sent_to = []

    def send(address: str, title: str, body: str) -> str:
        sent_to.append(address)
        return ""

    deliver(registry, environment, send)
    assert sent_to == [address]


@on_sqlite
@pytest.mark.parametrize(
    ("contact", "variable"), [("env:DESK", "DESK"), ("desk@example.org", "PILOTLINE_MAIL")]
)
def test_a_variable_that_is_not_set_is_named_and_the_message_stays(
    registry: Registry, world: World, contact: str, variable: str
) -> None:
    tell(registry, world, contact)
    (failed,) = deliver(registry, {}, accept)
    assert (failed.sent, failed.problem) == (False, f"{variable} is not set here")
    assert [message.sent_at for message in messages(registry)] == [None]


def test_an_address_that_apprise_does_not_know_is_not_shown() -> None:
    assert send_message("nonsense://secret", "t", "b") == (
        "the contact is no address that Apprise knows"
    )


def test_a_web_hook_where_nobody_listens_is_a_problem_not_an_error(hook: Hook) -> None:
    port = hook.server_port
    hook.server_close()
    assert send_message(f"json://127.0.0.1:{port}", "t", "b") == "the other side did not take it"


def test_what_failed_in_one_process_is_not_tried_at_once_by_another_that_listed_it_before(
    registry: Registry, world: World
) -> None:
    tell(registry, world, "json://up.example.org", "app")
    tell(registry, world, "json://down.example.org", "crew")

    def fail(address: str, title: str, body: str) -> str:
        return "down"

    def send(address: str, title: str, body: str) -> str:
        deliver(registry, {}, fail)  # all that is left, while this one is under way
        return ""

    done = deliver(registry, {}, send)
    assert [(d.consumer, d.attempts) for d in done] == [("app", 1)]
    with registry.read() as session:
        tried = [(message.consumer, message.attempts) for message in list_messages(session)]
    assert tried == [("app", 1), ("crew", 1)]
