"""Verify a version in its real environment, by itself and as often as wanted."""

from prefect import flow

from flows.run.place import current_home
from tasks.verification import Verified
from tasks.verify_steps import verify as verify_step


@flow(flow_run_name="verify-{model}-{version}")
def verify(model: str, version: str) -> Verified:
    """Return what verification found; it is recorded whether it passed or not."""
    return verify_step(current_home(), model, version, again=True)
