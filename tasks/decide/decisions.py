"""Decisions at the gates and beyond: the one way in, whichever face they come from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from pilotline.registry import Registry
from pilotline.registry.form import ApproverError, same_person
from pilotline.registry.gates import (
    GATES,
    Approval,
    Decision,
    Policy,
    Presence,
    Retired,
    Said,
    Split,
    Vault,
    act_present,
    champion,
    check_change,
    decide,
    enrolled_since,
    live_approval,
    require_split,
    retire,
    rollback,
    set_split,
    stop_split,
)
from pilotline.registry.moving import Imported, Importer, import_model
from pilotline.registry.record import (
    CHAMPION,
    ModelVersion,
    Reign,
    get_alias,
    get_model,
    get_version,
    status_of,
    version_by_id,
)
from pilotline.registry.store import Session
from pilotline.tasks.home import Home
from pilotline.tasks.lab import factory_policy, load_bundle, policy_of
from pilotline.tasks.train import require_compared

Done = TypeVar("Done")


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
    new: bool  # False: it was approved, or the same person said the same, before
    comment: str  # as recorded: a second one by the same person changes nothing


def record_decision(
    home: Home, name: str, number: str, said: Decision, presence: Presence | None = None
) -> Decided:
    """Record what somebody decided at a gate, under the policy that holds for the version.

    One approval is enough: of two people who approve at once the first counts, and what is
    returned to the other is that one's.

    Args:
        home: the home.
        name: the model.
        number: the version.
        said: the decision.
        presence: the one-time code of who decides, where one was given.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        ApprovalError: the person, the code, the gate or the moment is wrong.
        VersionUnfitError: go-live is approved of what was never compared with the champion.
        PolicyError: the policy cannot be read.
    """
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        policy = policy_of(home, registry, version)
        _refuse_needless(registry, policy, presence)
        _require_compared(registry, version, said)
        said = replace(said, identity="totp" if presence else "claimed")

        def act(session: Session) -> Decided:
            first = _counted_before(session, version, said, policy)
            approval, new = (first, False) if first else decide(session, name, number, said, policy)
            facts = (approval.gate, approval.decision, approval.approver, approval.identity)
            return Decided(name, number, *facts, approval.digest(), new, approval.comment)

        return _act(home, registry, presence, act)


def _require_compared(registry: Registry, version: ModelVersion, said: Decision) -> None:
    """Do nothing unless somebody approves a promotion over a champion that nobody compared.

    A version of another status is refused with that.
    """
    if (said.gate, said.decision) != ("go-live", "approve"):
        return
    with registry.read() as session:
        if status_of(session, version) == "approved":
            require_compared(registry, session, version)


def _counted_before(
    session: Session, version: ModelVersion, said: Decision, policy: Policy
) -> Approval | None:
    """Return the approval of somebody else that counts at the gate, unless it is to be taken over.

    That is so where nobody else than who gave it could decide at the other gate.
    """
    if said.decision != "approve":
        return None
    found = live_approval(session, version, said.gate, policy)
    if found is None or same_person(found.approver, said.approver):
        return None
    (other,) = (gate for gate in GATES if gate != said.gate)
    others = [name for name in policy.approvers[other] if not same_person(name, found.approver)]
    return found if others or not policy.distinct_approvers else None


def asks_for_code(home: Home, name: str, number: str) -> bool:
    """Tell whether decisions about a version need a one-time code.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        PolicyError: the policy cannot be read.
    """
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        return policy_of(home, registry, version).identity == "totp"


def roll_back(
    home: Home, name: str, reason: str, by: str, presence: Presence | None = None
) -> Reign:
    """Make the champion before the present one champion again.

    Raises:
        NoChampionError, VersionUnfitError: there is none to go back to, or it must not run.
        ApprovalError: the factory asks for a one-time code, and none or a wrong one was given.
    """
    with home.open_registry() as registry:
        with registry.read() as session:
            alias = get_alias(session, get_model(session, name).id, CHAMPION)
            present = version_by_id(session, alias.version_id) if alias else None
        policy = policy_of(home, registry, present) if present else factory_policy(home)
        identity = _identify(registry, policy, by, presence)
        return _act(
            home, registry, presence, lambda session: rollback(session, name, reason, by, identity)
        )


def retire_version(
    home: Home,
    name: str,
    number: str,
    status: str,
    reason: str,
    by: str,
    presence: Presence | None = None,
) -> Retired:
    """Deprecate, revoke or archive a version.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        VersionUnfitError: its present status forbids it.
        ApprovalError: the factory asks for a one-time code, and none or a wrong one was given.
    """
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, name, number)
        policy = policy_of(home, registry, version)
        identity = _identify(registry, policy, by, presence)
        return _act(
            home,
            registry,
            presence,
            lambda session: retire(session, name, number, status, reason, by, identity),
        )


def share_rows(
    home: Home,
    name: str,
    number: str,
    share: Decimal,
    change: str,
    by: str,
    reason: str,
    presence: Presence | None = None,
) -> Split:
    """Let a challenger score ``share`` of production's rows beside the champion.

    Args:
        home: the home.
        name: the model.
        number: the version; empty for the challenger of the split there is.
        share: of the keys.
        change: ``start``, ``upgrade`` or ``downgrade``.
        by: who says so.
        reason: why.
        presence: the one-time code of who says so, where one was given.

    Raises:
        VersionUnfitError, SplitError, ConsumerError: it must not, or cannot.
        ApprovalError: a gate is not approved, or the factory asks for a code that was not given.
        AuditError: the model's record contradicts itself, so that no approval in it counts.
    """
    from pilotline.tasks.score import check_record, plan_split
    from pilotline.tasks.verify import platform

    with home.open_registry() as registry:
        with registry.read() as session:
            number = check_change(session, name, change, number, share)
            present, version = champion(session, name), get_version(session, name, number)
        check_record(registry, version)
        plan_split(load_bundle(registry, present), load_bundle(registry, version), share, "score")
        policy = policy_of(home, registry, version)
        said = Said(by, _identify(registry, policy, by, presence), reason)

        def act(session: Session) -> Split:
            check_change(session, name, change, number, share)  # somebody may have been quicker
            return set_split(session, name, number, share, policy, platform(), said)

        return _act(home, registry, presence, act)


def end_split(
    home: Home, name: str, by: str, reason: str, presence: Presence | None = None
) -> Split:
    """Let the champion score every row again.

    Raises:
        SplitError: there is no split.
        ApprovalError: the factory asks for a one-time code, and none or a wrong one was given.
    """
    with home.open_registry() as registry:
        with registry.read() as session:
            split = require_split(session, name)
            version = get_version(session, name, split.challenger)
        policy = policy_of(home, registry, version)
        said = Said(by, _identify(registry, policy, by, presence), reason)
        return _act(home, registry, presence, lambda session: stop_split(session, name, said))


def _refuse_needless(registry: Registry, policy: Policy, presence: Presence | None) -> None:
    """Do nothing unless a code was given that nobody asks for and that nothing could check.

    Raises:
        ApproverError: the person is not enrolled, and need not be.
    """
    if presence is None or policy.identity != "claimed":
        return
    with registry.read() as session:
        if enrolled_since(session, presence.approver) is None:
            raise ApproverError(
                presence.approver,
                "not enrolled, and the policy here asks for names only, not for codes",
                "Leave --code away.",
            )


def bring_model(home: Home, path: Path, by: str, presence: Presence | None = None) -> Imported:
    """Import the model exported to ``path``, with the champion that was approved where it lived.

    Raises:
        ImportRefusedError: it is damaged, hostile, or of another model of a name used here.
        ApprovalError: the factory asks for a one-time code, and none or a wrong one was given.
    """
    with home.open_registry() as registry:
        identity = _identify(registry, factory_policy(home), by, presence)
        importer = Importer(by, identity, lambda act: _act(home, registry, presence, act))
        return import_model(registry, path, importer=importer)


def _identify(registry: Registry, policy: Policy, by: str, presence: Presence | None) -> str:
    """Return how sure we are of who acts; a code is looked at where the act is done.

    Raises:
        ApproverError: the policy asks for a code and none was given, or the other way round.
    """
    _refuse_needless(registry, policy, presence)
    if presence is not None:
        return "totp"
    if policy.identity == "totp":
        raise ApproverError(
            by, "the policy asks for a one-time code", "Give --by NAME and --code CODE."
        )
    return "claimed"


def _act(
    home: Home, registry: Registry, presence: Presence | None, act: Callable[[Session], Done]
) -> Done:
    if presence is not None:
        return act_present(registry, Vault(home.approval_key), presence, act)
    with registry.write() as session:
        return act(session)
