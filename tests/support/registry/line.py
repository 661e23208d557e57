"""A registry at work: every operation, taken once or twice, beside a plain account of it."""

import hashlib
from datetime import date
from operator import itemgetter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, multiple, rule
from sqlalchemy.orm import Session

from pilotline.registry.form.errors import (
    ApprovalError,
    ApproverError,
    VersionUnfitError,
    WrongCodeError,
)
from pilotline.registry.form.failpoints import reach
from pilotline.registry.gates.approvals import Decision, decide
from pilotline.registry.gates.policy import GATES
from pilotline.registry.gates.promotions import promote, rollback
from pilotline.registry.gates.statuses import FROM, retire
from pilotline.registry.record.manifest import decode_manifest
from pilotline.registry.record.models import ModelFacts
from pilotline.registry.record.numbering import Release
from pilotline.registry.record.registration import Judged, Registration, register
from pilotline.registry.record.verifications import Verification, record_verification
from pilotline.registry.record.versions import ModelVersion, get_version
from pilotline.registry.runs.runs import (
    Claim,
    Ending,
    Run,
    claim_partition,
    end_run,
    get_run,
    holds_claim,
)
from tests.support.registry.account import AUTHOR, MAY_RETIRE, PEOPLE, Making
from tests.support.registry.comparing import DAYS
from tests.support.registry.troubled import NAME, POLICY, Troubled

LINUX, MACOS = "linux x86_64", "macos arm64"
REVIEWERS = PEOPLE[:3]
KEYS = st.integers(0, 5)
ENDINGS = st.sampled_from(("succeeded", "failed", "crashed"))
LIVES = st.lists(
    st.tuples(KEYS, st.sampled_from(("registered", "approved", "champion"))),
    min_size=1,
    max_size=3,
    unique_by=itemgetter(0),
)


class Line(Troubled):
    """From registration to rollback, with runs, in any order and under any trouble."""

    versions = Bundle("versions")
    runs = Bundle("runs")

    @initialize(target=versions, lives=LIVES)
    def begin(self, lives: list[tuple[int, str]]) -> Any:
        """Have versions, some of them approved or champions: without, most steps mean nothing."""
        numbers = []
        for key, life in lives:
            number, _ = self.enter(key, True)
            if life != "registered":
                self.prepare(number, REVIEWERS[0])
            if life == "champion":
                self.promote(number, 1)
            numbers.append(number)
        return multiple(*numbers)

    @rule(target=versions, key=KEYS, after=st.booleans())
    def register(self, key: int, after: bool) -> Any:
        number, is_new = self.enter(key, after)
        return number if is_new else multiple()

    def enter(self, key: int, after: bool) -> tuple[str, bool]:
        """Return the version made from ``key``, and whether it was not there before."""
        making, parent = Making(key), self.account.newest() if after else None
        new = self.registration(making, parent)
        known = self.account.number_of(making)
        expected = known or self.account.next_number(making, parent)
        version, is_new = self.take(lambda: register(self.registry, new), of="register")
        assert is_new == (known is None and not self.done)
        assert version.number == expected
        if known is None:
            self.account.register(version.number, version.digest, making)
        return version.number, known is None

    def registration(self, making: Making, parent: str | None) -> Registration:
        """Return what is handed in."""
        return Registration(
            facts=ModelFacts(NAME, "operations", "Will this flight arrive late?"),
            author=AUTHOR,
            contents={
                "model.py": ("script", making.code),
                "artifact/model": ("model", making.trained),
            },
            contract=contract(making),
            interpreter="cpython 3.11",
            platform=LINUX,
            training_key=hashlib.sha256(making.trained).hexdigest(),
            learned=(),
            judged=Judged({"roc_auc": 0.75}, DAYS[0], DAYS[1], 842),
            notes="Trained again.",
            parent=self.released(parent) if parent else None,
        )

    def released(self, number: str) -> tuple[ModelVersion, Release]:
        """Return a version as the next one's parent."""
        with self.registry.read() as session:
            version = get_version(session, NAME, number)
        manifest = decode_manifest(self.registry.blobs.get(version.digest))
        return version, Release(manifest, contract(self.account.makings[number]))

    @rule(
        number=versions,
        gate=st.sampled_from(GATES),
        who=st.sampled_from(PEOPLE),
        decision=st.sampled_from(("approve", "approve", "approve", "reject")),
        times=st.integers(1, 2),
    )
    def decide(self, number: str, gate: str, who: str, decision: str, times: int) -> None:
        again, allowed = self.account.may_decide(number, gate, who, decision)
        said = Decision(gate, decision, who, "read", "totp")

        def act(session: Session) -> bool:
            return decide(session, NAME, number, said, POLICY)[1]

        for turn in range(times):
            try:
                is_new = self.act_present(who, act)
            except WrongCodeError:  # a refusal too, but never of a right code
                raise
            except (ApprovalError, ApproverError):
                assert not allowed
                return
            assert allowed
            assert is_new == (not again and turn == 0)
        if not again:
            self.account.decide(number, gate, who, decision)

    @rule(
        number=versions,
        platform=st.sampled_from((LINUX, LINUX, MACOS)),
        passed=st.sampled_from((True, True, False)),
    )
    def verify(self, number: str, platform: str, passed: bool) -> None:
        report = self.registry.blobs.put(b"{}")

        def act(session: Session) -> None:
            found = Verification(
                passed=passed,
                summary="golden set parity",
                report_digest=report,
                platform=platform,
                isolation="A",
            )
            record_verification(session, get_version(session, NAME, number), found)

        self.write(act)
        self.account.keep(b"{}")
        self.account.verified.setdefault(number, []).append((platform, passed))

    @rule(number=versions, times=st.integers(1, 2))
    def promote(self, number: str, times: int) -> None:
        may = self.account.may_promote(number, LINUX)

        def step() -> None:
            with self.registry.write() as session:
                promote(session, NAME, number, POLICY, LINUX)
            reach("promote: committed")

        for _ in range(times):
            try:
                self.take(step, of="promote")
            except (ApprovalError, VersionUnfitError):
                assert not may
                return
            assert may
        self.account.promote(number)

    @rule(number=versions, first=st.sampled_from(REVIEWERS))
    def release(self, number: str, first: str) -> None:
        """Go the whole way, which random steps seldom do."""
        self.prepare(number, first)
        self.promote(number, 1)

    def prepare(self, number: str, first: str) -> None:
        """Bring a version to the point where it can be promoted."""
        second = REVIEWERS[REVIEWERS.index(first) - 1]
        self.decide(number, "review", first, "approve", 1)
        self.verify(number, LINUX, True)
        self.decide(number, "go-live", second, "approve", 1)

    @rule(number=versions, to=st.sampled_from(sorted(FROM)), times=st.integers(1, 2))
    def retire(self, number: str, to: str, times: int) -> None:
        before = self.account.status[number]
        archives_champion = to == "archived" and self.account.champion == number
        allowed = before in MAY_RETIRE[to] and not archives_champion

        def act(session: Session) -> bool:
            return retire(session, NAME, number, to, "wrong", PEOPLE[0], "totp").new

        for turn in range(times):
            try:
                is_new = self.write(act)
            except VersionUnfitError:
                assert not allowed
                assert before != to
                return
            assert allowed or before == to
            assert is_new == (before != to and turn == 0)
        self.account.status[number] = to

    @rule(times=st.integers(1, 2))
    def rollback(self, times: int) -> None:
        def act(session: Session) -> str:
            return rollback(session, NAME, "wrong", PEOPLE[0], "totp").number

        for _ in range(times):
            expected = self.account.fallback()
            try:
                number = self.write(act)
            except (LookupError, VersionUnfitError):
                assert expected is None
                return
            assert number == expected
            self.account.roll_back()

    @rule(target=runs, number=versions, day=st.sampled_from(DAYS))
    def claim(self, number: str, day: date) -> str:
        claim = Claim("production", "flights", day, "d" * 64, 3, "c" * 64, "A", "score")

        def act(session: Session) -> Run:
            return claim_partition(session, get_version(session, NAME, number), claim)

        run = self.write(act)
        self.account.epochs[day] = self.account.epochs.get(day, 0) + 1
        assert run.epoch == self.account.epochs[day]
        self.account.open_runs[run.id] = day
        return run.id

    @rule(
        run_id=runs,
        state=ENDINGS,
        committed=st.booleans(),
    )
    def end(self, run_id: str, state: str, committed: bool) -> None:
        def act(session: Session) -> tuple[Run, str, str, str]:
            run = get_run(session, run_id)
            number = session.get_one(ModelVersion, run.version_id).number
            held = holds_claim(session, run)
            assert held == (run.epoch == self.account.epochs[run.date])
            # A worker that lost its claim commits nothing, and ends as superseded.
            ending = state if held else "superseded"
            table_version = 7 if held and committed else None
            outcome = end_run(session, run, Ending(ending, 842, table_version=table_version))
            return run, number, ending, outcome.state

        run, number, ending, ended = self.write(act)
        held = ending != "superseded"
        if ending == "succeeded" and self.account.status[number] == "revoked":
            ending = "failed"  # 7. What was revoked meanwhile shows nothing
        self.account.end(run_id, run.date, ending, held and committed)
        assert ended == self.account.ended[run_id]

    @rule(target=runs, number=versions, day=st.sampled_from(DAYS), state=ENDINGS)
    def score(self, number: str, day: date, state: str) -> Any:
        """Claim a day and end the run at once, which random steps seldom do."""
        run_id = self.claim(number, day)
        self.end(run_id, state, True)
        return run_id


def contract(making: Making) -> dict[str, Any]:
    """Return the contract of a version."""
    column = {"type": "float64", "nullable": False}
    return {
        "dataset": "flights",
        "inputs": dict.fromkeys(making.columns, column),
        "outputs": {"late": column},
    }
