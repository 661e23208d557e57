"""The one-box factory when something of it dies, when it is stopped, and when it starts again."""

import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.commands import processes_of, run_here
from tests.support.flows.running import END_LIMIT_S, READY_LIMIT_S, RUN_LIMIT_S, Factory, running
from tests.support.servers.ports import next_port
from tests.support.servers.prefect_server import answers
from tests.support.waiting import wait_until

LONG_AGO = "2026-01-01 00:00:00.000000"


@pytest.fixture(scope="module")
def own(home: Path, shared: Path, prefect_tables: Path) -> Iterator[Factory]:
    """Return a factory of this file's own, which one of the tests may have ended."""
    with running(home, next_port(shared), tables=prefect_tables) as factory:
        yield factory


@pytest.fixture
def factory(own: Factory) -> Factory:
    """Return that factory, running."""
    if not own.runs:
        own.start()
    return own


def test_a_worker_that_is_killed_is_started_again(factory: Factory) -> None:
    (worker,) = factory.children("pilotline.flows.server.worker")
    os.kill(worker, signal.SIGKILL)
    assert wait_until(
        lambda: set(factory.children("pilotline.flows.server.worker")) - {worker}, END_LIMIT_S
    )


def test_a_server_that_is_killed_is_started_again(factory: Factory) -> None:
    (server,) = factory.children("pilotline.flows.server.serving")
    os.kill(server, signal.SIGKILL)
    assert wait_until(
        lambda: set(factory.children("pilotline.flows.server.serving")) - {server}, END_LIMIT_S
    )
    assert wait_until(lambda: answers(factory.api), READY_LIMIT_S)


def test_nothing_outlives_one_that_is_killed(factory: Factory) -> None:
    factory.kill()
    assert wait_until(lambda: not processes_of(factory.home), END_LIMIT_S)
    ran = run_here(factory.home, "status")
    assert "nothing runs in this home" in ran.out


def test_the_next_one_starts_and_keeps_one_of_the_starts_that_were_missed(own: Factory) -> None:
    facts = own.home / "prefect" / "prefect.db"

    def inserted() -> list[str]:
        query = "select id from flow_run where auto_scheduled and state_type = 'SCHEDULED' limit 3"
        with closing(sqlite3.connect(facts)) as database:
            return [run for (run,) in database.execute(query)]

    if not own.runs and len(inserted()) < 3:
        own.start()
    if own.runs:
        assert wait_until(lambda: len(inserted()) == 3, RUN_LIMIT_S)
        own.end()
    missed = inserted()
    assert len(missed) == 3
    with closing(sqlite3.connect(facts)) as database:
        marks = ", ".join("?" * len(missed))
        database.execute(
            f"update flow_run set expected_start_time = '{LONG_AGO}', "
            f"next_scheduled_start_time = '{LONG_AGO}' where id in ({marks})",
            missed,
        )
        database.commit()
    own.start()
    asked = {"flow_runs": {"id": {"any_": missed}}}
    assert own.ask("/flow_runs/count", asked) == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_every_process_and_leaves_the_port(
    factory: Factory, sign: signal.Signals
) -> None:
    ended = factory.end(sign)
    assert (ended.status, ended.out.endswith("Stopped.\n")) == (0, True), ended.err
    assert processes_of(factory.home) == {}
    assert factory.facts == {}
    socket.create_server(("127.0.0.1", factory.port)).close()
