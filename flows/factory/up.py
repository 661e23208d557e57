"""``pilotline up``: the one-box factory, its processes started in order and kept running."""

import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pilotline.flows.factory.deploy import (
    POOL_VARIABLE,
    deploy_all,
    ensure_pool,
    lost_pool,
    pool_name,
)
from pilotline.flows.factory.processes import Kept
from pilotline.flows.factory.recovery import Recovery
from pilotline.flows.factory.schedules import drop_missed, sync_schedules
from pilotline.flows.factory.signs import HEARTBEAT_S
from pilotline.flows.screen.logs import FACT
from pilotline.flows.server.api import KEY, PrefectApi, quote
from pilotline.flows.server.choice import prepare_environment
from pilotline.flows.server.facts import Facts, write_facts
from pilotline.flows.server.settings import CLIENTS_ONLY, SERVER_ONLY, require_free, server_settings
from pilotline.flows.server.worker import worker_name
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Schedule
from pilotline.tasks.sandbox import MARK, end_marked
from pilotline.tasks.schedule import list_scheduled

PORT = 4200  # Prefect's own
START_WAIT_S = 300  # of our own, whose end is noticed at once: 12 s on two idle cores
ANSWER_WAIT_S = 120  # of a server that somebody else runs
LOOK_S = 0.5
HEALTH_S = 10
MOST_SILENT = 6  # unanswered questions in a row before a server that still runs is ended
STOP_WORKER_S = 15  # it ends the flows that run
STOP_SERVER_S = 10

log = logging.getLogger("pilotline")


@dataclass(frozen=True)
class Pace:
    """How often schedules are brought up to date, and dead runs looked for; in seconds."""

    sync_s: float = 30
    recover_s: float = 5


PACE = Pace()


@dataclass(frozen=True)
class Ready:
    """A factory of which everything has come up."""

    api_url: str
    scheduled: int  # models
    seconds: float  # that it took


def keep_up(home: Home, port: int, pace: Pace, announce: Callable[[Ready], None]) -> None:
    """Start the factory, announce it, and keep it running until Ctrl-C or SIGTERM.

    Raises:
        SettingsError: the port is taken, or a process does not come up.
    """
    factory = Factory(home, port)
    try:
        announce(factory.start())
        factory.keep(pace)
    except _StoppedError:
        pass
    finally:
        factory.stop()


class _StoppedError(Exception):
    """Somebody asked for the end while something was waited for."""


class Factory:
    """The processes of one home, and the address of their server."""

    def __init__(self, home: Home, port: int) -> None:
        self._home = home
        self._stopping = threading.Event()
        self._known: dict[str, Schedule | None] = {}
        self._mark = f"up-{uuid.uuid4().hex}"
        self._silent = 0
        self._away = False  # whether it was said that the server does not answer
        own = "PREFECT_API_URL" not in os.environ
        url = f"http://127.0.0.1:{port}/api" if own else os.environ["PREFECT_API_URL"]
        if own:
            require_free(port)
        self.api = PrefectApi(url)
        self._pool = pool_name(os.environ)
        logs = home.prefect / "logs"
        self._deploy_log = logs / "deploy.log"
        self._clients = self._environment(SERVER_ONLY)
        if own:
            self._clients.pop(KEY, None)  # of another server, as for the commands
        command = _module("pilotline.flows.server.worker", self._pool)
        self.worker: Kept | None = Kept("worker", command, self._clients, logs / "worker.log")
        self.server: Kept | None = None
        if own:
            settings = self._environment(CLIENTS_ONLY) | server_settings(home, url)
            command = _module("pilotline.flows.server.serving", str(port))
            self.server = Kept("server", command, settings, logs / "server.log")

    def start(self) -> Ready:
        """Start everything, in order.

        Raises:
            SettingsError: something does not come up.
        """
        begun = time.monotonic()
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, lambda *_: self._stopping.set())
        self._write(ready=False)
        if self.server is not None:
            log.info("starting the Prefect server")
            self.server.start()
        self._wait_for_server()
        self.api.check_version()
        kind, _ = ensure_pool(self.api, self._pool)
        if kind != "process":
            log.warning("work pool %r is of kind %r: no worker is started here", self._pool, kind)
            self.worker = None
        log.info("deploying the flows")
        deploy_all(self._clients, self._deploy_log, self._check)
        scheduled = self._sync()
        drop_missed(self.api)
        if self.worker is not None:
            self._start_worker(self.worker)
        self._write(ready=True)
        return Ready(self.api.url, scheduled, time.monotonic() - begun)

    def keep(self, pace: Pace) -> None:
        """Keep everything running until somebody asks for the end.

        Raises:
            SettingsError: a process died too often.
        """
        note = self._home.prefect / "runs-here.json"
        has_worker = self.worker is not None
        recovery = Recovery(self.api, self._pool, note, starts_at_once=has_worker)
        checked = synced = looked = time.monotonic()
        while not self._stopping.wait(LOOK_S):
            for kept in filter(None, (self.server, self.worker)):
                if happened := kept.look():
                    log.warning("%s", happened)
            if time.monotonic() - checked > HEALTH_S:
                self._check_health()
                checked = time.monotonic()
            if time.monotonic() - looked > pace.recover_s:
                for happened in recovery.look():
                    self._warn(happened)
                looked = time.monotonic()
            if time.monotonic() - synced > pace.sync_s:
                self._sync_again()
                synced = time.monotonic()
            self._tell_return()

    def stop(self) -> None:
        """End every process; nothing that was started here is left."""
        log.info("stopping")
        if self.worker is not None:
            self.worker.stop(STOP_WORKER_S)
        end_marked(self._mark)
        if self.server is not None:
            self.server.stop(STOP_SERVER_S)

    def _environment(self, without: Sequence[str]) -> dict[str, str]:
        environment = os.environ | {"PREFECT_API_URL": self.api.url}
        prepare_environment(self._home, environment)
        environment |= {
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
            "PILOTLINE_HOME": str(self._home.root),
            "PILOTLINE_LAB": str(self._home.lab),
            POOL_VARIABLE: self._pool,
            MARK: self._mark,
        }
        return {name: value for name, value in environment.items() if name not in without}

    def _write(self, *, ready: bool) -> None:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        write_facts(self._home, Facts(os.getpid(), self.api.url, since, ready))

    def _check(self) -> None:
        """Do nothing unless somebody asked for the end."""
        if self._stopping.is_set():
            raise _StoppedError

    def _wait(self, happened: Callable[[], bool], what: str, kept: Kept | None) -> None:
        limit_s = START_WAIT_S if kept else ANSWER_WAIT_S
        until = time.monotonic() + limit_s
        while not happened():
            self._check()
            if kept is not None and kept.pid is None:
                raise SettingsError(f"The {what}", "ended while it started", _see(kept))
            if time.monotonic() > until:
                raise SettingsError(
                    f"The {what}",
                    f"was not there after {limit_s} s",
                    _see(kept) if kept else "Is PREFECT_API_URL right?",
                )
            time.sleep(0.1)

    def _wait_for_server(self) -> None:
        self._wait(self.api.answers, f"Prefect server {self.api.url}", self.server)

    def _start_worker(self, worker: Kept) -> None:
        """Start it and wait until the server hears of it, not of another or of one before."""
        before = self._worker_heard()
        worker.start()
        self._wait(lambda: self._worker_heard() not in ("", before), "worker", worker)

    def _worker_heard(self) -> str:
        """Return when the server last heard of this machine's worker; nothing if never."""
        found = self.api.post(f"/work_pools/{quote(self._pool)}/workers/filter", {})
        name = worker_name(self._pool)
        return next((str(w["last_heartbeat_time"]) for w in found if w["name"] == name), "")

    def _warn(self, problem: str) -> None:
        log.warning("%s", problem)
        self._away = self._away or self.api.silent

    def _tell_return(self) -> None:
        """Say that the server is back where it was said that it is not there."""
        if self._away and not self.api.silent:
            log.log(FACT, "the server answers again")
            self._away = False

    def _check_health(self) -> None:
        """End a server that runs and does not answer, so that it is started again."""
        self._silent = 0 if self.api.answers() else self._silent + 1
        if self._silent >= MOST_SILENT and self.server is not None and self.server.pid:
            self._warn(f"the server has not answered for {MOST_SILENT * HEALTH_S} s")
            self.server.stop(STOP_SERVER_S)
            self._silent = 0

    def _sync(self) -> int:
        with self._home.open_registry() as registry:
            scheduled = list_scheduled(registry, self._known, log.warning)
        sync_schedules(self.api, scheduled, self._stopping.is_set)
        return len(scheduled)

    def _sync_again(self) -> None:
        """Bring schedules up to date; what is in the way now may be gone next time."""
        from pilotline.registry.form import RegistryError

        try:
            if ensure_pool(self.api, self._pool)[1]:
                log.warning("work pool %r was gone; it is there again", self._pool)
            if lost_pool(self.api):
                log.warning("the deployments had lost their work pool; deploying the flows again")
                deploy_all(self._clients, self._deploy_log, self._check)
            self._sync()
        except (SettingsError, RegistryError) as problem:
            self._warn(f"schedules are not brought up to date: {problem}")


def _module(name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", name, *words]


def _see(kept: Kept) -> str:
    return f"Its log is {str(kept.log)!r}; the last lines:\n{kept.tail()}"
