"""Signs of life of flow runs: their process, where it was seen on this machine, or heartbeats."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pilotline.flows.server.api import PrefectApi
from pilotline.registry.store import now
from pilotline.tasks.sandbox import PROCESSES

HEARTBEAT_S = 30  # the shortest that Prefect 3.9.1 takes; set for every process of 'pilotline up'
GRACE_S = 90.0  # three heartbeats, and long enough to start; so all is well in three minutes
AHEAD = timedelta(minutes=5)  # a clock elsewhere may be fast; Prefect leaves out what is to come
HEARTBEAT = "prefect.flow-run.heartbeat"
VARIABLE = b"PREFECT__FLOW_RUN_ID="  # in the environment of each process that a worker starts


@dataclass(frozen=True)
class Dead:
    """A run that gives no sign of life though its state says that it goes on."""

    id: str
    state_id: str
    reason: str


class Signs:
    """What is known of the runs that go on."""

    def __init__(
        self, api: PrefectApi, note: Path, grace_s: float, *, starts_at_once: bool
    ) -> None:
        self._api, self._note = api, note
        self._grace, self._starts_at_once = timedelta(seconds=grace_s), starts_at_once
        self._here = _read_note(note)
        self._gone: set[str] = set()
        self._alive: dict[str, datetime] = {}  # the last known sign of runs elsewhere
        self._looked: datetime | None = None
        self._since = now()

    def find_dead(self, runs: Sequence[Mapping[str, Any]]) -> list[Dead]:
        """Return those of the running, pending and cancelling ``runs`` that are dead.

        One that runs and was seen on this machine is dead when two looks in a row do not find its
        process. Of others this machine knows what the server heard, and only while the server was
        there to hear.
        """
        at = now()
        if self._looked is None or at - self._looked > self._grace / 2:
            self._since = at  # nobody looked for a while: this machine slept or the server was away
        self._looked = at
        ids = {str(run["id"]) for run in runs}
        running = {str(run["id"]) for run in runs if run["state_type"] != "PENDING"}
        present = list_present() & ids
        gone = (self._here & running) - present  # one that is pending may have no process yet
        twice, self._gone = gone & self._gone, gone
        self._remember((self._here | present) & ids)
        self._alive = {run: moment for run, moment in self._alive.items() if run in ids}
        dead = [_gone(run) for run in runs if run["id"] in twice]
        others = [run for run in runs if run["id"] not in present | gone]
        return dead + [found for run in others if (found := self._judge(run, at))]

    def _judge(self, run: Mapping[str, Any], at: datetime) -> Dead | None:
        """Judge a run that has no process here by what the server heard of it."""
        if run["state_type"] == "PENDING" and not self._starts_at_once:
            return None  # its worker waits for a machine, and watches it
        entered = datetime.fromisoformat(run["state"]["timestamp"])
        known = max(entered, self._since, self._alive.get(run["id"], entered))
        if at - known < self._grace:
            return None
        heard = self._last_heartbeat(run["id"], at - self._grace)
        if heard is not None:
            self._alive[run["id"]] = heard
            return None
        seconds = self._grace.total_seconds()
        return _dead(run, f"No sign of life for {seconds:.0f} s: its process or machine ended.")

    def _last_heartbeat(self, run_id: str, since: datetime) -> datetime | None:
        wanted = {
            "event": {"name": [HEARTBEAT]},
            "resource": {"id": [f"prefect.flow-run.{run_id}"]},
            "occurred": {"since": since.isoformat(), "until": (now() + AHEAD).isoformat()},
            "order": "DESC",
        }
        found = self._api.post("/events/filter", {"filter": wanted, "limit": 1})["events"]
        return datetime.fromisoformat(found[0]["occurred"]) if found else None

    def _remember(self, here: set[str]) -> None:
        """Keep which runs were seen here, so that they are known after a reboot."""
        if here == self._here:
            return
        self._here = here
        unfinished = self._note.with_suffix(".unfinished")
        with contextlib.suppress(OSError):  # as where it is read
            unfinished.write_text(json.dumps(sorted(here)) + "\n", "utf-8")
            os.replace(unfinished, self._note)


def list_present() -> set[str]:
    """Return the ids of the flow runs whose process is on this machine and can be looked at."""
    found = set()
    for process in PROCESSES.glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
        own = [variable for variable in variables if variable.startswith(VARIABLE)]
        found |= {variable.removeprefix(VARIABLE).decode(errors="replace") for variable in own}
    return found


def _gone(run: Mapping[str, Any]) -> Dead:
    return _dead(run, "Its process is gone from this machine and left no result.")


def _dead(run: Mapping[str, Any], reason: str) -> Dead:
    return Dead(str(run["id"]), str(run["state_id"]), reason)


def _read_note(note: Path) -> set[str]:
    try:
        return {str(run) for run in json.loads(note.read_text("utf-8"))}
    except (OSError, ValueError, TypeError):  # a lost note costs time, no more: heartbeats tell
        return set()
