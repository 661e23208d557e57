"""Which versions wait for somebody's decision, and for which: what a release would ask."""

from dataclasses import dataclass

from pilotline.registry import Registry
from pilotline.registry.form import PolicyError
from pilotline.registry.gates import GATES, Waiting, list_waiting, live_approval
from pilotline.registry.record import passed_verification
from pilotline.registry.store import Session
from pilotline.tasks.home import Home
from pilotline.tasks.lab import policy_of
from pilotline.tasks.train import present_evaluation


@dataclass(frozen=True)
class Awaited:
    """A version that waits."""

    model: str
    number: str
    gate: str  # where its release would wait; empty where both are approved
    approvers: tuple[str, ...]  # who may decide there
    verified: bool


def list_awaited(registry: Registry, home: Home) -> list[Awaited]:
    """Return the versions that wait, without those whose release would refuse them.

    Whether an approval counts is judged as a release does: one that a promotion used up, that
    expired or that was given under another policy is asked for again.
    """
    with registry.read() as session:
        return [
            _describe(registry, home, session, found)
            for found in list_waiting(session)
            if all(
                c["passed"] for c in present_evaluation(registry, session, found.version)["checks"]
            )
        ]


def _describe(registry: Registry, home: Home, session: Session, found: Waiting) -> Awaited:
    version, gate = found.version, found.gate
    approvers: tuple[str, ...] = ()
    try:
        policy = policy_of(home, registry, version)
    except PolicyError:  # an overview does without it; the release says what is wrong
        pass
    else:
        open_gates = (g for g in GATES if live_approval(session, version, g, policy) is None)
        gate = next(open_gates, "")
        approvers = policy.approvers.get(gate, ())
    verified = passed_verification(session, version) is not None
    return Awaited(found.model, version.number, gate, approvers, verified)
