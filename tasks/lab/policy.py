"""The factory's policy, read: what approvals and isolation it asks for, how many score at once."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.form import PolicyError
from pilotline.registry.gates import Policy, read_policy, tighten
from pilotline.registry.record import ModelVersion
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_manifest
from pilotline.tasks.lab.models import read_wishes

RUNNERS = ("threads", "dask")
SHARD_ROWS = 1_000_000  # a child starts in about a second, which fewer rows do not pay for
MAX_WORKERS = 1024


@dataclass(frozen=True)
class ScoringRules:
    """Who scores the shards of a big partition, and how many small ones are scored at once.

    It decides about speed alone, so it is no part of what approvals are given under.
    """

    task_runner: str = "threads"
    address: str = ""  # of a Dask scheduler; empty: a cluster on this machine
    workers: int = 1  # how many shards at once
    shard_rows: int = SHARD_ROWS  # the least rows of a shard
    days_at_once: int = 1  # of those that are not cut; each has a child

    def shards(self, rows: int) -> int:
        """Return into how many shards a partition of ``rows`` is cut: 1 for not at all."""
        return max(1, min(self.workers, rows // self.shard_rows))


def factory_policy(home: Home) -> Policy:
    """Return what the policy asks for: its ``[approvals]`` and ``[isolation]``.

    Raises:
        PolicyError: the file cannot be read, or is wrong.
    """
    return read_policy(str(home.policy_path), _read_tables(home))


def policy_of(home: Home, registry: Registry, version: ModelVersion) -> Policy:
    """Return the factory's policy with what the version's own ``model.toml`` tightens.

    Raises:
        PolicyError: the policy cannot be read, or the version asks for less than it.
        MissingBlobError, DigestMismatchError: the version is damaged.
    """
    manifest = load_manifest(registry, version)
    config = registry.blobs.get(manifest.file("model.toml").sha256)
    where = f"model.toml of {manifest.model} {version.number}"
    return tighten(factory_policy(home), where, read_wishes(config))


def load_rules(home: Home) -> ScoringRules:
    """Return the policy's ``[scoring]``; what it does not say is as on one machine.

    Raises:
        PolicyError: the file cannot be read, or says something that cannot be meant.
    """
    return parse_rules(str(home.policy_path), _read_tables(home).get("scoring", {}))


def parse_rules(where: str, table: object) -> ScoringRules:
    """Return the rules that ``table`` states.

    Raises:
        PolicyError: it is no table, a key is unknown, or a value of another kind.
    """
    if not isinstance(table, Mapping):
        raise PolicyError(where, f"[scoring] is {table!r}", "Expected a table.")
    known = {"task_runner", "address", "workers", "shard_rows", "days_at_once"}
    for key in set(table) - known:
        problem = f"unknown key of [scoring] {key!r}"
        raise PolicyError(where, problem, f"Known: {', '.join(sorted(known))}.")
    runner = table.get("task_runner", "threads")
    if runner not in RUNNERS:
        raise PolicyError(where, f"task_runner {runner!r}", f"Expected one of {RUNNERS}.")
    address = table.get("address", "")
    if not isinstance(address, str) or (address and (runner != "dask" or "://" not in address)):
        expected = 'Write address = "tcp://HOST:8786" beside task_runner = "dask".'
        raise PolicyError(where, f"address {address!r}", expected)
    workers = table.get("workers", len(os.sched_getaffinity(0)))
    _check_number(where, "workers", workers, MAX_WORKERS)
    shard_rows = table.get("shard_rows", SHARD_ROWS)
    _check_number(where, "shard_rows", shard_rows, 2**40)
    days_at_once = table.get("days_at_once", 1)
    _check_number(where, "days_at_once", days_at_once, MAX_WORKERS)
    return ScoringRules(runner, address, workers, shard_rows, days_at_once)


def _check_number(where: str, name: str, value: object, largest: int) -> None:
    if type(value) is not int or not 1 <= value <= largest:
        expected = f"Expected a whole number, 1 to {largest:,}."
        raise PolicyError(where, f"{name} {value!r}", expected)


def _read_tables(home: Home) -> dict[str, Any]:
    path = home.policy_path
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as err:
        raise PolicyError(
            str(path), f"cannot be read ({err.strerror})", "Restore it, or its rights."
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise PolicyError(str(path), f"not TOML: {err}", "Mend the file.") from err
