"""Decisions at the gates: the one way in, whichever face they come from."""

from dataclasses import dataclass

from registry.approvals import Decision, decide
from tasks.home import Home


@dataclass(frozen=True)
class Decided:
    """A recorded decision."""

    model: str
    version: str
    gate: str
    decision: str
    by: str
    identity: str
    approval: str  # digest
    new: bool  # False: the same person said the same before


def record_decision(home: Home, name: str, number: str, said: Decision) -> Decided:
    """Record what somebody decided at a gate, under the factory's policy.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        ApprovalError: the person, the gate or the moment is wrong.
        PolicyError: the policy cannot be read.
    """
    policy = home.load_policy()
    with home.open_registry() as registry, registry.write() as session:
        approval, new = decide(session, name, number, said, policy)
        return Decided(
            name,
            number,
            approval.gate,
            approval.decision,
            approval.approver,
            approval.identity,
            approval.digest(),
            new,
        )
