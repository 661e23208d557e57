"""Telling somebody that a release waits for a decision: when it begins to, and once more."""

import logging
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from pilotline.flows.screen.text import show
from pilotline.registry.consumers import send_message
from pilotline.registry.store import now

ADDRESS = "PILOTLINE_NOTIFY"  # an Apprise URL; may hold a secret
ALERT = "alert/alert"  # the deployment that sends a message
REMIND_AFTER = timedelta(days=1)  # or half of a shorter deadline
TAG = "pilotline-reminder"

log = logging.getLogger("pilotline")


@dataclass(frozen=True)
class Waiting:
    """A decision that is waited for."""

    model: str
    version: str
    gate: str
    approvers: tuple[str, ...]
    until: datetime

    @property
    def subject(self) -> str:
        """What waits."""
        return f"{self.model} {self.version}"

    @property
    def sentence(self) -> str:
        """Who decides, and until when."""
        people = ", ".join(self.approvers)
        return f"{self.gate} is decided by one of {people} until {show(self.until)}."

    @property
    def message(self) -> tuple[str, str]:
        """Title and body for people."""
        command = f"pilotline approve {self.subject} --gate {self.gate} --by NAME --comment TEXT"
        body = f"{self.sentence} Decide on the run's page, or type: {command}"
        return f"{self.subject} waits for {self.gate}", body


def tell_waiting(run: FlowRun, waiting: Waiting, *, again: bool) -> None:
    """Tell now, unless it was told ``again`` already, and see that it is told once more later."""
    title, body = waiting.message
    address = os.environ.get(ADDRESS, "")
    if address and not again:
        problem = send_message(address, f"pilotline: {title}", body)
        if problem:
            log.warning("nobody was told (%s): %s", problem, title)
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(ALERT)
        except ObjectNotFound:
            return
        left = waiting.until - now()
        client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"title": f"{title} still", "message": body, "while_waits": str(run.id)},
            state=Scheduled(scheduled_time=now() + min(REMIND_AFTER, left / 2)),
            tags=[TAG, _tag(run.id)],
            idempotency_key=f"{TAG}-{run.id}-{waiting.gate}",
        )


def forget_reminder(client: SyncPrefectClient, run_id: UUID) -> None:
    """Remove what would remind of a decision that has been made."""
    asked = FlowRunFilter.model_validate(
        {"tags": {"all_": [TAG, _tag(run_id)]}, "state": {"type": {"any_": ["SCHEDULED"]}}}
    )
    for reminder in client.read_flow_runs(flow_run_filter=asked):
        client.delete_flow_run(reminder.id)


def _tag(run_id: UUID) -> str:
    return f"release-run:{run_id}"
