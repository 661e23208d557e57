"""Deployments: Prefect's own commands take what is in deployments/, on a real server."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pilotline.flows.alert import command_of
from pilotline.flows.factory.deploy import ensure_pool, pool_name
from pilotline.flows.server.api import PrefectApi
from pilotline.tasks.errors import SettingsError
from tests.support.commands import environment_of
from tests.support.places import ROOT
from tests.support.waiting import stretched

DEPLOYED_WITHIN_S = 90
POOLS = ROOT / "deployments" / "work-pools"


@pytest.fixture(scope="module")
def server(own_server: str) -> str:
    """Return a server of this file's own: it takes all there is to deploy."""
    return own_server


@pytest.fixture(scope="module")
def deployed(server: str, tmp_path_factory: pytest.TempPathFactory) -> PrefectApi:
    """Return a server to which everything was deployed from the root, as a person does it."""
    api = PrefectApi(server)
    ensure_pool(api, "pilotline")
    folder = tmp_path_factory.mktemp("prefect-home")
    settings = {"PREFECT_API_URL": server, "PREFECT_HOME": str(folder)}
    words = ["--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"]
    done = subprocess.run(
        [Path(sys.executable).with_name("prefect"), *words],
        env=environment_of(folder, settings) | {"PILOTLINE_POOL": "pilotline"},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=stretched(DEPLOYED_WITHIN_S),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return api


def test_every_flow_of_a_file_of_its_own_is_deployed_from_the_root(deployed: PrefectApi) -> None:
    found = deployed.list_all("/deployments/filter", {})
    for deployment in found:
        path, _, function = deployment["entrypoint"].partition(":")
        assert f"def {function}(" in (ROOT / path).read_text("utf-8")
        (step,) = deployment["pull_steps"]
        assert step["prefect.deployments.steps.set_working_directory"]["directory"] == str(ROOT)
    flows = {
        path.stem for path in (ROOT / "flows").glob("*.py") if "\n@flow(" in path.read_text("utf-8")
    }
    assert {d["name"] for d in found} == flows - {"lifecycle"}  # the demo's own


def test_a_partition_is_scored_by_one_run_at_a_time_and_the_next_waits(
    deployed: PrefectApi,
) -> None:
    for name in ("night", "score", "backfill"):
        found = deployed.get(f"/deployments/name/{name}/{name}")
        assert found["global_concurrency_limit"]["limit"] == 1
        assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"


def test_automations_start_deployments_when_data_arrives_and_when_a_run_fails(
    deployed: PrefectApi,
) -> None:
    names = {d["id"]: d["name"] for d in deployed.list_all("/deployments/filter", {})}
    started = {
        automation["name"]: names[automation["actions"][0]["deployment_id"]]
        for automation in deployed.list_all("/automations/filter", {})
        if automation["actions"][0]["type"] == "run-deployment"
    }
    assert started["data arrived"] == "wake"
    for what in ("a run failed", "an automation failed", "a night was late"):
        assert started[what] == "alert"


@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes"])
def test_each_template_makes_a_work_pool(server: str, kind: str) -> None:
    api = PrefectApi(server)
    assert ensure_pool(api, f"a-{kind}", kind) == (kind, True)
    assert ensure_pool(api, f"a-{kind}", kind) == (kind, False)
    made = api.get(f"/work_pools/a-{kind}")
    template = json.loads((POOLS / f"{kind}.json").read_text("utf-8"))
    assert made["base_job_template"] == template


def test_the_pool_is_the_one_that_the_environment_names() -> None:
    assert pool_name({"PILOTLINE_POOL": "containers"}) == "containers"
    assert pool_name({}) == "pilotline"


def test_a_server_of_this_version_is_taken(server: str) -> None:
    assert PrefectApi(server).check_version() == "3.9.1"


def test_a_server_of_another_version_is_refused() -> None:
    class Older(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'"3.4.1"')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Older) as older:
        threading.Thread(target=older.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{older.server_address[1]}/api"
        with pytest.raises(SettingsError, match=r"is version 3\.4\.1, expected 3\.9\.1"):
            PrefectApi(url).check_version()
        older.shutdown()


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(SettingsError, match="does not answer"):
        PrefectApi("http://127.0.0.1:9/api").check_version()


@pytest.mark.parametrize(
    ("flow", "parameters", "command"),
    [
        (
            "score",
            {"model": "m", "day": "2026-01-01", "shadow": None},
            "pilotline score m --date 2026-01-01",
        ),
        ("release", {"model": "m", "version": "1.0.0"}, "pilotline release m 1.0.0"),
        ("wake", {}, "pilotline status"),
        ("score", {}, "pilotline status"),
    ],
)
def test_an_alert_names_the_command_to_try(
    flow: str, parameters: dict[str, object], command: str
) -> None:
    assert command_of(flow, parameters) == command
