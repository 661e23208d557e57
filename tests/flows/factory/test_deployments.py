"""Deployments: Prefect's own commands take what is in deployments/, on a real server."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow

from pilotline.flows.alert import command_of
from pilotline.flows.factory.deploy import ensure_pool, pool_name
from pilotline.flows.factory.schedules import list_nights, sync_schedules
from pilotline.flows.server.api import PrefectApi
from pilotline.registry.record.versions import ModelVersion
from pilotline.tasks.home import find_home
from pilotline.tasks.lab import load_model_folder
from pilotline.tasks.schedule import Scheduled
from tests.support.commands import environment_of
from tests.support.flows.running import ENDS
from tests.support.places import ROOT
from tests.support.waiting import stretched, wait_until

DEPLOYED_WITHIN_S = 90
RUN_WITHIN_S = 120  # twelve processes
POOL = "pilotline"
AT_ONCE = 2  # each takes 200 MB
ASK_S = 1.0
DAY = "2013-02-01"
UNKNOWN = {"model": "nope"}
# What each flow is asked for, and what its own code answers where there is nothing yet.
ASKED: dict[str, tuple[dict[str, str], str]] = {
    "alert": ({"title": "nobody"}, "COMPLETED"),
    "backfill": ({**UNKNOWN, "start": DAY, "end": DAY, "using": "champion"}, "'nope'"),
    "ingest": ({"dataset": "nope", "start": DAY, "end": DAY}, "'nope'"),
    "monitor": ({**UNKNOWN, "day": DAY}, "'nope'"),
    "night": (UNKNOWN, "'nope'"),
    "release": ({**UNKNOWN, "version": "1.0.0"}, "'nope'"),
    "replay": ({"run_id": "nope"}, "'nope'"),
    "retrain": ({**UNKNOWN, "until": DAY}, "'nope'"),
    "score": ({**UNKNOWN, "day": DAY}, "'nope'"),
    "train": (UNKNOWN, "'nope'"),
    "verify": ({**UNKNOWN, "version": "1.0.0"}, "'nope'"),
    "wake": ({}, "COMPLETED"),
}
MODEL = "flight-delay"
SHIPPED = ROOT / "deployments" / "prefect.yaml"
POOLS = ROOT / "deployments" / "work-pools"


@pytest.fixture(scope="module")
def server(own_server: str) -> str:
    """Return a server of this file's own: it takes all there is to deploy."""
    return own_server


@pytest.fixture(scope="module")
def scheduled() -> Scheduled:
    """Return the example as a champion."""
    schedule = load_model_folder(ROOT / "lab", MODEL).spec.schedule
    assert schedule is not None
    return Scheduled(1, MODEL, ModelVersion(major=1, minor=0, patch=0), schedule, datetime.now(UTC))


@pytest.fixture(scope="module")
def deployed(
    server: str, scheduled: Scheduled, tmp_path_factory: pytest.TempPathFactory
) -> PrefectApi:
    """Return a server to which everything was deployed, as a person does it from any folder.

    Before that it was of an old home, whose deployments name files of a checkout.
    """
    api = PrefectApi(server)
    ensure_pool(api, POOL)
    for name in ("night", "score"):
        deploy_file(api, name)
    sync_schedules(api, [scheduled])
    folder = tmp_path_factory.mktemp("prefect-home")
    settings = {"PREFECT_API_URL": server, "PREFECT_HOME": str(folder)}
    words = ["--no-prompt", "deploy", "--all", "--prefect-file", str(SHIPPED)]
    done = subprocess.run(
        [Path(sys.executable).with_name("prefect"), *words],
        env=environment_of(folder, settings) | {"PILOTLINE_POOL": POOL},
        cwd=tmp_path_factory.mktemp("elsewhere"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=stretched(DEPLOYED_WITHIN_S),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return api


def deploy_file(api: PrefectApi, name: str) -> None:
    """Deploy a flow by its file, as older versions did."""
    made = {
        "name": name,
        "flow_id": api.post("/flows/", {"name": name})["id"],
        "entrypoint": f"flows/{name}.py:{name}",
        "pull_steps": [
            {"prefect.deployments.steps.set_working_directory": {"directory": "/old/checkout"}}
        ],
        "work_pool_name": POOL,
        "enforce_parameter_schema": False,
    }
    api.post("/deployments/", made)


def test_every_flow_of_a_file_of_its_own_is_deployed_by_its_one_name(deployed: PrefectApi) -> None:
    found = [d for d in deployed.list_all("/deployments/filter", {}) if d["name"] != MODEL]
    for deployment in found:
        module, _, function = deployment["entrypoint"].rpartition(".")
        assert isinstance(getattr(import_module(module), function), Flow)
        assert module.startswith("pilotline.flows.")
        assert deployment["pull_steps"] == []
    flows = {
        path.stem for path in (ROOT / "flows").glob("*.py") if "\n@flow(" in path.read_text("utf-8")
    }
    assert {d["name"] for d in found} == flows - {"lifecycle"} == set(ASKED)  # the demo's own


def test_deployments_of_an_older_version_no_longer_name_files(
    deployed: PrefectApi, scheduled: Scheduled
) -> None:
    (old,) = list_nights(deployed)
    assert old["entrypoint"] == "flows/night.py:night"
    assert sync_schedules(deployed, [scheduled]) == 1
    for flow, name in (("night", MODEL), ("night", "night"), ("score", "score")):
        now = deployed.get(f"/deployments/name/{flow}/{name}")
        assert (now["entrypoint"], now["pull_steps"]) == (f"pilotline.flows.{flow}.{flow}", [])
    assert sync_schedules(deployed, [scheduled]) == 0
    sync_schedules(deployed, [])  # nothing of it is to start


@pytest.fixture(scope="module")
def answered(deployed: PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the state in which one run of each deployment ended, at a worker in no checkout."""
    for automation in deployed.list_all("/automations/filter", {}):  # they would start more runs
        deployed.patch(f"/automations/{automation['id']}", {"enabled": False})
    folder = tmp_path_factory.mktemp("worker")
    for part in ("lab", "empty"):
        (folder / part).mkdir()
    settings = {
        "PILOTLINE_HOME": str(folder / "home"),
        "PILOTLINE_LAB": str(folder / "lab"),
        "PREFECT_API_URL": deployed.url,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    deployed.patch(f"/work_pools/{POOL}", {"concurrency_limit": AT_ONCE})
    home = find_home(settings, folder)
    home.make()
    home.open_registry().close()
    asked = {}
    for name, (parameters, _) in ASKED.items():
        deployment = deployed.get(f"/deployments/name/{name}/{name}")["id"]
        wish = {"parameters": parameters}
        asked[name] = deployed.post(f"/deployments/{deployment}/create_flow_run", wish)["id"]

    def states() -> dict[str, Any]:
        return {name: deployed.get(f"/flow_runs/{run}")["state"] for name, run in asked.items()}

    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "pilotline.flows.server.worker", POOL],
            env=environment_of(home.root, settings),
            cwd=folder / "empty",
            stdin=subprocess.PIPE,  # it ends when this closes
            stdout=log,
            stderr=log,
        )
        try:
            done = wait_until(
                lambda: all(s["type"] in ENDS for s in states().values()), RUN_WITHIN_S, ASK_S
            )
        finally:
            worker.communicate()
    print((folder / "worker.log").read_text("utf-8"))  # shown with a test that fails
    assert done, states()
    assert list((folder / "empty").iterdir()) == []
    return states()


@pytest.mark.parametrize("flow", ASKED)
def test_a_worker_that_is_in_no_checkout_loads_each_flow(
    flow: str, answered: dict[str, Any]
) -> None:
    state, (_, expected) = answered[flow], ASKED[flow]
    assert expected in f"{state['type']} {state['message']}"


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
