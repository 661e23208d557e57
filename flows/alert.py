"""Tell somebody that a run failed: why, and which command to try."""

import logging
import os
from collections.abc import Mapping
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from pilotline.flows.gate.reminders import ADDRESS
from pilotline.flows.gate.waking import EXPIRED
from pilotline.registry.consumers import send_message

PREFIX = "prefect.flow-run."
# What a person types to do again what a flow did.
COMMANDS = {
    "night": "pilotline status",
    "score": "pilotline score {model} --date {day}",
    "ingest": "pilotline ingest {dataset} --start {start} --end {end}",
    "backfill": "pilotline backfill {model} --start {start} --end {end} --using {using}",
    "train": "pilotline train {model}",
    "release": "pilotline release {model} {version}",
    "verify": "pilotline verify {model} {version}",
    "monitor": "pilotline monitor {model} --date {day}",
}

log = logging.getLogger("pilotline")


@flow(flow_run_name="alert")
def alert(run: str = "", title: str = "", message: str = "", while_waits: str = "") -> str:
    """Send the message by Apprise to the address in PILOTLINE_NOTIFY; return what was sent.

    Args:
        run: the flow run that failed, as events name it: prefect.flow-run.ID.
        title: what happened, where it was no flow run.
        message: more of that.
        while_waits: a flow run without whose waiting nobody need be told any more.
    """
    if while_waits and not _waits(while_waits):
        return "Nobody was told: what waited does so no more."
    title, body = _describe(run) if run else (f"pilotline: {title}", message)
    address = os.environ.get(ADDRESS, "")
    problem = send_message(address, title, body) if address else f"{ADDRESS} is not set here"
    if problem:
        log.warning("nobody was told (%s): %s", problem, title)
    return f"{title}\n{body}"


def _waits(run: str) -> bool:
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(run)).state
        except ObjectNotFound:
            return False
    return state is not None and state.is_paused()


def _describe(run: str) -> tuple[str, str]:
    with get_client(sync_client=True) as client:
        try:
            found = client.read_flow_run(UUID(run.removeprefix(PREFIX)))
        except ObjectNotFound:
            return "pilotline: a run failed", f"Flow run {run} is gone by now."
        flow_name = client.read_flow(found.flow_id).name
    state = found.state
    name = (state.name if state else None) or "Failed"
    reason = (state.message if state else "") or "no reason was given"
    if reason.endswith(EXPIRED):
        reason = "nobody decided before its deadline"
    command = command_of(flow_name, found.parameters)
    tried = "" if "Try: " in reason else f"\nTry: {command}"
    return f"pilotline: {found.name} {name.lower()}", f"{reason}{tried}"


def command_of(flow_name: str, parameters: Mapping[str, object]) -> str:
    """Return the command that does what a run of the flow was to do."""
    try:
        return COMMANDS[flow_name].format_map(parameters)
    except KeyError:
        return "pilotline status"
