"""Start the night of each model whose data has arrived since it was due."""

from prefect import flow
from prefect.deployments import run_deployment

from flows.place import current_home
from tasks.night_steps import find_ready


@flow(flow_run_name="wake")
def wake() -> list[str]:
    """Return the models whose night was started; an automation calls it when days come in."""
    models = find_ready(current_home())
    for model in models:
        run_deployment(f"night/{model}", timeout=0, as_subflow=False)
    return models
