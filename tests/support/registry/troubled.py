"""A registry in trouble: time, crashes, garbage collection, meddling, people who come and go."""

import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pyotp
import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit, list_heads
from pilotline.registry.audit.garbage import collect_garbage
from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.registry.form.errors import (
    ApproverError,
    AuditError,
    RegistryError,
    VersionUnfitError,
)
from pilotline.registry.gates.approvals import live_approval
from pilotline.registry.gates.approvers import Presence, act_present, enrol, remove_approver
from pilotline.registry.gates.policy import GATES, Policy
from pilotline.registry.gates.resolution import champion
from pilotline.registry.gates.vault import Vault, make_key
from pilotline.registry.record.versions import get_version, list_versions
from tests.support.registry.account import EXPIRES_DAYS, PEOPLE, Account
from tests.support.registry.comparing import compare
from tests.support.registry.crashing import die_within
from tests.support.registry.meddling import MEDDLINGS, Scene, let_days_pass, meddled

Done = TypeVar("Done")
NAME = "flight-delay"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
VAULT = Vault(make_key())
POLICY = Policy(
    approvers=dict.fromkeys(GATES, PEOPLE),
    identity="totp",
    distinct_approvers=True,
    expires_days=EXPIRES_DAYS,
    minimum_isolation="A",
)


def present(secrets: dict[str, str], name: str, half_minute: int) -> Presence:
    """Return ``name`` with the code that the device shows then."""
    at = NOON + timedelta(seconds=30 * half_minute)
    return Presence(name, pyotp.TOTP(secrets[name]).at(at), at)


class Troubled(RuleBasedStateMachine):
    """A registry beside a plain account of what it must have come to."""

    def __init__(self, opened: AbstractContextManager[Registry], secrets: dict[str, str]) -> None:
        super().__init__()
        self.opened = opened
        self.registry = opened.__enter__()
        self.account = Account()
        self.secrets = dict(secrets)  # on the approvers' devices
        self.codes = len(secrets)  # how many were shown; no two are of one half minute
        self.crash_at: int | None = None  # where the next step dies before it is taken
        self.done = False  # whether the step that died had come to its end
        self.log: list[str] = []  # hashes of the model's events seen so far

    def teardown(self) -> None:
        try:
            audit(self.registry)
        finally:
            self.opened.__exit__(None, None, None)

    @invariant()
    def the_registry_is_what_the_account_says(self) -> None:
        log = compare(self.registry, self.account)
        assert log[: len(self.log)] == self.log  # what happened is added to, never edited
        self.log = log

    @precondition(lambda self: self.crash_at is None)
    @rule(at=st.integers(0, 5) | st.integers(0, 40))
    def crash(self, at: int) -> None:
        """Let the next step die on its way, and be taken again."""
        self.crash_at = at

    def take(self, step: Callable[[], Done], of: str = "", commits: int = 1) -> Done:
        """Return what ``step`` gives, perhaps after a process died in it.

        Args:
            step: what to do.
            of: what begins the names of its failpoints.
            commits: how many transactions it has.
        """
        place, self.crash_at, self.done = self.crash_at, None, False
        if place is not None:
            self.done = die_within(self.registry, step, of, place, commits)
            note(f"crash: {'all was done' if self.done else 'nothing was done'}")
            if not self.done:
                self.the_registry_is_what_the_account_says()
        return step()

    def write(self, act: Callable[[Session], Done]) -> Done:
        """Return what ``act`` gives in a transaction of its own."""

        def step() -> Done:
            with self.registry.write() as session:
                return act(session)

        return self.take(step)

    def present(self, name: str) -> Presence:
        """Return ``name`` with the next code on the device, be it of an enrolment that ended."""
        self.codes += 1
        return present(self.secrets, name, self.codes)

    def act_present(self, who: str, act: Callable[[Session], Done]) -> Done:
        """Return what ``act`` gives, done by ``who`` with a code."""
        by, crashes = self.present(who), self.crash_at is not None
        try:
            return self.take(lambda: act_present(self.registry, VAULT, by, act), commits=2)
        except RegistryError:
            if crashes and who in self.account.enrolled:
                # A code that was tried by a process that died counts as wrong until a right one.
                act_present(self.registry, VAULT, self.present(who), lambda session: None)
            raise

    @rule(name=st.sampled_from(PEOPLE), by=st.sampled_from(PEOPLE))
    def remove_approver(self, name: str, by: str) -> None:
        """Stop promotions that were not made yet, and nothing else."""
        if name == by or not {name, by} <= self.account.enrolled:
            with pytest.raises(ApproverError):
                remove_approver(self.registry, VAULT, "nobody", self.present(by))
            return
        code = self.present(by)
        self.take(lambda: remove_approver(self.registry, VAULT, name, code), commits=2)
        self.account.remove(name)
        self.check_live()

    @rule(name=st.sampled_from(PEOPLE), by=st.sampled_from(PEOPLE))
    def enrol(self, name: str, by: str) -> None:
        """Let somebody approve from now on; what they approved before they left stays dead."""
        if name in self.account.enrolled or by not in self.account.enrolled:
            with pytest.raises(ApproverError):
                enrol(self.registry, VAULT, name, self.present(by))
            return
        code = self.present(by)
        uri = self.take(lambda: enrol(self.registry, VAULT, name, code), commits=2)
        self.secrets[name] = pyotp.parse_uri(uri).secret
        self.account.enrolled.add(name)
        self.check_live()

    @rule(days=st.sampled_from((5, 10, 15)))
    def expire(self, days: int) -> None:
        """Let approvals that nothing used grow old; nothing else changes."""
        let_days_pass(self.registry, days)
        self.account.pass_days(days)
        self.log = []  # all of the past was moved
        self.check_live()

    def check_live(self) -> None:
        """Compare which approvals a promotion may use."""
        with self.registry.read() as session:
            for number in self.account.makings:
                version = get_version(session, NAME, number)
                for gate in GATES:
                    found = live_approval(session, version, gate, POLICY)
                    assert (found.approver if found else None) == self.account.live(number, gate)

    @rule(strays=st.integers(0, 2))
    def collect_garbage(self, strays: int) -> None:
        """Remove exactly what nothing names."""
        assert isinstance(self.registry.blobs, FolderBlobs)
        for stray in range(strays):
            self.registry.blobs.put(f"nobody names this {stray}".encode())
        moment = time.time() - timedelta(days=2).total_seconds()
        for blob in self.registry.blobs.list():
            os.utime(self.path(blob.digest), (moment, moment))
        grace = timedelta(days=1)
        self.take(lambda: collect_garbage(self.registry, grace, only_plan=False))
        left = {blob.digest for blob in self.registry.blobs.list()}
        assert left == {*self.account.blobs, *self.account.digests.values()}

    def path(self, digest: str) -> str:
        """Return where a blob's file is."""
        assert isinstance(self.registry.blobs, FolderBlobs)
        return str(self.registry.blobs.root / digest[:2] / digest)

    @precondition(lambda self: self.account.makings)
    @rule(what=st.sampled_from(sorted(MEDDLINGS)), at=st.integers(0, 63))
    def meddle(self, what: str, at: int) -> None:
        """Change a row or delete an event: found and named, and what stands on it refused."""
        with self.registry.read() as session:
            versions = list_versions(session, get_version(session, NAME, "1.0.0").model_id)
            pointed = [v.id for v in versions if v.number == self.account.champion]
            meddling = MEDDLINGS[what](Scene(session, versions, *pointed), at)
            heads = {head.chain: head.hash for head in list_heads(session)}
        if meddling is None:
            return
        note(f"meddling: {what} {type(meddling.row).__name__} {meddling.values}")
        with meddled(self.registry, meddling):
            with pytest.raises(AuditError) as found:
                audit(self.registry, heads.get(meddling.chain))
            assert re.search(meddling.named, str(found.value))
            if meddling.unfit:
                with pytest.raises(VersionUnfitError), self.registry.read() as session:
                    champion(session, NAME)

    @precondition(lambda self: self.account.makings)
    @rule(at=st.integers(0, 63), lost=st.booleans())
    def damage_blob(self, at: int, lost: bool) -> None:
        """Flip a byte or lose a blob: found, named, never handed out; stored again it is whole."""
        names = [*self.account.digests.values(), *self.account.blobs]
        digest = names[at % len(names)]
        data = self.registry.blobs.get(digest)
        if lost:
            self.registry.blobs.delete(digest)
        else:
            os.chmod(self.path(digest), 0o644)
            with open(self.path(digest), "r+b") as file:
                file.write(bytes([data[0] ^ 1]))
        number = {d: n for n, d in self.account.digests.items()}.get(digest)
        with pytest.raises(AuditError, match=f"^Blob {digest[:12]} of|^Manifest of {number} of"):
            audit(self.registry)
        with pytest.raises((LookupError, ValueError), match=digest[:12]):
            self.registry.blobs.get(digest)
        if number:
            with pytest.raises(AuditError):  # nobody can tell what it names
                collect_garbage(self.registry, timedelta(days=1), only_plan=False)
        assert self.registry.blobs.put(data) == digest
