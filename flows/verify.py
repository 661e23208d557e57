"""Verify a version in its real environment, by itself and as often as wanted."""

from prefect import flow

from pilotline.flows.run.place import current_home
from pilotline.tasks.verify import Verified
from pilotline.tasks.verify.steps import verify as verify_step


@flow(flow_run_name="verify-{model}-{version}")
def verify(model: str, version: str) -> Verified:
    """Return what verification found; it is recorded whether it passed or not."""
    return verify_step(current_home(), model, version, again=True)
