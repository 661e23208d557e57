"""Two weeks that are backfilled by runs of a deployment, each in a process of its own."""

import subprocess
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pilotline.flows.server.api import PrefectApi
from tests.flows.conftest import query_sqlite, query_table
from tests.support.commands import environment_of, run_here, run_process, run_python
from tests.support.flows.factory import MODEL, PYTHON
from tests.support.places import ROOT
from tests.support.waiting import stretched, wait_until

START, DAYS = date(2013, 2, 15), 14  # four commits: of one day, two, four and seven
END = START + timedelta(days=DAYS - 1)
ALL = [(START + timedelta(days=n)).isoformat() for n in range(DAYS)]
SINCE = f"flight_date >= date '{START}' and flight_date <= date '{END}'"
RANGE = ("--start", START.isoformat(), "--end", END.isoformat())
LIMIT_S = 60
ASK_S = 0.1  # between two questions to the server


@dataclass(frozen=True)
class Weeks:
    """A home with two more weeks ingested, and a server at which they are scored."""

    home: Path
    url: str

    @property
    def api(self) -> PrefectApi:
        """The server."""
        return PrefectApi(self.url)

    def make_run(self) -> str:
        """Return a new run of the deployment."""
        flow = self.api.post("/flows/", {"name": "backfill"})["id"]
        made = {
            "name": "backfill",
            "flow_id": flow,
            "entrypoint": "pilotline.flows.backfill.backfill",
            "enforce_parameter_schema": False,
        }
        deployment = self.api.post("/deployments/", made)["id"]
        wish = {"model": MODEL, "start": str(START), "end": str(END), "using": "champion"}
        path = f"/deployments/{deployment}/create_flow_run"
        return str(self.api.post(path, {"parameters": wish})["id"])

    def begin(self, run: str) -> subprocess.Popen[str]:
        """Start to execute a run."""
        names = {"PREFECT_API_URL": self.url, "PREFECT_HOME": str(self.home / "prefect")}
        return subprocess.Popen(
            [PYTHON, "-m", "prefect.engine", run],
            env=environment_of(self.home, names),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def execute(self, run: str) -> Any:
        """Execute a run and return its state."""
        words = ("-m", "prefect.engine", run)
        named = {"PREFECT_API_URL": self.url}
        done = run_python(self.home, *words, settings=named, limit_s=LIMIT_S)
        return self.state(run) | {"said": done.out + done.err}

    def end(self, process: subprocess.Popen[str], run: str) -> Any:
        """Wait until the process has ended; return the run's state, with what it printed."""
        said, _ = process.communicate(timeout=stretched(LIMIT_S))
        return self.state(run) | {"said": said}

    def running(self) -> set[str]:
        """Return the runs of this flow that go on."""
        asked = {
            "flows": {"name": {"any_": ["backfill"]}},
            "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
        }
        return {run["id"] for run in self.api.post("/flow_runs/filter", asked)}

    def state(self, run: str) -> Any:
        """Return the state of a run."""
        return self.api.get(f"/flow_runs/{run}")["state"]

    def wait_for(self, run: str, name: str) -> None:
        """Wait until a run is in the state called ``name``."""
        assert wait_until(lambda: self.state(run)["name"] == name, LIMIT_S, ASK_S), self.state(run)

    @property
    def commits(self) -> int:
        """How many commits the table of predictions has."""
        log = self.home / "lake" / "predictions" / MODEL / "_delta_log"
        return len(list(log.glob("*.json")))

    def wait_for_more_than(self, commits: int) -> None:
        """Wait until there are more commits, so that some days are done."""
        assert wait_until(lambda: self.commits > commits, LIMIT_S)

    def command(self, *words: str) -> Any:
        """Run a command at the server, which succeeds."""
        run = run_here if words[0] in ("pause", "resume") else run_process
        ran = run(self.home, *words, settings={"PREFECT_API_URL": self.url})
        assert ran.status == 0, ran.err
        return ran

    def artifacts(self, run: str) -> dict[str, Any]:
        """Return what is on a run's page, the last of each kind."""
        asked = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        found = self.api.post("/artifacts/filter", asked)
        return {one["type"]: one for one in sorted(found, key=lambda one: str(one["created"]))}

    def days_shown(self) -> list[str]:
        """Return the days that readers see, each of them checked to be whole."""
        sql = "select flight_date as d, count(*) as n, count(distinct run_id) as r from t where "
        table = self.home / "lake" / "predictions" / MODEL
        rows = query_table(table, f"{sql}{SINCE} group by 1 order by 1")
        whole = query_table(
            self.home / "lake" / "datasets" / "flights" / "accepted",
            f"select flight_date as d, count(*) as n from t where {SINCE} group by 1",
        )
        expected = {row["d"]: (row["n"], 1) for row in whole}
        assert {row["d"]: (row["n"], row["r"]) for row in rows}.items() <= expected.items()
        return [row["d"] for row in rows]

    def runs_of_days(self) -> list[tuple[str, str]]:
        """Return day and state of each scoring run, in the order they began."""
        return query_sqlite(
            self.home / "registry.db",
            "select r.date, o.state from run r join run_outcome o on o.run_id = r.id "
            f"where r.date between '{START}' and '{END}' order by r.started_at, r.date",
        )
