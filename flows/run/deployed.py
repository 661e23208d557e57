"""The run around a flow: whether it is one of a deployment, and the state in which it ends."""

from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.states import Cancelled, Completed


def deployed_run() -> FlowRun | None:
    """Return the run around this, if it is one that can be suspended: of a deployment, no subflow.

    Source:
        HandlePausingFlows in Prefect 3.9.1's server/orchestration/core_policy.py.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None or run.parent_task_run_id is not None:
        return None
    return run


def end_run(state: str, reason: str) -> Any:
    """Return the Prefect state in which a run of a deployment ends, so that its page says why.

    Prefect takes a returned state for the run's own, whatever type the flow declares.
    """
    if state == "rejected":
        return Cancelled(message=reason)
    return Completed(name="Refused" if state == "refused" else None, message=reason)
