"""A plain account of what a registry must have come to, kept beside it and without it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

AUTHOR = "author@example.org"
PEOPLE = ("reviewer@example.org", "operations@example.org", "deputy@example.org", AUTHOR)
REVIEW, GO_LIVE = "review", "go-live"
EXPIRES_DAYS = 14
OUT_OF_USE = ("rejected", "revoked", "archived")
MAY_RETIRE = {  # to -> from
    "deprecated": ("registered", "approved"),
    "archived": ("registered", "approved", "rejected", "deprecated"),
    "revoked": ("registered", "approved", "rejected", "deprecated", "archived"),
}
Gate = tuple[str, str]  # version number, gate


@dataclass(frozen=True)
class Making:
    """What a version is made of; six of them differ in code, columns and training data."""

    key: int

    @property
    def columns(self) -> list[str]:
        """The required inputs; whoever asks for other ones is incompatible."""
        return ["hour", "carrier"] if self.key % 3 == 2 else ["hour"]

    @property
    def code(self) -> bytes:
        """The script, of which there are two."""
        return f"def predict(model, data): ...  # {self.key % 2}".encode()

    @property
    def trained(self) -> bytes:
        """The trained bytes."""
        return f"trained on {self.key}".encode()

    def part_over(self, parent: "Making") -> int:
        """Return which part of the parent's number moves: 0, 1 or 2."""
        if self.columns != parent.columns:
            return 0
        return 1 if self.code != parent.code else 2


@dataclass
class Account:
    """What was done with success, in the order in which it was done."""

    makings: dict[str, Making] = field(default_factory=dict)  # number -> made of
    digests: dict[str, str] = field(default_factory=dict)  # number -> digest
    status: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)  # digest -> bytes, but for manifests
    enrolled: set[str] = field(default_factory=lambda: set(PEOPLE))
    decided: dict[Gate, tuple[str, str]] = field(default_factory=dict)  # who said what last
    days: dict[Gate, int] = field(default_factory=dict)  # how old that is
    spent: set[Gate] = field(default_factory=set)  # used, expired, or of somebody removed since
    used: set[Gate] = field(default_factory=set)  # up, by a promotion, and not decided since
    verified: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    champions: list[str] = field(default_factory=list)  # of promotions and rollbacks, in order
    stack: list[str] = field(default_factory=list)  # of promotions that no rollback took away
    promotions: int = 0
    epochs: dict[date, int] = field(default_factory=dict)
    open_runs: dict[str, date] = field(default_factory=dict)  # in the order of their claims
    ended: dict[str, str] = field(default_factory=dict)  # run -> how
    visible: dict[date, str] = field(default_factory=dict)

    @property
    def champion(self) -> str | None:
        """The number that the alias must point at."""
        return self.champions[-1] if self.champions else None

    def number_of(self, making: Making) -> str | None:
        """Return the version made of exactly this."""
        return next((number for number, made in self.makings.items() if made == making), None)

    def newest(self) -> str | None:
        """Return the highest number."""
        return max(self.makings, key=_parts, default=None)

    def next_number(self, making: Making, parent: str | None) -> str:
        """Return the number after ``parent`` that was never given before."""
        base = _parts(parent) if parent else (0, 0, 0)
        part = making.part_over(self.makings[parent]) if parent else 0
        taken = [_parts(n)[part] for n in self.makings if _parts(n)[:part] == base[:part]]
        number = [*base[:part], max([base[part], *taken]) + 1, 0, 0]
        return ".".join(map(str, number[:3]))

    def register(self, number: str, digest: str, making: Making) -> None:
        """Enter a version with its bytes."""
        self.makings[number], self.digests[number] = making, digest
        self.status[number] = "registered"
        for data in (making.code, making.trained):
            self.keep(data)

    def keep(self, data: bytes) -> str:
        """Note that something names these bytes."""
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def may_decide(self, number: str, gate: str, who: str, decision: str) -> tuple[bool, bool]:
        """Return whether it was said already, and whether it may be said now."""
        if who == AUTHOR or who not in self.enrolled:
            return False, False
        if self.decided.get((number, gate)) == (who, decision) and (
            decision == "reject" or (number, gate) not in self.spent
        ):
            return True, True
        if self.status[number] not in ("registered", "approved") or self.champion == number:
            return False, False
        if decision == "reject":
            return False, number not in self.champions
        if self.live(number, REVIEW if gate == GO_LIVE else GO_LIVE) == who:
            return False, False
        if gate == REVIEW:
            return False, True
        passed = [ok for _, ok in self.verified.get(number, [])][-1:] == [True]
        reviewed = self.status[number] == "approved" and (number, REVIEW) not in self.used
        return False, reviewed and passed

    def decide(self, number: str, gate: str, who: str, decision: str) -> None:
        """Enter a new decision."""
        self.decided[number, gate] = (who, decision)
        self.days[number, gate] = 0
        self.spent.discard((number, gate))
        self.used.discard((number, gate))
        if decision == "reject":
            self.status[number] = "rejected"
        elif gate == REVIEW:
            self.status[number] = "approved"

    def live(self, number: str, gate: str) -> str | None:
        """Return who approved at a gate, where a promotion may use it now."""
        who, decision = self.decided.get((number, gate), ("", ""))
        return who if decision == "approve" and (number, gate) not in self.spent else None

    def live_gates(self) -> Iterator[Gate]:
        """Give every approval that a promotion may use now."""
        return (gate for gate in self.decided if self.live(*gate))

    def pass_days(self, days: int) -> None:
        """Let every decision grow older."""
        self.days = {gate: age + days for gate, age in self.days.items()}
        self.spent |= {gate for gate in self.live_gates() if self.days[gate] >= EXPIRES_DAYS}

    def remove(self, name: str) -> None:
        """Take somebody from the approvers: what they approved and nothing used counts no more."""
        self.enrolled.remove(name)
        self.spent |= {gate for gate in self.live_gates() if self.live(*gate) == name}

    def may_promote(self, number: str, platform: str) -> bool:
        """Tell whether the version can become champion, or is it already."""
        here = [ok for where, ok in self.verified.get(number, []) if where == platform]
        gates = [self.live(number, gate) for gate in (REVIEW, GO_LIVE)]
        ready = self.status[number] == "approved" and here[-1:] == [True]
        return self.champion == number or (ready and None not in gates and len(set(gates)) == 2)

    def promote(self, number: str) -> None:
        """Make the version champion, which uses its approvals up; nothing where it is already."""
        if self.champion != number:
            self.champions.append(number)
            self.stack.append(number)
            self.promotions += 1
            self.used |= {(number, gate) for gate in (REVIEW, GO_LIVE)}
            self.spent |= {(number, gate) for gate in (REVIEW, GO_LIVE)}

    def fallback(self) -> str | None:
        """Return the version that a rollback leads to."""
        below = self.stack[-2:-1]
        return below[0] if below and self.status[below[0]] not in OUT_OF_USE else None

    def roll_back(self) -> None:
        """Go one champion back."""
        self.stack.pop()
        self.champions.append(self.stack[-1])

    def end(self, run: str, day: date, state: str, committed: bool) -> None:
        """End a run; only the first end counts."""
        if run in self.ended:
            return
        self.ended[run] = state
        del self.open_runs[run]
        if state == "succeeded":
            self.visible[day] = run
        elif committed:  # readers see its rows, which no success on record stands for
            self.visible.pop(day, None)


def _parts(number: str) -> tuple[int, ...]:
    return tuple(map(int, number.split(".")))
