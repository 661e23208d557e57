"""Deciding about releases in tests: a deployment, its runs, answers to their forms, phones."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NewType

import pyotp

from pilotline.flows.server.api import PrefectApi
from tests.support.commands import Ran, run_command, run_python
from tests.support.flows.factory import CHALLENGER, MODEL, PEOPLE

RUN_LIMIT_S = 90
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # any 32 bytes
REVIEWER, OPERATOR = PEOPLE["review"], PEOPLE["go-live"]
AUTHOR = "author@example.org"

# The address of a Prefect server at which no other file's commands decide: a decision wakes every
# release of that version which waits at the server, of whatever home.
OwnServer = NewType("OwnServer", str)
NO_SERVER = OwnServer("")


@dataclass(frozen=True)
class Desk:
    """One home, one Prefect server, and what is decided there."""

    home: Path
    url: OwnServer
    printed: list[str] = field(default_factory=list)  # by the processes of runs
    more: Mapping[str, str] = field(default_factory=dict)  # settings

    @property
    def api(self) -> PrefectApi:
        """The server."""
        return PrefectApi(self.url)

    @property
    def settings(self) -> dict[str, str]:
        """What the environment of each command and run names."""
        return {"PREFECT_API_URL": self.url, "PILOTLINE_APPROVAL_KEY": KEY, **self.more}

    def command(self, *words: str) -> Ran:
        """Run a command in the home, at the server."""
        return run_command(self.home, *words, settings=self.settings)

    def decide(self, decision: str, person: str, gate: str = "review", *more: str) -> Ran:
        """Decide by command."""
        words = (decision, MODEL, CHALLENGER, "--gate", gate, "--by", person)
        return self.command(*words, "--comment", "said by command", *more)

    def ask_for_codes(self) -> dict[str, pyotp.TOTP]:
        """Let the policy ask for one-time codes; return each approver's phone."""
        policy = self.home / "policy.toml"
        policy.write_text(policy.read_text("utf-8").replace('"claimed"', '"totp"'), "utf-8")
        phones = {REVIEWER: self._enrol(REVIEWER)}
        vouching = ("--by", REVIEWER, "--code", phones[REVIEWER].now())
        return phones | {OPERATOR: self._enrol(OPERATOR, *vouching)}

    def _enrol(self, person: str, *vouching: str) -> pyotp.TOTP:
        shown = self.command("approvers", "add", person, *vouching)
        assert shown.status == 0, shown.err
        (uri,) = re.findall(r"^otpauth://\S+$", shown.out, re.MULTILINE)
        phone = pyotp.parse_uri(uri)
        assert isinstance(phone, pyotp.TOTP)
        return phone

    def state(self, run: str) -> Any:
        """Return the state of a run."""
        return self.api.get(f"/flow_runs/{run}")["state"]

    def inputs(self, run: str) -> dict[str, str]:
        """Return everything that is kept beside a run, by its key."""
        asked = {"prefix": "", "limit": 200, "exclude_keys": []}
        found = self.api.post(f"/flow_runs/{run}/input/filter", asked)
        return {item["key"]: item["value"] for item in found}

    def question(self, run: str) -> str:
        """Return what the form of a suspended run says above its fields."""
        keys = self.state(run)["state_details"]["run_input_keyset"]
        return self.inputs(run)[keys["description"]]

    def answer(self, run: str, **fields: str) -> Any:
        """Send the form, as the UI does; return the server's word."""
        form = {"decision": "approve", "approver": REVIEWER, "comment": "seen", **fields}
        return self.api.post(f"/flow_runs/{run}/resume", {"run_input": form})["status"]

    def force(self, run: str) -> None:
        """Resume a run without its form."""
        state = {"type": "SCHEDULED", "name": "Resuming", "state_details": {}}
        self.api.post(f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    def start(self, **parameters: object) -> str:
        """Make a run of the deployment and execute it until it is suspended or ends."""
        wish = {"parameters": {"model": MODEL, "version": CHALLENGER, **parameters}}
        release = self.deploy("release")
        run = str(self.api.post(f"/deployments/{release}/create_flow_run", wish)["id"])
        self.execute(run)
        return run

    def execute(self, run: str) -> Any:
        """Execute a run in a process of its own, as a worker does; return its state."""
        words = ("-m", "prefect.engine", run)
        done = run_python(self.home, *words, settings=self.settings, limit_s=RUN_LIMIT_S)
        self.printed.append(done.out + done.err)
        found = self.state(run)
        assert found["name"] != "Failed", (found, done.err)
        return found

    def deploy(self, name: str) -> str:
        """Return the deployment of a flow, made as 'pilotline up' makes it."""
        flow = self.api.post("/flows/", {"name": name})["id"]
        made = {
            "name": name,
            "flow_id": flow,
            "entrypoint": f"pilotline.flows.{name}.{name}",
            "enforce_parameter_schema": False,
        }
        return str(self.api.post("/deployments/", made)["id"])
