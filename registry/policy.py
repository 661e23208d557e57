"""The factory's policy: who may approve, for how long, and what isolation runs need."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.canonical import digest_json
from registry.errors import PolicyError

GATES = ("review", "go-live")
TIERS = ("A", "C")  # strongest first: bubblewrap; scrubbed environment and limits only
_APPROVALS = {"identity", "distinct_approvers", "expires_days", *GATES}


@dataclass(frozen=True)
class Policy:
    """What the factory asks for, whatever the author of a model says."""

    approvers: Mapping[str, tuple[str, ...]]  # gate -> who may decide
    identity: str
    distinct_approvers: bool
    expires_days: int
    minimum_isolation: str

    def digest(self) -> str:
        """Return the SHA-256 over the policy; it is stored with each gate's event."""
        return digest_json({**vars(self), "approvers": dict(self.approvers)})


def load_policy(path: Path) -> Policy:
    """Return the policy in the TOML file at ``path``.

    Raises:
        PolicyError: the file is missing, is not TOML, or says something unknown.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as err:
        raise PolicyError(
            str(path), "the file is missing", "Restore deployments/policy.toml."
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise PolicyError(str(path), f"not TOML: {err}", "Mend the file.") from err
    _refuse_unknown(path, tables, {"approvals", "isolation"}, "table")
    approvals = tables.get("approvals", {})
    isolation = tables.get("isolation", {})
    _check_types(path, tables, dict.fromkeys(("approvals", "isolation"), dict))
    _check_types(path, approvals, {"distinct_approvers": bool} | dict.fromkeys(GATES, list))
    _refuse_unknown(path, approvals, _APPROVALS, "key of [approvals]")
    _refuse_unknown(path, isolation, {"minimum"}, "key of [isolation]")
    policy = Policy(
        approvers={gate: tuple(approvals.get(gate, ())) for gate in GATES},
        identity=approvals.get("identity", "claimed"),
        distinct_approvers=approvals.get("distinct_approvers", True),
        expires_days=approvals.get("expires_days", 14),
        minimum_isolation=isolation.get("minimum", "A"),
    )
    _check(path, policy)
    return policy


def _refuse_unknown(path: Path, table: Mapping[str, Any], known: set[str], what: str) -> None:
    for key in table:
        if key not in known:
            raise PolicyError(
                str(path), f"unknown {what} {key!r}", f"Known: {', '.join(sorted(known))}."
            )


def _check_types(path: Path, table: Mapping[str, Any], types: Mapping[str, type]) -> None:
    for key, kind in types.items():
        if key in table and type(table[key]) is not kind:
            raise PolicyError(
                str(path), f"{key} {table[key]!r}", f"Expected a {kind.__name__} in TOML."
            )


def _check(path: Path, policy: Policy) -> None:
    for gate, names in policy.approvers.items():
        if not names or not all(isinstance(name, str) and name.strip() for name in names):
            raise PolicyError(str(path), f"gate {gate!r} names no approver", "List at least one.")
    if policy.identity != "claimed":
        raise PolicyError(
            str(path),
            f"identity {policy.identity!r}; this release records 'claimed' only",
            'Write identity = "claimed".',
        )
    if policy.minimum_isolation not in TIERS:
        raise PolicyError(
            str(path), f"isolation {policy.minimum_isolation!r}", f"Expected one of {TIERS}."
        )
    if type(policy.expires_days) is not int or policy.expires_days < 1:
        raise PolicyError(
            str(path), f"expires_days {policy.expires_days!r}", "Expected a whole number of days."
        )
