"""The form at a gate: what the Prefect UI asks, and how an answer to it is judged."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prefect.input import RunInput
from pydantic import Field, ValidationError

from pilotline.flows.gate.late import say_earlier
from pilotline.registry.form import (
    ApprovalError,
    ApproverError,
    PolicyError,
    TextRefusedError,
    VersionUnfitError,
)
from pilotline.registry.gates import Decision, Presence
from pilotline.registry.store import now
from pilotline.tasks.decide import record_decision
from pilotline.tasks.home import Home

MAX_TEXT = 2000
# A worker takes a run up 10 to 60 s after the form was sent. What lay longer was typed by somebody
# who may have left, and a code that was read over a shoulder must not stay good for days.
LONGEST_DELAY = timedelta(minutes=15)
CHANGED = "The evidence changed while it waited. Read it again, then decide."

log = logging.getLogger("pilotline")


class GateForm(RunInput):
    """The four fields. The decision has no default: a run resumed by force decides nothing."""

    # Typed, since no mouse opens the drop-down of an enum in this dialogue: its focus trap closes
    # the list at once (Prefect 3.9.1's UI, chromium 156; the keyboard opens it).
    decision: str = Field(
        title="Decision", description="Type approve or reject.", pattern="^(approve|reject)$"
    )
    approver: str = Field(
        title="Approver", description="Your name, as the policy writes it.", max_length=200
    )
    code: str = Field(
        default="",
        title="One-time code",
        description="The six digits on your device, where the policy asks for them.",
        max_length=20,
    )
    comment: str = Field(
        title="Comment", description="Why; it is kept.", min_length=1, max_length=MAX_TEXT
    )


@dataclass(frozen=True)
class Answer:
    """What came back."""

    evidence: str  # fingerprint of the page that was shown
    value: Any  # JSON; None where the run was resumed without the form
    sent_at: datetime  # by the Prefect server's clock


def judge_answer(
    home: Home, model: str, version: str, gate: str, answer: Answer, evidence: str
) -> str:
    """Record what was answered; return why it does not count, or nothing.

    Args:
        home: the home.
        model: the model.
        version: the version.
        gate: the gate that was asked about.
        answer: what came back.
        evidence: fingerprint of the page as it is now.
    """
    if answer.value is None:
        return CHANGED if answer.evidence != evidence else "The run was resumed without this form."
    try:
        form = GateForm.model_validate(answer.value)
    except ValidationError:  # its text quotes what was typed, and a code may be in it
        return "What came back was no answer to this form."
    if answer.evidence != evidence and form.decision == "approve":
        return CHANGED
    said = Decision(gate, form.decision, form.approver.strip(), form.comment.strip())
    presence = None
    if form.code.strip():
        if now() - answer.sent_at > LONGEST_DELAY:
            minutes = int(LONGEST_DELAY.total_seconds() // 60)
            return (
                f"The code was sent more than {minutes} minutes before it was read. Give a new one."
            )
        presence = Presence(said.approver, form.code, min(answer.sent_at, now()))
    try:
        decided = record_decision(home, model, version, said, presence)
    except (
        ApprovalError,
        ApproverError,
        PolicyError,
        TextRefusedError,
        VersionUnfitError,
    ) as refusal:
        return str(refusal)
    if not decided.new:
        log.warning("%s", say_earlier(gate, said.approver, decided.by))
    return ""
