"""What a chain may say: no other registry than a forged one holds anything else."""

import re
from collections.abc import Iterable
from typing import Any

from pilotline.registry.blobs import DIGEST
from pilotline.registry.form import AuditError, check_name, same_person
from pilotline.registry.gates import GATES, OUT_OF_USE, parse_share
from pilotline.registry.record import CHALLENGER, STATUSES, Event

KIND = re.compile(r"[a-z][a-z-]*( [a-z-]+)*")
NUMBER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def check_grammar(chain: str, events: Iterable[Event]) -> None:
    """Do nothing if the registry itself could have written ``events``, one whole chain in order.

    Their hashes are not looked at: whoever rewrites a chain from its beginning makes new ones.

    Raises:
        AuditError: the first event that it could not have written.
    """
    told = _Told()
    for event in events:
        try:
            told.take(event)
        except (ValueError, LookupError, TypeError, AttributeError) as err:
            problem = f"it does not say what such an event must ({_words(err)})"
            raise AuditError(chain, f"Event {event.seq}", problem) from err


class _Told:
    """What the events so far have told."""

    def __init__(self) -> None:
        self.registered: dict[str, dict[str, Any]] = {}  # number -> how
        self.status: dict[str, str] = {}
        self.approved: dict[str, tuple[str, str, str]] = {}  # approval -> number, gate, by
        self.evidence: dict[str, list[Any]] = {}  # number -> approvals of its last promotion
        self.champion: str | None = None

    def take(self, event: Event) -> None:
        """Add what ``event`` tells; ValueError where the registry would not have written it."""
        facts = event.facts()
        if not KIND.fullmatch(event.kind):
            raise ValueError(f"expected a kind in small letters, got {event.kind!r}")
        if event.kind == "registered":
            self._register(facts)
        elif "version" in facts and facts["version"] not in self.registered:
            raise ValueError(f"expected a registered version, got {facts['version']!r}")
        elif event.kind in ("promoted", "rolled back"):
            self._reign(event, facts)
        elif event.kind == "split set":
            self._split(facts)
        elif event.kind in ("alias set", "alias removed") and facts["alias"] != CHALLENGER:
            check_name(facts["alias"])
        if event.kind in ("approved", "go-live approved"):
            self.approved[facts["approval"]] = (facts["version"], facts["gate"], facts["by"])
        if event.kind in STATUSES:
            self.status[facts["version"]] = event.kind

    def _register(self, facts: dict[str, Any]) -> None:
        number = facts["version"]
        if not NUMBER.fullmatch(number) or number in self.registered:
            raise ValueError(f"expected a new version number, got {number!r}")
        if not DIGEST.fullmatch(facts["digest"]):
            raise ValueError(f"expected a digest, got {facts['digest']!r}")
        self.registered[number] = facts

    def _reign(self, event: Event, facts: dict[str, Any]) -> None:
        number = facts["version"]
        if facts["digest"] != self.registered[number]["digest"]:
            raise ValueError(f"expected the digest of {number}, got {facts['digest']!r}")
        if facts["previous"] != self.champion:
            raise ValueError(f"expected {self.champion} before, got {facts['previous']!r}")
        if event.effective_from > event.recorded_at:
            moment = event.effective_from.isoformat()
            raise ValueError(f"expected no time to come, got {moment}")
        if event.kind == "promoted":
            if self.status[number] != "approved":
                raise ValueError(f"expected an approved version, {number} is {self.status[number]}")
            self._check_approvals(number, facts["approvals"])
            self.evidence[number] = facts["approvals"]
        elif self.status[number] in OUT_OF_USE or facts["approvals"] != self.evidence[number]:
            raise ValueError(f"expected the evidence on which {number} was promoted")
        self.champion = number

    def _split(self, facts: dict[str, Any]) -> None:
        number = facts["version"]
        if facts["champion"] != self.champion or number == self.champion:
            raise ValueError(f"expected champion {self.champion}, got {facts['champion']!r}")
        if facts["digest"] != self.registered[number]["digest"]:
            raise ValueError(f"expected the digest of {number}, got {facts['digest']!r}")
        if self.status[number] != "approved":
            raise ValueError(f"expected an approved version, {number} is {self.status[number]}")
        parse_share(facts["share"])
        self._check_approvals(number, facts["approvals"])

    def _check_approvals(self, number: str, approvals: list[dict[str, str]]) -> None:
        """Look for one approval at each gate, told before, of this version and not its author's."""
        version = self.registered[number]
        if sorted(entry["gate"] for entry in approvals) != sorted(GATES):
            raise ValueError(f"expected one approval at each of {' and '.join(GATES)}")
        for entry in approvals:
            said = (number, entry["gate"], entry["by"])
            if self.approved.get(entry["approval"]) != said or entry["digest"] != version["digest"]:
                raise ValueError(
                    f"{entry['gate']!r} of {number} was not approved by {entry['by']!r}"
                )
            if same_person(entry["by"], version["author"]):
                raise ValueError(f"{entry['by']!r}, the author, approved at {entry['gate']!r}")


def _words(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
