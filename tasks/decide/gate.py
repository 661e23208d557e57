"""A version on its way to champion: where it stands at a gate, and its promotion."""

from dataclasses import dataclass

from pilotline.registry import Registry
from pilotline.registry.form import reach
from pilotline.registry.gates import Policy, Wish, latest_decision, live_approval, promote
from pilotline.registry.record import ModelVersion, Reign
from pilotline.registry.store import Session
from pilotline.tasks.home import Home
from pilotline.tasks.lab import policy_of
from pilotline.tasks.score import check_record
from pilotline.tasks.train import require_compared
from pilotline.tasks.verify import platform


@dataclass(frozen=True)
class Gate:
    """Where a version stands at one gate."""

    gate: str
    state: str  # approved, waiting or rejected
    by: str = ""
    comment: str = ""
    approvers: tuple[str, ...] = ()  # who may decide
    identity: str = ""  # how they must show that it is them


def find_gate(session: Session, version: ModelVersion, gate: str, policy: Policy) -> Gate:
    """Return where the version stands at ``gate``, from the recorded decisions; reads only."""
    last = latest_decision(session, version, gate)
    if last is not None and last.decision == "reject":
        return Gate(gate, "rejected", last.approver, last.comment)
    live = live_approval(session, version, gate, policy)
    if live is None:
        return Gate(gate, "waiting", approvers=policy.approvers[gate], identity=policy.identity)
    return Gate(gate, "approved", live.approver, live.comment)


def promote_compared(
    registry: Registry, home: Home, name: str, version: ModelVersion, wish: Wish
) -> Reign:
    """Make ``version`` of model ``name`` champion, if it is compared with the one of now.

    Raises:
        AuditError: the model's record contradicts itself.
        VersionUnfitError: it was not compared with the champion, or must not run.
        ApprovalError: a gate is not approved.
    """
    check_record(registry, version)
    policy = policy_of(home, registry, version)
    with registry.write() as session:
        require_compared(registry, session, version)  # the champion may have changed just now
        reign = promote(session, name, version.number, policy, platform(), wish)
    reach("promote: committed")
    return reign
