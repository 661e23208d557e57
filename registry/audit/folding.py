"""The fold of a model's events: the state that they say it must be in."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pilotline.registry.record import CHALLENGER, CHAMPION, STATUSES, EventFacts


@dataclass(frozen=True)
class Distance:
    """How far a column had moved in a window, when drift was detected."""

    number: str
    name: str  # column and measure
    start: str
    end: str
    value: float


@dataclass
class Fold:
    """State by the events alone."""

    versions: dict[str, dict[str, Any]] = field(default_factory=dict)  # number -> how registered
    status: dict[str, object] = field(default_factory=dict)  # number -> status
    aliases: dict[str, tuple[str, int]] = field(default_factory=dict)  # name -> number, seq
    approvals: dict[str, object] = field(default_factory=dict)  # digest -> number
    uses: dict[str, object] = field(default_factory=dict)  # digest of an approval -> seq of its use
    verifications: dict[str, dict[str, Any]] = field(default_factory=dict)  # "n of number" -> facts
    distances: list[Distance] = field(default_factory=list)  # on which drift was detected
    consumers: dict[str, object] = field(default_factory=dict)  # name -> (contact, needs, seq)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)  # run -> how it ended
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
            _fold_alias(fold, event, facts)
            _fold_consumer(fold, event, facts)
        if event.kind == "imported":  # predictions stay where they were made
            fold.visible.clear()
            fold.epochs.clear()
    return fold


def _fold_version(fold: Fold, kind: str, facts: dict[str, Any]) -> None:
    if kind == "registered":
        fold.versions[facts["version"]] = facts
    if kind in STATUSES:
        fold.status[facts["version"]] = kind
    if "approval" in facts:
        fold.approvals[facts["approval"]] = facts["version"]


def _fold_evidence(fold: Fold, event: EventFacts, facts: dict[str, Any]) -> None:
    if event.kind == "promoted":
        fold.uses.update((entry["approval"], event.seq) for entry in facts["approvals"])
    elif event.kind == "verified":
        ending = f" of {facts['version']}"
        count = sum(key.endswith(ending) for key in fold.verifications) + 1
        names = ("passed", "platform", "isolation", "report", "summary")
        fold.verifications[f"{count}{ending}"] = {name: facts[name] for name in names}
    elif event.kind == "drift detected":
        for window in facts.get("windows", []):
            for found in window["judgements"]:
                name = f"{found['column']}.{found['distance']}"
                span = (window["start"], window["end"])
                fold.distances.append(Distance(facts["version"], name, *span, found["value"]))


def _fold_alias(fold: Fold, event: EventFacts, facts: dict[str, Any]) -> None:
    kind, number = event.kind, facts.get("version")
    if kind in ("promoted", "rolled back"):
        fold.aliases[CHAMPION] = (facts["version"], event.seq)
        if kind == "promoted" and fold.aliases.get(CHALLENGER, ("",))[0] == number:
            del fold.aliases[CHALLENGER]
    elif kind == "challenger set":
        fold.aliases[CHALLENGER] = (facts["version"], event.seq)
    elif kind == "alias set":
        fold.aliases[facts["alias"]] = (facts["version"], event.seq)
    elif kind == "alias removed":
        fold.aliases.pop(facts["alias"], None)
    elif kind in ("revoked", "archived"):
        for name in [n for n, to in fold.aliases.items() if to[0] == number and n != CHAMPION]:
            del fold.aliases[name]


def _fold_consumer(fold: Fold, event: EventFacts, facts: dict[str, Any]) -> None:
    if event.kind == "consumer added":
        fold.consumers[facts["consumer"]] = (facts["contact"], facts["needs"], event.seq)
    elif event.kind == "consumer removed":
        fold.consumers.pop(facts["consumer"], None)


def _fold_run(fold: Fold, state: str, facts: dict[str, Any]) -> None:
    alone = {"challenger": None, "share": None, "inputs": None}
    fold.runs[facts["run"]] = {**alone, **facts, "state": state}
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
