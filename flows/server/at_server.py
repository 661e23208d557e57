"""Running flows from a command: a server, progress on the screen, nothing held back at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import progress, tell
from pilotline.flows.screen.text import show
from pilotline.flows.server.choice import PrefectServer
from pilotline.tasks.home import Home

DRAIN_S = 5


@contextmanager
def at_server(what: str) -> Iterator[PrefectServer]:
    """Give a server that may still be starting, with progress shown while the block runs."""
    home = current_home()
    home.make()
    with PrefectServer(home) as server:
        announce(home)
        if server.temporary:
            tell("No Prefect server is named: a temporary one serves this command.")
        with progress(what):
            yield server


@contextmanager
def flow_run(what: str) -> Iterator[None]:
    """Let flows run in the block, at a server that answers, without the heartbeat's wait.

    The exit of a sync flow waits a second for its heartbeat thread (Prefect 3.9.1); a command in
    the foreground is its own heartbeat.
    """
    with at_server(what) as server, no_heartbeat(server):
        yield


@contextmanager
def no_heartbeat(server: PrefectServer) -> Iterator[None]:
    """Wait for the server, then run the block under settings without heartbeats."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    server.wait()
    try:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield
    finally:
        _drain()


def _drain() -> None:
    """Send Prefect what it still holds back; at its own exit the server would be gone.

    Left to itself it tries for a minute to reach a server that has stopped (Prefect 3.9.1).
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=DRAIN_S)
    EventsWorker.drain_all(timeout=DRAIN_S)


def announce(home: Home) -> None:
    """Say which home a command changes."""
    tell(f"Home: {show(home.root)}")
