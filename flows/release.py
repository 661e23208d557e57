"""Take a version through review, verification and go-live to champion."""

from dataclasses import dataclass, replace
from datetime import datetime

from prefect import flow

from flows.events import emit
from flows.place import current_home
from registry.promotions import Wish
from tasks.steps import (
    Gate,
    check_evaluation,
    is_champion,
    promote_version,
    read_gate,
    verify,
)


@dataclass(frozen=True)
class Released:
    """How far a version came."""

    model: str
    version: str
    state: str  # champion, waiting, rejected or refused
    reason: str
    command: str = ""  # what to type next
    verification: str = ""  # what it found, in one line, where it is what go-live is decided on


@flow(flow_run_name="release-{model}-{version}")
def release(
    model: str, version: str, effective_from: datetime | None = None, break_consumers: str = ""
) -> Released:
    """Advance as far as the recorded decisions allow; call it again after each of them.

    Args:
        model: the model.
        version: the version.
        effective_from: the business time from which a promotion counts; by default now.
        break_consumers: why consumers may be broken by it.
    """
    home = current_home()
    if is_champion(home, model, version):
        return Released(model, version, "champion", "champion already")
    failed = check_evaluation(home, model, version)
    if failed:
        reasons = "; ".join(f"{check['name']}: {check['detail']}" for check in failed)
        return Released(model, version, "refused", f"refused, its evaluation failed ({reasons})")
    review = read_gate(home, model, version, "review")
    if review.state != "approved":
        return _stopped(model, version, review)
    verified = verify(home, model, version)
    if not verified.passed:
        return Released(model, version, "refused", f"refused, verification {verified.summary}")
    go_live = read_gate(home, model, version, "go-live")
    if go_live.state != "approved":
        return replace(_stopped(model, version, go_live), verification=verified.summary)
    reign = promote_version(home, model, version, Wish(effective_from, break_consumers))
    emit("version.promoted", model, {"version": version, "digest": reign.digest})
    return Released(
        model, version, "champion", f"now champion, approved by {review.by} and {go_live.by}"
    )


def _stopped(model: str, version: str, gate: Gate) -> Released:
    if gate.state == "rejected":
        reason = f"rejected at {gate.gate} by {gate.by}: {gate.comment}"
        return Released(model, version, "rejected", reason)
    by = gate.approvers[0] if len(gate.approvers) == 1 else "NAME"
    among = "" if by != "NAME" else f" by one of {', '.join(gate.approvers)}"
    code = " --code CODE" if gate.identity == "totp" else ""
    command = (
        f"pilotline approve {model} {version} --gate {gate.gate} --by {by}{code} --comment TEXT"
    )
    return Released(model, version, "waiting", f"waiting for {gate.gate}{among}", command)
