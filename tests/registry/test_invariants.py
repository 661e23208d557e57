"""Any sequence of registry operations keeps the invariants 1 and 3 to 7 of the design."""

import functools
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import Registry
from registry.aliases import get_alias
from registry.approvals import Decision, decide
from registry.errors import ApprovalError, NoChampionError, VersionUnfitError
from registry.events import Event, first_broken_event, list_events
from registry.models import ModelFacts, list_models
from registry.numbering import PARTS, Step
from registry.policy import GATES, Policy
from registry.promotions import promote, rollback
from registry.reigns import reigns
from registry.resolution import champion
from registry.runs import (
    Claim,
    Ending,
    claim_partition,
    end_run,
    get_run,
    holds_claim,
    visible_runs,
)
from registry.statuses import FROM, retire
from registry.verifications import Verification, record_verification
from registry.versions import (
    ModelVersion,
    NewVersion,
    enter_version,
    get_version,
    list_versions,
    status_of,
)

NAME = "flight-delay"
AUTHOR = "author@example.org"
PEOPLE = ("reviewer@example.org", "operations@example.org", AUTHOR)
LINUX, MACOS = "linux x86_64", "macos arm64"
DAYS = (date(2013, 1, 1), date(2013, 1, 2))
POLICY = Policy(
    approvers={"review": PEOPLE, "go-live": PEOPLE},
    identity="claimed",
    distinct_approvers=True,
    expires_days=14,
    minimum_isolation="A",
)

OUT_OF_USE = ("rejected", "revoked", "archived")
MAY_RETIRE = {  # to -> from
    "deprecated": ("registered", "approved"),
    "archived": ("registered", "approved", "rejected", "deprecated"),
    "revoked": ("registered", "approved", "rejected", "deprecated", "archived"),
}


@functools.cache
def migrated() -> bytes:
    """Return an empty registry's database file."""
    with TemporaryDirectory() as folder:
        Registry(f"sqlite:///{folder}/registry.db", folder).close()
        return Path(folder, "registry.db").read_bytes()


class Line(RuleBasedStateMachine):
    """A registry beside a plain account of what it must have come to."""

    versions = Bundle("versions")
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        Path(self.folder.name, "registry.db").write_bytes(migrated())
        self.registry = Registry(f"sqlite:///{self.folder.name}/registry.db", self.folder.name)
        self.keys: dict[int, str] = {}  # what it was trained from -> number
        self.digests: dict[str, str] = {}  # number -> digest
        self.status: dict[str, str] = {}
        self.decided: dict[tuple[str, str], tuple[str, str]] = {}  # (number, gate) -> who said what
        self.used: set[tuple[str, str]] = set()  # approvals that a promotion consumed
        self.verified: dict[str, list[tuple[str, bool]]] = {}
        self.champions: list[str] = []  # of promotions and rollbacks, in order
        self.stack: list[str] = []  # of promotions that no rollback took away
        self.epochs: dict[date, int] = {}
        self.ended: dict[str, str] = {}  # run -> how
        self.visible: dict[date, str] = {}

    def teardown(self) -> None:
        self.registry.close()
        self.folder.cleanup()

    @rule(target=versions, key=st.integers(0, 5), part=st.sampled_from(PARTS), after=st.booleans())
    def register(self, key: int, part: str, after: bool) -> Any:
        digest = hashlib.sha256(f"manifest {key}".encode()).hexdigest()
        with self.registry.write() as session:
            newest = max(self.digests, default=None) if after else None
            parent = get_version(session, NAME, newest) if newest else None
            version, is_new = enter_version(
                session,
                NewVersion(
                    facts=ModelFacts(NAME, "operations", ""),
                    author=AUTHOR,
                    digest=digest,
                    training_key=hashlib.sha256(f"inputs {key}".encode()).hexdigest(),
                    parent=parent,
                    step=Step(part, ("code changed",)) if parent else None,
                    learned=(),
                    metrics={},
                ),
            )
            number = version.number
        assert is_new == (key not in self.keys)
        if not is_new:
            assert number == self.keys[key]
            return multiple()
        assert number not in self.digests
        self.keys[key], self.digests[number], self.status[number] = number, digest, "registered"
        return number

    @rule(
        number=versions,
        gate=st.sampled_from(GATES),
        who=st.sampled_from(PEOPLE),
        decision=st.sampled_from(("approve", "approve", "approve", "reject")),
        times=st.integers(1, 2),
    )
    def decide(self, number: str, gate: str, who: str, decision: str, times: int) -> None:
        again, allowed = self.may_decide(number, gate, who, decision)
        for turn in range(times):
            try:
                with self.registry.write() as session:
                    said = Decision(gate, decision, who, "")
                    _, is_new = decide(session, NAME, number, said, POLICY)
            except ApprovalError:
                assert not allowed
                return
            assert allowed
            assert is_new == (not again and turn == 0)
        if not again:
            self.decided[number, gate] = (who, decision)
            self.used.discard((number, gate))
            if decision == "reject":
                self.status[number] = "rejected"
            elif gate == "review":
                self.status[number] = "approved"

    def may_decide(self, number: str, gate: str, who: str, decision: str) -> tuple[bool, bool]:
        """Return whether it was said already, and whether it may be said now."""
        if who == AUTHOR:
            return False, False
        said = self.decided.get((number, gate)) == (who, decision)
        if said and (decision == "reject" or (number, gate) not in self.used):
            return True, True
        if self.status[number] not in ("registered", "approved") or self.champions[-1:] == [number]:
            return False, False
        if decision == "reject":
            return False, number not in self.champions
        other = GATES[1 - GATES.index(gate)]
        if self.live(number, other) == who:
            return False, False
        passed = [ok for _, ok in self.verified.get(number, [])][-1:] == [True]
        return False, gate == "review" or (self.status[number] == "approved" and passed)

    def live(self, number: str, gate: str) -> str | None:
        """Return who approved at a gate, where no promotion has used it."""
        who, decision = self.decided.get((number, gate), ("", ""))
        return who if decision == "approve" and (number, gate) not in self.used else None

    @rule(
        number=versions,
        platform=st.sampled_from((LINUX, LINUX, MACOS)),
        passed=st.sampled_from((True, True, False)),
    )
    def verify(self, number: str, platform: str, passed: bool) -> None:
        with self.registry.write() as session:
            record_verification(
                session,
                get_version(session, NAME, number),
                Verification(
                    passed=passed,
                    summary="",
                    report_digest="e" * 64,
                    platform=platform,
                    isolation="A",
                ),
            )
        self.verified.setdefault(number, []).append((platform, passed))

    @rule(number=versions, times=st.integers(1, 2))
    def promote(self, number: str, times: int) -> None:
        here = [ok for platform, ok in self.verified.get(number, []) if platform == LINUX]
        gates = [self.live(number, gate) for gate in GATES]
        ready = self.status[number] == "approved" and here[-1:] == [True]
        is_champion = self.champions[-1:] == [number]
        may = is_champion or (ready and None not in gates and len(set(gates)) == 2)
        for _ in range(times):
            try:
                with self.registry.write() as session:
                    promote(session, NAME, number, POLICY, LINUX)
            except (ApprovalError, VersionUnfitError):
                assert not may
                return
            assert may
        if not is_champion:
            self.champions.append(number)
            self.stack.append(number)
            self.used |= {(number, gate) for gate in GATES}

    @rule(number=versions, promised=st.sampled_from(PEOPLE[:2]))
    def release(self, number: str, promised: str) -> None:
        """Go the whole way, which random steps seldom do."""
        other = next(who for who in PEOPLE if who != promised)
        self.decide(number, "review", promised, "approve", 1)
        self.verify(number, LINUX, True)
        self.decide(number, "go-live", other, "approve", 1)
        self.promote(number, 1)

    @rule(number=versions, to=st.sampled_from(sorted(FROM)), times=st.integers(1, 2))
    def retire(self, number: str, to: str, times: int) -> None:
        before = self.status[number]
        is_champion = self.champions[-1:] == [number]
        allowed = before in MAY_RETIRE[to] and not (to == "archived" and is_champion)
        for turn in range(times):
            try:
                with self.registry.write() as session:
                    retired = retire(session, NAME, number, to, "wrong", PEOPLE[0], "claimed")
            except VersionUnfitError:
                assert not allowed
                assert before != to
                return
            assert allowed or before == to
            assert retired.new == (before != to and turn == 0)
        self.status[number] = to

    @rule(times=st.integers(1, 2))
    def rollback(self, times: int) -> None:
        for _ in range(times):
            below = self.stack[-2:-1]
            may = bool(below) and self.status[below[0]] not in OUT_OF_USE
            try:
                with self.registry.write() as session:
                    reign = rollback(session, NAME, "wrong", PEOPLE[0], "claimed")
            except (LookupError, VersionUnfitError):
                assert not may
                return
            assert may
            assert reign.number == below[0]
            self.stack.pop()
            self.champions.append(reign.number)

    @rule(target=runs, number=versions, day=st.sampled_from(DAYS))
    def claim(self, number: str, day: date) -> str:
        claim = Claim("production", "flights", day, "d" * 64, 3, "c" * 64, "A", "score")
        with self.registry.write() as session:
            run = claim_partition(session, get_version(session, NAME, number), claim)
        self.epochs[day] = self.epochs.get(day, 0) + 1
        assert run.epoch == self.epochs[day]
        return run.id

    @rule(run_id=runs, state=st.sampled_from(("succeeded", "failed", "crashed")))
    def end(self, run_id: str, state: str) -> None:
        with self.registry.write() as session:
            run = get_run(session, run_id)
            held = holds_claim(session, run)
            assert held == (run.epoch == self.epochs[run.date])
            # A worker that lost its claim commits nothing, and ends as superseded.
            state = state if held else "superseded"
            outcome = end_run(session, run, Ending(state, 842))
        if run_id not in self.ended and state == "succeeded":
            self.visible[run.date] = run_id
        assert outcome.state == self.ended.setdefault(run_id, state)

    @rule(run_id=consumes(runs))
    def forget(self, run_id: str) -> None:
        """Leave a run as it is, as a process that died would."""

    @invariant()
    def the_registry_is_what_the_account_says(self) -> None:
        with self.registry.read() as session:
            if not self.digests:
                assert list_models(session) == []
                return
            versions = {v.number: v for v in list_versions(session, list_models(session)[0].id)}
            model_id = next(iter(versions.values())).model_id
            events = list_events(session, model_id)
            self.check_versions(session, versions)
            self.check_champion(session, versions)
            self.check_folds(session, model_id, events)

    def check_versions(self, session: Session, versions: dict[str, ModelVersion]) -> None:
        """4. Versions are immutable; numbers are never reused."""
        assert {number: v.digest for number, v in versions.items()} == self.digests
        assert {number: status_of(session, v) for number, v in versions.items()} == self.status

    def check_champion(self, session: Session, versions: dict[str, ModelVersion]) -> None:
        """3 and 5. One champion, of linear history, each with two approvals over its digest."""
        history = reigns(session, NAME)
        assert [reign.number for reign in history] == self.champions
        assert [reign.previous for reign in history] == [None, *self.champions][: len(history)]
        for reign in history:
            assert {entry["gate"] for entry in reign.approvals} == set(GATES)
            assert len({entry["by"] for entry in reign.approvals} - {AUTHOR}) == 2
            assert {entry["digest"] for entry in reign.approvals} == {self.digests[reign.number]}
        found = None
        with suppress(NoChampionError, VersionUnfitError):
            found = champion(session, NAME)
        # 7. What is out of use is never handed out.
        fit = self.champions and self.status[self.champions[-1]] not in OUT_OF_USE
        assert found is (versions[self.champions[-1]] if fit else None)

    def check_folds(self, session: Session, model_id: int, events: Iterable[Event]) -> None:
        """1 and 6. Present state is the fold of an unbroken chain."""
        assert first_broken_event(session, model_id) is None
        status: dict[str, str] = {}
        shown: dict[str, str] = {}
        reigning = None
        for event in events:
            facts = event.facts()
            if event.kind in ("registered", "approved", "rejected", *FROM):
                status[facts["version"]] = event.kind
            elif event.kind in ("promoted", "rolled back"):
                reigning = facts["version"]
            elif event.kind == "run succeeded":
                shown[facts["date"]] = facts["run"]
        assert status == self.status
        alias = get_alias(session, model_id, "champion")
        pointed = session.scalars(
            select(ModelVersion).where(ModelVersion.id == (alias.version_id if alias else None))
        ).first()
        assert (pointed.number if pointed else None) == reigning
        runs = visible_runs(session, model_id, "production", DAYS[0], DAYS[-1])
        assert {day: run.id for day, run in runs.items()} == self.visible
        assert shown == {day.isoformat(): run for day, run in self.visible.items()}


TestLine = Line.TestCase
TestLine.settings = settings(
    max_examples=int(os.environ.get("PILOTLINE_EXAMPLES", "25")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
