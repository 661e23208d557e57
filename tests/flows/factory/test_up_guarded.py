"""A factory whose server asks for credentials, behind a proxy, with its logs as JSON."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pilotline.flows.server.api import PrefectApi
from tests.support.commands import COMMAND, environment_of, processes_of, run_here, run_process
from tests.support.flows.factory import MODEL
from tests.support.flows.running import BRISK, END_LIMIT_S, READY_LIMIT_S
from tests.support.places import ROOT
from tests.support.servers.ports import next_port
from tests.support.waiting import stretched, wait_until

PERSON = "factory:canary-71c0aa93"
ASKING = {"PREFECT_API_AUTH_STRING": PERSON}
PROXY = "https://factory.example.org/api"
SETTINGS = ASKING | {
    "PREFECT_SERVER_API_AUTH_STRING": PERSON,
    "PREFECT_SERVER_UI_API_URL": PROXY,
    "PREFECT_API_KEY": "pnu_canary-of-another-server",
    "PILOTLINE_APPROVAL_KEY": "canary-of-the-approvals",
    "PILOTLINE_LOG": "json",
}
SECRETS = ("canary", "ZmFjdG9yeTpjYW5hcnk")  # the second is how base64 of PERSON begins
OURS = ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_KEY")
SILENT_LIMIT_S = 60


@dataclass
class Guarded:
    """A running ``pilotline up`` whose server asks who asks."""

    home: Path
    port: int
    errors: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def api(self) -> PrefectApi:
        """Its server, asked with the credentials."""
        return PrefectApi(f"http://127.0.0.1:{self.port}/api", ASKING)

    @property
    def said(self) -> list[Any]:
        """The lines that it wrote on standard error."""
        return [json.loads(line) for line in self.errors.read_text("utf-8").splitlines()]

    @property
    def heard(self) -> dict[str, str]:
        """When the server last heard of each worker."""
        workers = self.api.post("/work_pools/pilotline/workers/filter", {})
        return {worker["name"]: worker["last_heartbeat_time"] for worker in workers}

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        with self.errors.open("ab") as errors:
            process = subprocess.Popen(
                [COMMAND, "up", "--port", str(self.port)],
                env=environment_of(self.home, BRISK | SETTINGS),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        self.process, facts = process, self.home / "prefect" / "up.json"

        def ready_or_ended() -> bool:
            ready = facts.exists() and json.loads(facts.read_text("utf-8"))["ready"]
            return ready or process.poll() is not None

        assert wait_until(ready_or_ended, READY_LIMIT_S)
        assert process.poll() is None, self.errors.read_text("utf-8")

    def stop(self) -> None:
        """End it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(stretched(END_LIMIT_S))

    def pid(self, module: str) -> int:
        """Return its process that runs ``module``."""
        (found,) = [p for p, command in processes_of(self.home).items() if module in command]
        return found

    def environment(self, module: str) -> set[str]:
        """Return the names of the variables of its process that runs ``module``."""
        variables = Path(f"/proc/{self.pid(module)}/environ").read_bytes().decode().split("\0")
        return {variable.partition("=")[0] for variable in variables}

    def tells(self, what: str, since: int = 0) -> bool:
        """Tell whether it said so, after so many lines."""
        return any(what in line["message"] for line in self.said[since:])


@pytest.fixture(scope="module")
def guarded(
    home: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """Return a running factory."""
    factory = Guarded(home, next_port(shared), tmp_path_factory.mktemp("guarded") / "errors")
    try:
        factory.start()
        yield factory
    finally:
        factory.stop()


def test_its_server_asks_for_credentials_and_its_worker_has_them(guarded: Guarded) -> None:
    assert list(guarded.heard) == [f"pilotline-{socket.gethostname()}"]


def test_its_state_is_shown_to_who_has_them(guarded: Guarded) -> None:
    found = run_process(guarded.home, "status", "--json", settings=ASKING).json["server"]
    assert (found["problem"], found["version"], found["schedules"]) == ("", "3.9.1", 1)


def test_who_has_none_is_told_so(guarded: Guarded) -> None:
    ran = run_here(guarded.home, "status")
    assert "asks for credentials, and none are set (401). Set PREFECT_API_AUTH_STRING" in ran.out


def test_commands_run_at_it_for_who_has_them(guarded: Guarded) -> None:
    (model,) = run_here(guarded.home, "status", "--json").json["models"]
    words = ("ingest", "flights", "--date", model["last"])
    ran = run_process(guarded.home, *words, settings=ASKING)
    assert ran.status == 0, ran.err
    guarded_runs = guarded.api.post("/flow_runs/filter", {"flows": {"name": {"any_": ["ingest"]}}})
    assert [run["state_type"] for run in guarded_runs] == ["COMPLETED"]


def test_each_process_has_the_secrets_that_it_needs(guarded: Guarded) -> None:
    secrets = {*OURS, "PILOTLINE_APPROVAL_KEY"}
    # The worker's flows check the codes that were typed into a form.
    worker = {"PREFECT_API_AUTH_STRING", "PILOTLINE_APPROVAL_KEY"}
    assert guarded.environment("pilotline.flows.server.worker") & secrets == worker
    assert guarded.environment("pilotline.flows.server.serving") & secrets == {
        "PREFECT_SERVER_API_AUTH_STRING"
    }


def test_browsers_are_sent_where_the_user_says(guarded: Guarded) -> None:
    ui = PrefectApi(f"http://127.0.0.1:{guarded.port}", {})
    assert ui.get("/ui-settings")["api_url"] == PROXY


def test_what_it_says_of_a_model_is_about_that_model(guarded: Guarded) -> None:
    (line,) = [line for line in guarded.said if line["message"].startswith("scheduled ")]
    assert (line["model"], line["version"]) == (MODEL, "1.0.0")


def test_a_server_that_was_silent_and_answers_again_is_said(guarded: Guarded) -> None:
    server, before = guarded.pid("pilotline.flows.server.serving"), len(guarded.said)
    os.kill(server, signal.SIGSTOP)
    try:
        assert wait_until(lambda: guarded.tells("does not answer", before), SILENT_LIMIT_S)
        silent = len(guarded.said)
        assert not guarded.tells("answers again", silent - 1)
    finally:
        os.kill(server, signal.SIGCONT)
    assert wait_until(lambda: guarded.tells("the server answers again", silent), SILENT_LIMIT_S)


def test_it_is_ready_when_its_own_worker_is_there_not_another(guarded: Guarded) -> None:
    guarded.api.post("/work_pools/pilotline/workers/heartbeat", {"name": "pilotline-elsewhere"})
    guarded.stop()
    name = f"pilotline-{socket.gethostname()}"
    before = max(line["time"] for line in guarded.said)
    guarded.start()
    assert "pilotline-elsewhere" in guarded.heard
    assert guarded.heard[name] > before


def test_every_line_of_its_logs_is_json(guarded: Guarded) -> None:
    logs = guarded.home / "prefect" / "logs"
    for log in ("deploy.log", "worker.log", "server.log"):
        lines = [json.loads(line) for line in (logs / log).read_text("utf-8").splitlines()]
        assert all(line["message"] for line in lines)
    said = json.loads((logs / "deploy.log").read_text("utf-8").splitlines()[0])
    assert said["logger"] == "output"


def test_no_secret_is_in_a_file_or_on_a_command_line(guarded: Guarded) -> None:
    kept = [p for p in (guarded.home / "prefect").rglob("*") if p.is_file()]
    texts = [p.read_bytes() for p in (*kept, guarded.errors)]
    texts += [command.encode() for command in processes_of(guarded.home).values()]
    assert kept
    assert not [text for text in texts for secret in SECRETS if secret.encode() in text]
