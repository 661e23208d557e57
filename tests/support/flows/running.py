"""A running ``pilotline up``, at a pace for tests."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pilotline.flows.server.api import PrefectApi
from pilotline.tasks.errors import SettingsError
from tests.support.commands import COMMAND, NOTHING, Ran, environment_of, processes_of
from tests.support.flows.listener import Listener
from tests.support.places import ROOT
from tests.support.waiting import stretched, wait_until

READY_LIMIT_S = 60  # it takes 12 s on two idle cores
END_LIMIT_S = 60
RUN_LIMIT_S = 90  # for what a run, or a chain of them, comes to
ASK_S = 0.25  # between two questions to a server that has work to do
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
# By default Prefect looks for schedules each minute, for work each 10 s, for a free slot each 30 s.
BRISK = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "3",  # of a schedule, to come
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
}
UP = (str(COMMAND), "up", "--port")
# Does what the command does, in shorter rounds.
BRISK_UP = """
import sys
from pilotline.flows.commands.operating.up import run_up
from pilotline.flows.factory.up import Pace
run_up(int(sys.argv[1]), Pace(sync_s=2, recover_s=1))
"""
BRISKLY = (sys.executable, "-c", BRISK_UP)

T = TypeVar("T")


@dataclass
class Factory:
    """A ``pilotline up``, running or not."""

    home: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = UP
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        process = self.process = subprocess.Popen(
            [*self.command, str(self.port)],
            env=environment_of(self.home, {**BRISK, **self.settings}),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

        def ready_or_ended() -> bool:
            facts = self.facts  # perhaps of one that was killed
            own = facts.get("pid") == process.pid and facts["ready"]
            return own or process.poll() is not None

        assert wait_until(ready_or_ended, READY_LIMIT_S)
        assert process.poll() is None, process.communicate()

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def end(self, sign: signal.Signals = signal.SIGTERM) -> Ran:
        """Let it end; return what it said."""
        assert self.process is not None
        self.process.send_signal(sign)
        out, err = self.process.communicate(timeout=stretched(END_LIMIT_S))
        return Ran(self.process.returncode, out, err)

    def kill(self) -> None:
        """Kill it with -9, which it cannot prepare for."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    @property
    def api(self) -> str:
        """Where its server is."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def facts(self) -> Any:
        """What it wrote down in the home, nothing while it does not run."""
        try:
            return json.loads((self.home / "prefect" / "up.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}

    def ask(self, path: str, body: Any = None) -> Any:
        """Ask its server."""
        server = PrefectApi(self.api)
        return server.get(path) if body is None else server.post(path, body)

    def begin(self, flow: str, name: str = "", **parameters: str) -> str:
        """Ask for a run of a deployment, as its page's Run button does; return its id."""
        deployment = self.ask(f"/deployments/name/{flow}/{name or flow}")["id"]
        wish = {"parameters": parameters}
        return str(self.ask(f"/deployments/{deployment}/create_flow_run", wish)["id"])

    def children(self, module: str) -> list[int]:
        """Return the processes of the home that run ``module``."""
        return [pid for pid, command in processes_of(self.home).items() if module in command]


@contextmanager
def running(
    home: Path,
    port: int,
    settings: Mapping[str, str] = NOTHING,
    command: Sequence[str] = UP,
    tables: Path | None = None,
) -> Iterator[Factory]:
    """Give a factory that is ready, for the length of the block.

    Args:
        home: in which it runs.
        port: of its server.
        settings: what its environment names.
        command: what starts it, without the port.
        tables: of its server, which makes its own without.
    """
    factory = Factory(home, port, settings, command)
    if tables is not None:
        (home / "prefect").mkdir(exist_ok=True)
        shutil.copy(tables, home / "prefect")
    try:
        factory.start()
        yield factory
    finally:
        if factory.runs:
            factory.end()


def wait_to_hear(listener: Listener, title: str, limit_s: float = RUN_LIMIT_S) -> str:
    """Return the message with ``title`` once somebody was told it."""

    def heard() -> list[str]:
        return [told["message"] for told in listener.heard if told["title"] == title]

    assert wait_until(heard, limit_s), listener.heard
    return heard()[0]


def wait_for(find: Callable[[], T], tell: Callable[[], object] = str) -> T:
    """Return what ``find`` finds at a server once it is something.

    Args:
        find: what asks; that a server is down or too busy to answer counts as nothing.
        tell: says what is there where nothing comes.
    """
    found: list[T] = []

    def look() -> bool:
        with suppress(SettingsError):
            found[:] = [find()]
        return any(found)

    assert wait_until(look, RUN_LIMIT_S, ASK_S), tell()
    return found[0]


def runs(factory: Factory, flow: str, **parameters: str) -> list[Any]:
    """Return the runs of a flow with such parameters, oldest first; none that is still to come."""
    found = factory.ask(
        "/flow_runs/filter",
        {
            "flows": {"name": {"any_": [flow]}},
            "flow_runs": {"state": {"name": {"not_any_": ["Scheduled"]}}},
            "sort": "START_TIME_ASC",
        },
    )
    return [run for run in found if parameters.items() <= run["parameters"].items()]


def wait_for_end(factory: Factory, flow: str, count: int = 1, **parameters: str) -> Any:
    """Return the last of ``count`` runs of a flow once they have ended."""

    def ended() -> list[Any]:
        found = [run for run in runs(factory, flow, **parameters) if run["state_type"] in ENDS]
        return found if len(found) >= count else []

    return wait_for(ended, lambda: runs(factory, flow))[-1]
