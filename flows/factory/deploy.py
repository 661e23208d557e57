"""Bringing the work pool and the deployments of prefect.yaml, as shipped, to a server."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pilotline.flows.screen.logs import said_in
from pilotline.flows.server.api import PrefectApi, quote
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.shipped import DEPLOYMENTS

POOL_VARIABLE, POOL = "PILOTLINE_POOL", "pilotline"  # the name where the variable is not set
DEPLOY_LIMIT_S = 180  # it takes 5 s on two idle cores


def pool_name(environment: Mapping[str, str]) -> str:
    """Return the name of the work pool that flows run in."""
    return environment.get(POOL_VARIABLE) or POOL


def ensure_pool(api: PrefectApi, name: str, kind: str = "process") -> tuple[str, bool]:
    """Make the work pool out of its template if the server has none.

    Returns:
        Its kind, which is another one where somebody made it so, and whether it is new.
    """
    found = api.get(f"/work_pools/{quote(name)}")
    if found is not None:
        return str(found["type"]), False
    template = DEPLOYMENTS / "work-pools" / f"{kind}.json"
    job = json.loads(template.read_text("utf-8"))
    api.post("/work_pools/", {"name": name, "type": kind, "base_job_template": job})
    return kind, True


def lost_pool(api: PrefectApi) -> bool:
    """Tell whether the deployments are in no work pool, in which nothing of them ever runs.

    Prefect 3.9.1 leaves them so when somebody deletes the pool, also once it is there again, which
    a worker sees to by itself.
    """
    nights = api.get("/deployments/name/night/night")
    return nights is None or nights["work_pool_name"] is None


def deploy_all(environment: Mapping[str, str], log: Path, check: Callable[[], None]) -> None:
    """Bring every flow to the server that ``environment`` names, by Prefect's own command.

    Args:
        environment: with PREFECT_API_URL and PILOTLINE_POOL.
        log: where the command's output goes.
        check: called while it runs; what it raises ends the command.

    Raises:
        SettingsError: the command failed.
    """
    words = ["--no-prompt", "deploy", "--all", "--prefect-file", str(DEPLOYMENTS / "prefect.yaml")]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pilotline.flows.server.command", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,  # Python looks for modules there first, and nobody else's are in it
            env=environment,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + DEPLOY_LIMIT_S
        while process.poll() is None and time.monotonic() < until:
            check()
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        lines = log.read_text("utf-8", errors="replace").splitlines()[-12:]
        raise SettingsError(
            "The flows",
            "could not be deployed",
            "Prefect says:\n" + "\n".join(said_in(line) for line in lines),
        )
