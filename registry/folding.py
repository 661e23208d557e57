"""The fold of a model's events: the state that they say it must be in."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from registry.aliases import CHALLENGER, CHAMPION
from registry.events import EventFacts

STATUSES = ("approved", "rejected", "deprecated", "revoked", "archived")


@dataclass
class Fold:
    """State by the events alone."""

    versions: dict[str, dict[str, Any]] = field(default_factory=dict)  # number -> how registered
    status: dict[str, object] = field(default_factory=dict)  # number -> status
    aliases: dict[str, object] = field(default_factory=dict)  # name -> number
    approvals: dict[str, object] = field(default_factory=dict)  # digest -> number
    uses: dict[str, object] = field(default_factory=dict)  # digest of an approval -> seq of its use
    verifications: dict[str, object] = field(default_factory=dict)  # "n of number" -> how it went
    consumers: dict[str, object] = field(default_factory=dict)  # name -> (contact, needs)
    runs: dict[str, object] = field(default_factory=dict)  # run -> (state, rows)
    visible: dict[str, str | None] = field(default_factory=dict)  # "variant day" -> run
    unsure: set[str] = field(default_factory=set)  # partitions that early events do not settle
    epochs: dict[str, int] = field(default_factory=dict)  # "variant day" -> of the last success


def fold_events(events: Iterable[EventFacts]) -> Fold:
    """Return what ``events``, one whole chain in order, say the present state is."""
    fold = Fold()
    for event in events:
        facts: dict[str, Any] = json.loads(event.body)
        if event.kind.startswith("run "):
            _fold_run(fold, event.kind.removeprefix("run "), facts)
        else:
            _fold_version(fold, event.kind, facts)
            _fold_evidence(fold, event, facts)
            _fold_alias(fold, event.kind, facts)
            _fold_consumer(fold, event.kind, facts)
        if event.kind == "imported":  # predictions stay where they were made
            fold.visible.clear()
            fold.epochs.clear()
    return fold


def _fold_version(fold: Fold, kind: str, facts: dict[str, Any]) -> None:
    if kind == "registered":
        fold.versions[facts["version"]] = facts
        fold.status[facts["version"]] = "registered"
    elif kind in STATUSES:
        fold.status[facts["version"]] = kind
    if "approval" in facts:
        fold.approvals[facts["approval"]] = facts["version"]


def _fold_evidence(fold: Fold, event: EventFacts, facts: dict[str, Any]) -> None:
    if event.kind == "promoted":
        fold.uses.update((entry["approval"], event.seq) for entry in facts["approvals"])
    elif event.kind == "verified":
        ending = f" of {facts['version']}"
        count = sum(key.endswith(ending) for key in fold.verifications) + 1
        fold.verifications[f"{count}{ending}"] = describe_verification(
            facts["passed"], facts["platform"], facts["isolation"], facts["report"]
        )


def describe_verification(passed: bool, platform: str, isolation: str, report: str) -> str:
    """Return what a verification counts for, in words."""
    return f"{'passed' if passed else 'failed'} on {platform}, tier {isolation}, report {report}"


def _fold_alias(fold: Fold, kind: str, facts: dict[str, Any]) -> None:
    number = facts.get("version")
    if kind in ("promoted", "rolled back"):
        fold.aliases[CHAMPION] = number
        if kind == "promoted" and fold.aliases.get(CHALLENGER) == number:
            del fold.aliases[CHALLENGER]
    elif kind == "challenger set":
        fold.aliases[CHALLENGER] = number
    elif kind == "alias set":
        fold.aliases[facts["alias"]] = number
    elif kind == "alias removed":
        fold.aliases.pop(facts["alias"], None)
    elif kind in ("revoked", "archived"):
        for name in [n for n, at in fold.aliases.items() if at == number and n != CHAMPION]:
            del fold.aliases[name]


def _fold_consumer(fold: Fold, kind: str, facts: dict[str, Any]) -> None:
    if kind == "consumer added":
        fold.consumers[facts["consumer"]] = (facts["contact"], facts["needs"])
    elif kind == "consumer removed":
        fold.consumers.pop(facts["consumer"], None)


def _fold_run(fold: Fold, state: str, facts: dict[str, Any]) -> None:
    fold.runs[facts["run"]] = (state, facts["rows"])
    key = f"{facts['variant']} {facts['date']}"
    if state == "succeeded":
        if facts["epoch"] >= fold.epochs.get(key, 0):
            fold.epochs[key] = facts["epoch"]
            fold.visible[key] = facts["run"]
            fold.unsure.discard(key)
    elif "committed" not in facts:
        fold.unsure.add(key)  # an early event, which does not say whether rows were committed
    elif facts["committed"]:
        fold.visible[key] = None
