"""The factory's policy: who may approve, how they show it, and what isolation runs need."""

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pilotline.registry.form import (
    MAX_PERSON,
    PolicyError,
    digest_json,
    is_person,
    person,
    same_person,
)

GATES = ("review", "go-live")
TIERS = ("A", "C")  # strongest first: bubblewrap; scrubbed environment and limits only
MAX_DAYS = 36_500  # a century; more than a calendar holds ends in no date
IDENTITIES = ("claimed", "totp")  # weakest first: a name; a name and a one-time code
_APPROVALS = {"identity", "distinct_approvers", "expires_days", "backdating", *GATES}


@dataclass(frozen=True)
class Policy:
    """What the factory asks for, whatever the author of a model says."""

    approvers: Mapping[str, tuple[str, ...]]  # gate -> who may decide
    identity: str
    distinct_approvers: bool
    expires_days: int
    minimum_isolation: str
    backdating: bool = False  # whether a promotion may count from an earlier time

    def digest(self) -> str:
        """Return the SHA-256 over the policy; it is stored with each gate's event."""
        return digest_json({**vars(self), "approvers": dict(self.approvers)})

    def approver(self, gate: str, name: str) -> str | None:
        """Return how the policy writes ``name``, or None if it may not decide at ``gate``."""
        return next((n for n in self.approvers[gate] if same_person(n, name)), None)

    def takes_isolation(self, tier: str) -> bool:
        """Tell whether what ran in isolation ``tier`` counts."""
        return tier in TIERS[: TIERS.index(self.minimum_isolation) + 1]

    def isolation_gap(self, tier: str) -> str:
        """Return in words what a verification in isolation ``tier`` lacks."""
        return f"it was verified in isolation {tier}, the policy asks for {self.minimum_isolation}"


def read_policy(where: str, tables: Mapping[str, Any]) -> Policy:
    """Return the factory's policy that ``tables`` of its file state.

    Args:
        where: the file, for messages.
        tables: as TOML gives them.

    Raises:
        PolicyError: they say something unknown, or name no approver.
    """
    # How the factory scores is its own business, and no part of what approvals are given under.
    check_tables(where, {name: table for name, table in tables.items() if name != "scoring"})
    approvals, isolation = tables.get("approvals", {}), tables.get("isolation", {})
    policy = Policy(
        approvers={gate: tuple(map(_written, approvals.get(gate, ()))) for gate in GATES},
        identity=approvals.get("identity", "claimed"),
        distinct_approvers=approvals.get("distinct_approvers", True),
        expires_days=approvals.get("expires_days", 14),
        minimum_isolation=isolation.get("minimum", "A"),
        backdating=approvals.get("backdating", False),
    )
    for gate, names in policy.approvers.items():
        if not names:
            raise PolicyError(where, f"gate {gate!r} names no approver", "List at least one.")
    return policy


def check_tables(where: str, tables: Mapping[str, Any]) -> None:
    """Do nothing if ``tables`` say what a policy can mean.

    Args:
        where: the file, for messages.
        tables: ``[approvals]`` and ``[isolation]``, of the factory's policy or of a model.

    Raises:
        PolicyError: something is unknown, or has another type.
    """
    _refuse_unknown(where, tables, {"approvals", "isolation"}, "table")
    _check_types(where, tables, dict.fromkeys(("approvals", "isolation"), dict))
    approvals, isolation = tables.get("approvals", {}), tables.get("isolation", {})
    _refuse_unknown(where, approvals, _APPROVALS, "key of [approvals]")
    _refuse_unknown(where, isolation, {"minimum"}, "key of [isolation]")
    yes_or_no = dict.fromkeys(("distinct_approvers", "backdating"), bool)
    _check_types(where, approvals, yes_or_no | dict.fromkeys(GATES, list))
    for gate in GATES:
        if gate in approvals:
            _check_people(where, gate, approvals[gate])
    if approvals.get("identity", "claimed") not in IDENTITIES:
        raise PolicyError(
            where, f"identity {approvals['identity']!r}", f"Expected one of {IDENTITIES}."
        )
    if isolation.get("minimum", "A") not in TIERS:
        raise PolicyError(where, f"isolation {isolation['minimum']!r}", f"Expected one of {TIERS}.")
    days = approvals.get("expires_days", 14)
    if type(days) is not int or not 1 <= days <= MAX_DAYS:
        problem = f"expires_days {days!r}"
        raise PolicyError(where, problem, f"Expected a whole number of days, 1 to {MAX_DAYS}.")


def tighten(policy: Policy, where: str, wishes: Mapping[str, Any]) -> Policy:
    """Return ``policy`` with what a model asks for on top; it can only ask for more.

    Args:
        policy: the factory's.
        where: whose wishes, for messages.
        wishes: ``[approvals]`` and ``[isolation]`` of a ``model.toml``.

    Raises:
        PolicyError: a wish is unknown, or looser than the factory's rule.
    """
    check_tables(where, wishes)
    asked, isolation = wishes.get("approvals", {}), wishes.get("isolation", {})
    approvers = dict(policy.approvers)
    for gate in GATES:
        if gate in asked:
            listed = [policy.approver(gate, name) for name in asked[gate]]
            if None in listed:
                _refuse_looser(where, gate, tuple(asked[gate]), approvers[gate])
            approvers[gate] = tuple(name for name in listed if name)
    tightened = replace(
        policy,
        approvers=approvers,
        identity=asked.get("identity", policy.identity),
        distinct_approvers=asked.get("distinct_approvers", policy.distinct_approvers),
        expires_days=asked.get("expires_days", policy.expires_days),
        minimum_isolation=isolation.get("minimum", policy.minimum_isolation),
        backdating=asked.get("backdating", policy.backdating),
    )
    for name, strictness in (
        ("identity", lambda given: IDENTITIES.index(given.identity)),
        ("distinct_approvers", lambda given: given.distinct_approvers),
        ("expires_days", lambda given: -given.expires_days),
        ("minimum_isolation", lambda given: -TIERS.index(given.minimum_isolation)),
        ("backdating", lambda given: not given.backdating),
    ):
        if strictness(tightened) < strictness(policy):
            _refuse_looser(where, name, getattr(tightened, name), getattr(policy, name))
    return tightened


def _written(name: str) -> str:
    """Return ``name`` in one spelling, for people: they type accents in more than one way."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def _check_people(where: str, gate: str, names: list[Any]) -> None:
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise PolicyError(where, f"gate {gate!r} names no approver", "List at least one.")
    for name in names:
        if not is_person(name):
            expected = f"Expected 1 to {MAX_PERSON} printable characters."
            raise PolicyError(where, f"gate {gate!r} names {name!r}, nobody's name", expected)
    counted = Counter(map(person, names))
    for name in names:
        if counted[person(name)] > 1:
            raise PolicyError(
                where,
                f"gate {gate!r} names {name!r} more than once",
                "Letters' case, spaces and ways to write an accent make no other person; "
                "list each once.",
            )


def _refuse_looser(where: str, name: str, asked: object, rule: object) -> None:
    raise PolicyError(
        where,
        f"{name} {asked!r} is looser than the factory's {rule!r}",
        "A model may only tighten the factory's policy; remove it from model.toml.",
    )


def _refuse_unknown(where: str, table: Mapping[str, Any], known: set[str], what: str) -> None:
    for key in table:
        if key not in known:
            raise PolicyError(
                where, f"unknown {what} {key!r}", f"Known: {', '.join(sorted(known))}."
            )


def _check_types(where: str, table: Mapping[str, Any], types: Mapping[str, type]) -> None:
    for key, kind in types.items():
        if key in table and type(table[key]) is not kind:
            raise PolicyError(
                where, f"{key} {table[key]!r}", f"Expected a {kind.__name__} in TOML."
            )
