"""Take a version through review, verification and go-live to champion."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from prefect import flow
from pydantic import Field

from pilotline.flows.gate.asking import forget_answers, pass_gate
from pilotline.flows.run.deployed import deployed_run, end_run
from pilotline.flows.run.events import emit
from pilotline.flows.run.place import current_home
from pilotline.flows.run.telling import deliver_due
from pilotline.registry.gates import Wish
from pilotline.tasks.decide import Gate
from pilotline.tasks.decide.steps import check_evaluation, is_champion, promote_version
from pilotline.tasks.verify.steps import verify


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
    model: str,
    version: str,
    effective_from: datetime | None = None,
    break_consumers: str = "",
    decide_within_h: Annotated[float, Field(gt=0)] | None = None,
) -> Released:
    """Advance as far as the recorded decisions allow; call it again after each of them.

    A run of a deployment waits at each gate, its process freed, and asks on its page in the Prefect
    UI; anywhere else the flow ends there and says which command decides.

    Args:
        model: the model.
        version: the version.
        effective_from: the business time from which a promotion counts; by default now.
        break_consumers: why consumers may be broken by it.
        decide_within_h: how many hours a run of a deployment waits at a gate; by default as long
            as an approval holds that nothing has used, which the policy says.
    """
    try:
        released = _advance(model, version, Wish(effective_from, break_consumers), decide_within_h)
    except Exception:
        forget_answers()
        raise
    if deployed_run() is None:
        return released
    forget_answers()
    if released.state == "champion":
        deliver_due()
    ended: Released = end_run(released.state, released.reason)
    return ended


def _advance(model: str, version: str, wish: Wish, decide_within_h: float | None) -> Released:
    home = current_home()
    if is_champion(home, model, version):
        return Released(model, version, "champion", "champion already")
    failed = check_evaluation(home, model, version)
    if failed:
        reasons = "; ".join(f"{check['name']}: {check['detail']}" for check in failed)
        return Released(model, version, "refused", f"refused, its evaluation failed ({reasons})")
    review = pass_gate(home, model, version, "review", decide_within_h)
    if review.state != "approved":
        return _stopped(model, version, review)
    verified = verify(home, model, version)
    if not verified.passed:
        return Released(model, version, "refused", f"refused, verification {verified.summary}")
    go_live = pass_gate(home, model, version, "go-live", decide_within_h)
    if go_live.state != "approved":
        return replace(_stopped(model, version, go_live), verification=verified.summary)
    reign = promote_version(home, model, version, wish)
    emit("version.promoted", model, {"version": version, "digest": reign.digest})
    return Released(
        model, version, "champion", f"now champion, approved by {review.by} and {go_live.by}"
    )


def _stopped(model: str, version: str, gate: Gate) -> Released:
    if gate.state == "rejected":
        reason = f"rejected at {gate.gate} by {gate.by}: {gate.comment}"
        return Released(model, version, "rejected", reason)
    if gate.state == "refused":
        return Released(model, version, "refused", f"refused at {gate.gate}, {gate.comment}")
    by = gate.approvers[0] if len(gate.approvers) == 1 else "NAME"
    among = "" if by != "NAME" else f" by one of {', '.join(gate.approvers)}"
    code = " --code CODE" if gate.identity == "totp" else ""
    command = (
        f"pilotline approve {model} {version} --gate {gate.gate} --by {by}{code} --comment TEXT"
    )
    return Released(model, version, "waiting", f"waiting for {gate.gate}{among}", command)
