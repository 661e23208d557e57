"""Version numbers: which part moves, and why, by comparison with the parent version."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pilotline.registry.record.manifest import Manifest

PARTS = ("major", "minor", "patch")
Number = tuple[int, int, int]


@dataclass(frozen=True)
class Release:
    """One manifest beside the contract it holds."""

    manifest: Manifest
    contract: Mapping[str, Any]  # {"inputs": {name: {"type", "nullable"}}, "outputs": {...}}


@dataclass(frozen=True)
class Step:
    """Which part of the number moves, and the reasons in words."""

    part: str
    reasons: tuple[str, ...]


def compare_releases(parent: Release, child: Release) -> Step:
    """Return how far ``child`` is from ``parent``.

    Major when the contract narrows or loses something, minor when code, configuration,
    environment or an optional column changed, patch when only data or trained bytes did.
    """
    major, minor = _compare_contracts(parent.contract, child.contract)
    for role, word in (("script", "code"), ("config", "configuration"), ("lock", "environment")):
        if parent.manifest.digests(role) != child.manifest.digests(role):
            minor.append(f"{word} changed")
    if parent.manifest.interpreter != child.manifest.interpreter:
        minor.append(f"interpreter {child.manifest.interpreter}")
    if major:
        return Step("major", tuple(major + minor))
    if minor:
        return Step("minor", tuple(minor))
    return Step("patch", ("only data and trained bytes changed",))


def next_number(parent: Number, step: Step, taken: Iterable[Number]) -> Number:
    """Return the first free number after ``parent`` by ``step``; numbers are never reused."""
    index = PARTS.index(step.part)
    used = [number[index] for number in taken if number[:index] == parent[:index]]
    bumped = max([parent[index], *used]) + 1
    major, minor, _ = parent
    return {"major": (bumped, 0, 0), "minor": (major, bumped, 0), "patch": (major, minor, bumped)}[
        step.part
    ]


def _compare_contracts(
    parent: Mapping[str, Any], child: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    major: list[str] = []
    minor: list[str] = []
    for side in ("inputs", "outputs"):
        before, after = parent[side], child[side]
        major += [f"{side[:-1]} {name!r} lost" for name in before if name not in after]
        for name, column in after.items():
            if name not in before:
                needed = side == "inputs" and not column["nullable"]
                (major if needed else minor).append(f"{side[:-1]} {name!r} added")
            elif column["type"] != before[name]["type"]:
                major.append(
                    f"{side[:-1]} {name!r} is {column['type']}, was {before[name]['type']}"
                )
            elif column["nullable"] != before[name]["nullable"]:
                # Narrower: an input that stops taking nulls, an output that starts giving them.
                narrows = column["nullable"] == (side == "outputs")
                word = "nullable" if column["nullable"] else "required"
                (major if narrows else minor).append(f"{side[:-1]} {name!r} is now {word}")
    return major, minor
