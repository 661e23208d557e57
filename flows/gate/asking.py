"""A gate of a release: in a run of a deployment it asks in the Prefect UI and frees the process.

The registry's record is the gate's state. The form is one way to write it; the run looks the
record up each time it wakes, whoever woke it, and asks again while nothing counts.
"""

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_runs import suspend_flow_run

from pilotline.flows.gate.form import Answer, GateForm, judge_answer
from pilotline.flows.gate.late import say_earlier
from pilotline.flows.gate.page import Page, escape_markdown, make_page
from pilotline.flows.gate.reminders import Waiting, forget_reminder, tell_waiting
from pilotline.flows.gate.waking import wake_releases
from pilotline.flows.run.deployed import deployed_run
from pilotline.registry.gates import Policy, last_move
from pilotline.registry.record import get_version, status_of
from pilotline.registry.store import now
from pilotline.tasks.decide import Gate
from pilotline.tasks.decide.steps import read_gate
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import policy_of
from pilotline.tasks.train import DECIDABLE

PREFIX, ANSWER = "suspended-", "-response"  # how Prefect 3.9.1 names what a suspended run waits for

MOST_INPUTS = 200  # of a run; each question leaves three, an answer one

log = logging.getLogger("pilotline")


def pass_gate(
    home: Home, model: str, version: str, gate: str, decide_within_h: float | None = None
) -> Gate:
    """Return where the version stands at ``gate``; suspend this run of a deployment if it waits.

    Args:
        home: the home.
        model: the model.
        version: the version.
        gate: review or go-live.
        decide_within_h: how long a question waits; by default as long as an approval holds.
    """
    found = read_gate(home, model, version, gate)
    run = deployed_run()
    if run is None:
        return found
    policy = _policy(home, model, version)
    page = make_page(home, model, version, gate, policy.digest())
    refusal = ""
    with get_client(sync_client=True) as client:
        asked = _questions(client.read_flow_run(run.id), gate)
        answer = _take_answer(client, run.id, asked[-1]) if asked else None
        decided = answer is not None and (found.state == "waiting" or _objects(answer))
        until = _first_deadline(client, run.id, asked)
        if answer is not None and decided:
            refusal = judge_answer(home, model, version, gate, answer, page.fingerprint)
            found = read_gate(home, model, version, gate)
        if found.state != "waiting" or page.status not in DECIDABLE:
            forget_reminder(client, run.id)
    if found.state != "waiting":
        if decided and not refusal:
            _wake(home, model, version, but=str(run.id))
        elif answer is not None and not decided:
            _say_late(gate, answer, found)
        return found
    if page.status not in DECIDABLE:
        return Gate(gate, "refused", comment=_why_retired(home, model, version))
    key = f"{gate}-{len(asked) + 1}-{page.fingerprint}"
    limit = timedelta(hours=decide_within_h or 24 * policy.expires_days)
    until = _say_round(until or now() + limit, limit)
    waiting = Waiting(model, version, gate, found.approvers, until)
    try:
        _ask(run, waiting, page, key, refusal)
    except Pause:
        if read_gate.fn(home, model, version, gate).state != "waiting":
            _wake(home, model, version)  # decided while this run was not yet suspended
        raise
    return found  # not reached: asking ends the process


def forget_answers() -> None:
    """Delete what was sent to a run that ends without having looked at it: no code is to stay."""
    run = deployed_run()
    if run is None:
        return
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        for left in client.filter_flow_run_input(run.id, PREFIX, MOST_INPUTS, set()):
            if left.key.endswith(ANSWER):
                client.delete_flow_run_input(run.id, left.key)


def _policy(home: Home, model: str, version: str) -> Policy:
    with home.open_registry() as registry:
        with registry.read() as session:
            found = get_version(session, model, version)
        return policy_of(home, registry, found)


def _wake(home: Home, model: str, version: str, but: str = "") -> None:
    """Resume the releases of the version; that one still sleeps stops no other."""
    try:
        wake_releases(home, model, version, but)
    except SettingsError as problem:
        log.warning("releases of %s %s still wait: %s", model, version, problem)


def _say_late(gate: str, answer: Answer, found: Gate) -> None:
    """Leave on the run's page that the form was sent when somebody else had decided."""
    if isinstance(answer.value, dict):
        log.warning("%s", say_earlier(gate, str(answer.value.get("approver")), found.by))


def _why_retired(home: Home, model: str, version: str) -> str:
    """Return what became of a version that can no longer be decided on, and why."""
    with home.open_registry() as registry, registry.read() as session:
        found = get_version(session, model, version)
        move = last_move(session, found)
        said = f"the version is {status_of(session, found)}"
    facts = move.facts() if move else {}
    return f"{said} by {facts['by']}: {facts['reason']}" if facts.get("reason") else said


def _questions(run: FlowRun, gate: str) -> list[str]:
    """Return the keys under which this run has asked at ``gate``, oldest first.

    The server keeps them, so that no key is used twice and no old answer is taken for a new one.
    """
    policy = run.empirical_policy
    keys = [key for key in policy.pause_keys or () if key.startswith(f"{gate}-")]
    return sorted(keys, key=lambda key: int(key.rsplit("-", 2)[1]))


def _first_deadline(
    client: SyncPrefectClient, run_id: UUID, asked: Sequence[str]
) -> datetime | None:
    """Return until when the first of the questions ``asked`` waited: asking again gives no more.

    Those before a question at the other gate do not count: that one was approved, and no more is.
    """
    states = client.read_flow_run_states(run_id)
    first = None
    for details in (s.state_details for s in sorted(states, key=lambda s: s.timestamp)):
        if details.pause_key and details.pause_key not in asked:
            first = None
        elif details.pause_key:
            first = first or details.pause_timeout
    return first


def _say_round(until: datetime, limit: timedelta) -> datetime:
    """Return ``until`` to the minute, unless that is much of the limit.

    Prefect keeps it to the second of its own clock: so it is shown alike however often one asks.
    """
    if limit < timedelta(hours=1):
        return until
    return (until + timedelta(seconds=30)).replace(second=0, microsecond=0)


def _take_answer(client: SyncPrefectClient, run_id: UUID, key: str) -> Answer:
    """Return the answer to the question ``key``, and delete it from Prefect's database.

    It is deleted before it is judged, so that a code never stays; if this process dies in between,
    the run asks again. What is stored under another key answers nothing.
    """
    name = f"{PREFIX}{key}{ANSWER}"
    found = client.filter_flow_run_input(run_id, name, 1, set())
    taken = found[0] if found else None
    if taken is not None:
        client.delete_flow_run_input(run_id, taken.key)
    evidence = key.rpartition("-")[2]
    if taken is None:
        return Answer(evidence, None, now())
    sent_at = taken.created or datetime.now(UTC)
    return Answer(evidence, _decode(taken.value), sent_at)


def _decode(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return ""  # something came, and it is no answer


def _objects(answer: Answer) -> bool:
    """Tell whether it rejects: that is heard until the promotion, though another one approved."""
    return isinstance(answer.value, dict) and answer.value.get("decision") == "reject"


def _ask(run: FlowRun, waiting: Waiting, page: Page, key: str, refusal: str) -> None:
    """Show the evidence and suspend the run until the form is sent or somebody else decides.

    Raises:
        Pause: always; the process ends, and a later one begins the flow again.
    """
    artifact = "".join(c if c.isalnum() and c.isascii() else "-" for c in waiting.subject.lower())
    create_markdown_artifact(
        key=f"release-{artifact}", markdown=page.markdown, description=waiting.sentence
    )
    tell_waiting(run, waiting, again=bool(refusal))
    head = f"**Not counted.** {escape_markdown(refusal)}\n\n" if refusal else ""
    description = f"{head}{waiting.sentence} This page is under Artifacts too.\n\n{page.markdown}"
    form = GateForm.with_initial_data(description=description)
    seconds = max(1, int((waiting.until - now()).total_seconds()))
    suspend_flow_run(wait_for_input=form, key=key, timeout=seconds)
