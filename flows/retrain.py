"""Retrain the champion with its own scripts on new data; a person decides what becomes of it."""

import logging
from datetime import date

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from pydantic import BaseModel

from pilotline.flows.release import Released, release
from pilotline.flows.run.deployed import deployed_run, end_run
from pilotline.flows.run.events import emit
from pilotline.flows.run.place import current_home
from pilotline.tasks.errors import RetrainingRefusedError
from pilotline.tasks.monitor.steps import ask_to_retrain
from pilotline.tasks.train import Trained
from pilotline.tasks.train.steps import train_from_champion

log = logging.getLogger("pilotline")


class Drift(BaseModel):
    """What an event said: the farthest of the distances that drifted; of more, nothing is kept."""

    version: str
    column: str
    distance: str
    value: float
    threshold: float


@flow(flow_run_name="retrain-{model}-{until}")
def retrain(model: str, until: date, drift: Drift | None = None) -> tuple[Trained, Released]:
    """Return the challenger and where its release waits; it is never promoted here.

    A run of a deployment starts a release of its own, which can be suspended at its gates, and ends
    as refused where the policy says no; elsewhere the release is part of this run, and a refusal is
    an error. Run again after a crash, it finds what was asked for, trained and started.

    Args:
        model: the model.
        until: the last data date it may learn from or be judged on.
        drift: why an automation started this, for whoever reads the run; whether there is drift,
            and whether it may be answered, the registry knows.
    """
    home = current_home()
    if drift is not None:
        said = f"{drift.column} {drift.distance} {drift.value:.4g} of {drift.version}"
        log.info("started by drift until %s: %s (limit %g)", until, said, drift.threshold)
    try:
        ask_to_retrain(home, model, until)
    except RetrainingRefusedError as refusal:
        if deployed_run() is None:
            raise
        refused: tuple[Trained, Released] = end_run("refused", str(refusal))
        return refused
    trained = train_from_champion(home, model, until)
    if trained.new:
        facts = {"version": trained.number, "digest": trained.digest}
        emit("version.registered", model, {**facts, "metrics": trained.metrics})
    if deployed_run() is None:
        return trained, release(model, trained.number)
    started = _start_release(model, trained)
    ended: tuple[Trained, Released] = end_run(
        "waiting", f"{model} {trained.number} is taken to review by the run {started.name}"
    )
    return ended


def _start_release(model: str, trained: Trained, attempt: int = 1) -> FlowRun:
    """Return the run that takes the version to its gates, started unless there is one.

    One that failed, for nobody decided in time or a machine died, is followed by another.
    """
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(
            client.read_deployment_by_name("release/release").id,
            parameters={"model": model, "version": trained.number},
            name=f"release-{model}-{trained.number}",
            idempotency_key=f"release-{trained.digest}-{attempt}",
        )
    if run.state is not None and (run.state.is_failed() or run.state.is_crashed()):
        return _start_release(model, trained, attempt + 1)
    return run
