"""Start the night of each model whose data has arrived since it was due."""

from prefect import flow
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from pilotline.flows.run.place import current_home
from pilotline.tasks.schedule.steps import find_ready


@flow(flow_run_name="wake")
def wake() -> list[str]:
    """Return the models whose night was started; an automation calls it when days come in."""
    models = find_ready(current_home())
    for model in models:
        _start_night(model)
    return models


def _start_night(model: str) -> None:
    """Start the model's night, by the one for all where its own is not there yet."""
    try:
        run_deployment(f"night/{model}", timeout=0, as_subflow=False)
    except ObjectNotFound:
        run_deployment("night/night", parameters={"model": model}, timeout=0, as_subflow=False)
