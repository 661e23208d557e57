"""Replay a run from the record alone and compare it with what it recorded."""

from prefect import flow

from pilotline.flows.run.place import current_home
from pilotline.tasks.explain import Replayed
from pilotline.tasks.explain.steps import replay as replay_step


@flow(flow_run_name="replay-{run_id}")
def replay(run_id: str) -> Replayed:
    """Return whether the run gives the same predictions again; nothing is recorded of it."""
    return replay_step(current_home(), run_id)
