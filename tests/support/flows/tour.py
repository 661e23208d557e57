"""A factory with weeks to score, whose processes are killed in the middle of their work."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pilotline.flows.factory.recovery import TAKEN_UP
from pilotline.flows.server.api import PrefectApi
from pilotline.tasks.sandbox.strays import list_tree
from tests.support.commands import NOTHING, processes_of
from tests.support.flows.factory import MODEL
from tests.support.flows.running import BRISKLY, Factory, running, wait_for
from tests.support.waiting import wait_until

LOOK_S = 0.1  # a look at all processes takes a while
WORK_LIMIT_S = 60  # from a wish to a model at work: a worker's look and the start of a process


@dataclass(frozen=True)
class Tour:
    """The factory that is disturbed."""

    factory: Factory

    @property
    def home(self) -> Path:
        """Its home."""
        return self.factory.home

    @property
    def commits(self) -> int:
        """How many commits the table of predictions has."""
        log = self.home / "lake" / "predictions" / MODEL / "_delta_log"
        return len(list(log.glob("*.json")))

    def launch(self, flow: str, parameters: Mapping[str, Any], **more: Any) -> str:
        """Ask for a run of a deployment; return its id."""
        deployment = self.factory.ask(f"/deployments/name/{flow}/{flow}")["id"]
        wish = {"parameters": parameters, **more}
        return str(self.factory.ask(f"/deployments/{deployment}/create_flow_run", wish)["id"])

    def backfill(self, first: str, last: str) -> str:
        """Ask for a backfill."""
        days = {"start": f"2013-02-{first}", "end": f"2013-02-{last}"}
        return self.launch("backfill", {"model": MODEL, "using": "champion", **days})

    def wait_for_work(self, run: str, has_begun: Callable[[], bool] = lambda: True) -> int:
        """Wait until a child of the run holds the model; return the flow's own process."""

        found: list[int] = []

        def at_work() -> bool:
            models = {
                p for p, command in processes_of(self.home).items() if "/harness.py" in command
            }
            found[:] = sorted(processes_with(run))[:1]
            return bool(found and models & set(list_tree(found[0], 200)) and has_begun())

        assert wait_until(at_work, WORK_LIMIT_S, LOOK_S), self.tell(run)
        return found[0]

    def last(self, run: str) -> Any:
        """Return the run, or what took it up at last."""
        found = self.factory.ask(f"/flow_runs/{run}")
        later = followers_of(PrefectApi(self.factory.api), run)
        return self.last(later[0]["id"]) if later else found

    def wait_for(self, run: str, *states: str) -> Any:
        """Wait until the work is in one of ``states``; return its last run."""

        def come() -> Any:
            found = self.last(run)
            return found if found["state_type"] in states else None

        return wait_for(come, lambda: self.tell(run))

    def tell(self, run: str) -> str:
        """Return what is known of a run that does not come to an end."""
        api, last = PrefectApi(self.factory.api), self.last(run)
        logs = {"flow_run_id": {"any_": [last["id"]]}}
        lines = [log["message"] for log in api.post("/logs/filter", {"logs": logs})]
        return "\n".join([str(last["state"]), *lines, str(processes_of(self.home))])


@contextmanager
def touring(
    home: Path, port: int, tables: Path, settings: Mapping[str, str] = NOTHING
) -> Iterator[Tour]:
    """Give the factory of a home, for the length of the block."""
    with running(home, port, settings, BRISKLY, tables) as factory:
        yield Tour(factory)


def processes_with(run: str) -> list[int]:
    """Return the processes that a worker started for the run."""
    found, sign = [], f"PREFECT__FLOW_RUN_ID={run}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if sign in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def followers_of(api: PrefectApi, run: str) -> list[Any]:
    """Return the runs that took a run up."""
    key = {"idempotency_key": {"any_": [f"{TAKEN_UP}-{run}"]}}
    return list(api.post("/flow_runs/filter", {"flow_runs": key}))


def kill(*pids: int) -> None:
    """Kill processes with -9, those that have not ended meanwhile."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
